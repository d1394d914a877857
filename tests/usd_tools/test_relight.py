"""Relighting: the truth matches itself, wrong materials lose, and the folder and report that show it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.usd_tools.comparison.scenes import maps, orbit, smooth_maps, sphere, write_dataset, write_run
from usd_tools.compare_textures import compare_columns
from usd_tools.errors import UserError
from usd_tools.images import read_png
from usd_tools.relight import LIGHTS, main, relight

pytest.importorskip("mitsuba", reason="relighting is path traced")

TINY = {"views": 1, "resolution": 32, "samples": 16}


@pytest.fixture
def dataset(tmp_path):
    """A glossy ball; of its cameras the last is held out."""
    folder = tmp_path / "dataset"
    write_dataset(folder, sphere(24, 12), maps(16, roughness=0.25), orbit(4))
    transforms = json.loads((folder / "transforms_train.json").read_text())
    held_out = {**transforms, "frames": transforms["frames"][3:]}
    transforms["frames"] = transforms["frames"][:3]
    (folder / "transforms_train.json").write_text(json.dumps(transforms))
    (folder / "transforms_test.json").write_text(json.dumps(held_out))
    return folder


def figures(tmp_path, dataset, name, **channels):
    run = tmp_path / name
    write_run(run, sphere(24, 12), maps(16, **{"roughness": 0.25, **channels}))
    return relight(run, dataset, **TINY)


def test_truth_against_truth_is_exact(tmp_path, dataset):
    document = relight(dataset, dataset, tmp_path / "out", **TINY)
    equal = {"psnr": None, "log_psnr": None, "ssim": pytest.approx(1.0), "mask_iou": 1.0}
    assert document["mean"] == equal
    np.testing.assert_allclose(document["scale"], 1.0)
    assert document["cameras"] == "held out"
    assert json.loads((tmp_path / "out" / "relighting.json").read_text()) == document
    pictures = [read_png(tmp_path / "out" / f"light_{seed}_view_01_true.png") for seed in LIGHTS]
    assert all(picture.max() > 0.5 and picture.min() == 0.0 for picture in pictures)
    assert np.abs(pictures[0] - pictures[1]).max() > 0.1, "the lights differ"


def test_the_further_off_roughness_is_the_lower_is_psnr(tmp_path, dataset):
    near = figures(tmp_path, dataset, "near", roughness=0.3)["mean"]
    far = figures(tmp_path, dataset, "far", roughness=0.7)["mean"]
    for key in ("psnr", "log_psnr", "ssim"):
        assert far[key] < near[key], key
    assert far["psnr"] < near["psnr"] - 3


def test_scaled_albedo_is_forgiven_by_alignment_only(tmp_path, dataset):
    half = figures(tmp_path, dataset, "half", albedo=(0.25, 0.2, 0.15), roughness=0.9)
    assert half["aligned"]["psnr"] > half["mean"]["psnr"] + 2
    assert min(half["scale"]) > 1.2


def test_silhouettes_are_judged_apart_from_the_material(tmp_path, dataset):
    write_run(tmp_path / "small", sphere(24, 12, radius=0.6), maps(16, roughness=0.25))
    small = relight(tmp_path / "small", dataset, **TINY)["mean"]
    assert small["mask_iou"] == pytest.approx((0.6 / 0.9) ** 2, abs=0.05)
    write_run(tmp_path / "rough", sphere(24, 12), maps(16, roughness=0.9))
    rough = relight(tmp_path / "rough", dataset, **TINY)["mean"]
    assert rough["mask_iou"] == pytest.approx(1.0, abs=2e-3)


def test_nothing_in_common_scores_nothing(tmp_path, dataset):
    mesh = sphere(24, 12, radius=0.05)
    away = replace(mesh, vertices=mesh.vertices + 5.0)
    write_run(tmp_path / "away", away, maps(16))
    assert relight(tmp_path / "away", dataset, **TINY)["mean"]["psnr"] == 0.0


def test_normal_maps_are_rendered(tmp_path, dataset):
    tilted = figures(tmp_path, dataset, "tilted", normal=(0.4, 0.0, 0.9))
    assert tilted["mean"]["psnr"] < 30


def test_report_shows_it(tmp_path, dataset):
    run = tmp_path / "run"
    write_run(run, sphere(24, 12), smooth_maps(16))
    tiny = ["--views", "1", "--resolution", "32", "--samples", "4"]
    main([str(run), str(dataset), *tiny, "--lights", "5"])
    assert (run / "relighting" / "relighting.json").is_file()
    other = tmp_path / "other"
    write_run(other, sphere(24, 12), maps(16))
    main([str(other), str(dataset), *tiny, "--lights", "4", "5"])
    columns = {"recovered": run, "other": other}
    compare_columns(columns, dataset, tmp_path / "report", samples=2000)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Under other lights" in page
    assert "Relit PSNR" in page
    shown = re.findall(r'src="(pictures/\w+_light_\d_view_01_\w+\.png)"', page)
    names = [name.removeprefix("pictures/").removesuffix(".png") for name in shown]
    assert names == [
        "recovered_light_5_view_01_recovered",
        "other_light_5_view_01_recovered",
        "recovered_light_5_view_01_true",
        "recovered_light_5_view_01_error",
        "other_light_5_view_01_error",
    ], "what both were lit by, and nothing else"
    assert all((tmp_path / "report" / name).is_file() for name in shown)


def test_bad_input_is_told_and_leaves_nothing(tmp_path, dataset):
    with pytest.raises(UserError, match="--views"):
        relight(dataset, dataset, tmp_path / "out", views=0)
    with pytest.raises(UserError, match="--resolution: 5"):
        relight(dataset, dataset, tmp_path / "out", resolution=5)
    with pytest.raises(UserError, match="--lights: -1"):
        main([str(dataset), str(dataset), "--lights", "-1"])
    write_dataset(tmp_path / "bare", sphere(24, 12), maps(16))
    with pytest.raises(UserError, match="no cameras"):
        relight(dataset, tmp_path / "bare", tmp_path / "out", **TINY)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(UserError, match="not an earlier output"):
        relight(dataset, dataset, tmp_path / "mine", **TINY)
    assert not (tmp_path / "out").exists()
