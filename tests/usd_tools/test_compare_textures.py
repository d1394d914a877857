"""The command: report folder, several columns, and bad input."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.usd_tools.comparison.scenes import (
    maps,
    orbit,
    quad,
    smooth_maps,
    sphere,
    write_dataset,
    write_run,
)
from tests.usd_tools.stages import write_scene
from usd_tools import usd_to_llff
from usd_tools.compare_textures import compare, compare_columns, main
from usd_tools.comparison.error_maps import load_error_maps
from usd_tools.comparison.sides import load_truth
from usd_tools.errors import UserError
from usd_tools.images import write_png

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = 3000

CONTRACT_KEYS = {
    "albedo_mae",
    "albedo_psnr",
    "albedo_scale",
    "albedo_mae_aligned",
    "roughness_mae",
    "metallic_mae",
    "normal_deg",
    "chamfer_l1",
    "coverage",
    "dark_misclassified",
}


@pytest.fixture
def dataset(tmp_path):
    write_dataset(tmp_path / "dataset", sphere(), smooth_maps(64), orbit())
    return tmp_path / "dataset"


@pytest.fixture
def run(tmp_path):
    channels = smooth_maps(64)
    channels["roughness"] = channels["roughness"] + 0.1
    write_run(tmp_path / "run", sphere(30, 16), channels)
    return tmp_path / "run"


def picture_addresses(report):
    page = (report / "index.html").read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert not re.search(r"(https?:)?//", "".join(addresses)), "nothing may be loaded from elsewhere"
    return addresses


def test_report_of_one_run(tmp_path, dataset, run):
    validation = run / "validation"
    validation.mkdir()
    for kind in ("render", "reference"):
        write_png(validation / f"frame_0003_{kind}.png", np.zeros((8, 8, 3)))
    write_png(validation / "frame_0004_render.png", np.zeros((8, 8, 3)))  # without a reference
    figures = {"mean": {"psnr": 27.125, "mse": 0.002, "ssim": 0.9}, "views": {}}
    (validation / "metrics.json").write_text(json.dumps(figures))

    metrics = compare(run, dataset, tmp_path / "out" / "report", samples=SAMPLES)

    report = tmp_path / "out" / "report"
    assert json.loads((report / "metrics.json").read_text()) == metrics
    assert metrics.keys() >= CONTRACT_KEYS
    assert metrics["constant"].keys() >= CONTRACT_KEYS - {"chamfer_l1", "coverage"}
    assert metrics["roughness_mae"] == pytest.approx(0.1, abs=0.004)  # 8-bit maps
    assert metrics["coverage"] == 1
    assert metrics["samples"] < SAMPLES, "the poles are out of every camera's sight"
    errors = load_error_maps(report / "errors.npz")
    assert errors.errors["roughness"][errors.counted].mean() == pytest.approx(0.1, abs=0.004)
    assert not errors.counted.all(), "the poles are out of every camera's sight"
    addresses = picture_addresses(report)
    assert len(addresses) > 30
    for address in addresses:
        assert (report / address).is_file(), address
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "frame_0003_render.png" in page
    assert "frame_0004" not in page
    assert "27.1" in page
    assert "Occlusion" in page
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["report"]


def test_two_columns_side_by_side_and_overwriting(tmp_path, dataset, run, capsys):
    arguments = [str(run), str(dataset), "--out", str(tmp_path / "report"), "--name", "split"]
    arguments += ["--samples", str(SAMPLES), "--also", f"joint <b>={dataset}"]
    assert main(arguments) == 0
    first = json.loads((tmp_path / "report" / "metrics.json").read_text())
    second = json.loads((tmp_path / "report" / "metrics_joint-b.json").read_text())
    assert load_error_maps(tmp_path / "report" / "errors_joint-b.npz").errors["roughness"].max() < 1e-2
    assert first["roughness_mae"] == pytest.approx(0.1, abs=0.004)
    assert second["roughness_mae"] < 1e-4
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "joint &lt;b&gt;" in page
    assert "<b>" not in page
    for address in picture_addresses(tmp_path / "report"):
        assert (tmp_path / "report" / address).is_file(), address
    printed = capsys.readouterr().out
    assert re.search(r"roughness_mae +0\.\d+ +0\.0000", printed)
    assert str(tmp_path / "report" / "index.html") in printed
    assert main(arguments) == 0, "an earlier report is replaced"


def test_a_run_in_another_dataset_frame_is_moved(tmp_path, dataset, run):
    turn = np.array([[0, 0, 2.0, 1], [0, 2, 0, -3], [-2, 0, 0, 0.5], [0, 0, 0, 1]])
    mesh = sphere(30, 16)
    moved = replace(
        mesh, vertices=mesh.vertices @ turn[:3, :3].T + turn[:3, 3], normals=mesh.normals @ turn[:3, :3].T
    )
    write_run(tmp_path / "moved", moved, smooth_maps(64))
    (tmp_path / "moved" / "dataset.json").write_text(json.dumps({"stage_to_dataset": turn.tolist()}))
    metrics = compare(tmp_path / "moved", dataset, tmp_path / "report", samples=SAMPLES)
    assert metrics["coverage"] == 1
    assert metrics["chamfer_l1"] < 0.01
    assert metrics["normal_deg"] < 1.5  # 30 x 16 faces against 48 x 24


def test_dataset_without_cameras_counts_everything(tmp_path, run):
    write_dataset(tmp_path / "bare", sphere(), smooth_maps(64))
    metrics = compare(run, tmp_path / "bare", tmp_path / "report", samples=SAMPLES)
    assert metrics["samples"] == SAMPLES


def damage(path, action):
    if action == "remove":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        path.write_text(action)


@pytest.mark.parametrize(
    ("where", "action", "message"),
    [
        ("run/mesh/roughness.png", "remove", "roughness.png"),
        ("run/mesh/normal.png", "not a picture", "normal.png"),
        ("run/mesh/mesh.obj", "remove", "mesh.obj"),
        ("run/mesh/mesh.obj", "", "mesh.obj"),
        ("run/mesh/mesh.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "no UVs"),
        ("run/mesh/mesh.obj", "v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n", "empty"),
        ("run/status.json", '{"stage": "fine", "error": null}', "not finished"),
        ("run/status.json", '{"stage": "fine", "error": "out of memory"}', "out of memory"),
        ("run/status.json", "[]", "status.json"),
        ("run/status.json", "{", "status.json"),
        ("run/dataset.json", '{"stage_to_dataset": [1, 2]}', "stage_to_dataset"),
        ("run", "remove", "does not exist"),
        ("dataset/ground_truth", "remove", "ground_truth"),
        ("dataset/ground_truth/albedo.png", "remove", "albedo.png"),
        ("dataset/transforms_train.json", '{"frames": []}', "no training frames"),
        ("dataset/transforms_train.json", '{"frames": [{}]}', "transforms_train.json"),
        ("dataset/transforms_train.json", '{"frames": [3], "w": 1, "h": 1}', "transforms_train.json"),
        ("dataset", "remove", "does not exist"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(tmp_path, dataset, run, where, action, message):
    damage(tmp_path / where, action)
    with pytest.raises(UserError, match=re.escape(message)):
        compare(run, dataset, tmp_path / "report", samples=SAMPLES)
    assert not (tmp_path / "report").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "0"], "--samples"),
        (["--resolution", "3"], "--resolution"),
        (["--seed", "-1"], "--seed"),
        (["--also", "x"], "--also"),
        (["--also", "recovered=x"], "taken"),
        (["--name", "!"], "--name"),
    ],
)
def test_bad_options(tmp_path, dataset, run, options, message):
    with pytest.raises(UserError, match=message):
        main([str(run), str(dataset), "--out", str(tmp_path / "report"), *options])


def test_foreign_folder_is_not_replaced(tmp_path, dataset, run):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dear.txt").write_text("keep")
    with pytest.raises(UserError, match="photos"):
        compare(run, dataset, tmp_path / "photos", samples=SAMPLES)
    assert (tmp_path / "photos" / "dear.txt").read_text() == "keep"


def test_names_must_differ_in_file_names(tmp_path, dataset, run):
    with pytest.raises(UserError, match="different names"):
        compare_columns({"a b": run, "a-b": run}, dataset, tmp_path / "report")


def test_constant_maps_of_one_texel(tmp_path):
    write_dataset(tmp_path / "dataset", quad(), maps(1))
    write_run(tmp_path / "run", quad(), maps(1, roughness=0.5))
    metrics = compare(tmp_path / "run", tmp_path / "dataset", tmp_path / "report", samples=SAMPLES)
    assert metrics["roughness_mae"] == pytest.approx(0.2, abs=0.004)


@pytest.mark.parametrize("start", [["usd_tools/compare_textures.py"], ["-m", "usd_tools.compare_textures"]])
def test_command_as_file_and_as_module(tmp_path, start):
    command = [sys.executable, *start]
    help_text = subprocess.run([*command, "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert help_text.returncode == 0
    assert "DATASET_OR_STAGE" in help_text.stdout
    bad = subprocess.run(
        [*command, str(tmp_path / "no"), str(tmp_path / "none"), "--out", str(tmp_path / "report")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert bad.returncode == 2
    assert "error: " in bad.stderr
    assert "Traceback" not in bad.stderr


def test_usd_tools_do_without_torch():
    code = "import sys, usd_tools.compare_textures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_stage_against_its_dataset_and_against_itself(tmp_path):
    """Recovered as USD, in stage coordinates: the frames meet through stage_to_dataset."""

    scene = write_scene(tmp_path / "scene", up_axis="Z")
    usd_to_llff.main(scene.arguments(tmp_path / "dataset", "--test-every", "4"))
    usd_to_llff.main(
        [str(scene.stage), "--ground-truth-only", "--no-normalize", "--out", str(tmp_path / "raw")]
    )
    for recovered in (scene.stage, tmp_path / "raw"):
        metrics = compare(recovered, tmp_path / "dataset", tmp_path / "report", samples=SAMPLES)
        assert metrics["coverage"] == 1
        assert metrics["chamfer_l1"] < 1e-5
        assert metrics["albedo_mae"] < 1e-3
        assert metrics["normal_deg"] < 0.05
    itself = compare(scene.stage, scene.stage, tmp_path / "report", samples=SAMPLES)
    assert itself["albedo_mae"] < 1e-6
    # Of the stage's four frames the dataset trains on three.
    assert metrics["samples"] < itself["samples"] < SAMPLES


def test_stage_cameras_are_the_dataset_cameras(tmp_path):
    scene = write_scene(tmp_path / "scene", size=(48, 32))
    usd_to_llff.main(scene.arguments(tmp_path / "dataset"))
    stage, dataset = load_truth(scene.stage).cameras, load_truth(tmp_path / "dataset").cameras
    np.testing.assert_allclose(stage.camera_to_world, dataset.camera_to_world, atol=1e-6)
    pixels = 32 / stage.sizes[:, 1:]  # per unit of the aperture
    np.testing.assert_allclose(stage.sizes * pixels, dataset.sizes, rtol=1e-5)
    np.testing.assert_allclose(stage.intrinsics * pixels, dataset.intrinsics, rtol=1e-5)


def test_unusable_stage_is_told(tmp_path, run):
    with pytest.raises(UserError, match="does not exist"):
        compare(run, tmp_path / "none.usda", tmp_path / "report")
    (tmp_path / "bad.usda").write_text("#usda 1.0\n")
    with pytest.raises(UserError, match=r"bad\.usda"):
        compare(run, tmp_path / "bad.usda", tmp_path / "report")
    assert not (tmp_path / "report").exists()
