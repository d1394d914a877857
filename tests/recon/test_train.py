"""The whole loop on a tiny rendered dataset: results, determinism, resuming, modes and bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from recon import train
from recon.checkpoints import Checkpoints
from recon.config import load_config
from recon.geometry.grid_box import GridBox
from recon.stages import run_stage as loop
from recon.stages.material_search import search_material
from recon.train import main
from tests.recon.interruption import interrupt_at
from tests.usd_tools.stages import write_scene
from usd_tools import compare_textures, usd_to_llff
from usd_tools.errors import UserError, run_command
from usd_tools.images import read_image, write_png
from usd_tools.import_materials import import_run
from usd_tools.obj import read_obj, write_obj

REPOSITORY = Path(__file__).resolve().parents[2]
CHANNELS = ("albedo", "roughness", "metallic", "occlusion", "normal", "orm")
TINY = {
    "train.coarse_iterations": 6,
    "train.fine_iterations": 6,
    "train.batch": 2,
    "train.log_every": 2,
    "train.image_every": 5,
    "train.checkpoint_every": 2,
    "train.validate_views": 1,
    "geometry.grid": 10,
    "material.hash_levels": 4,
    "material.hash_table_log2": 10,
    "material.hash_finest": 64,
    "textures.resolution": 64,
    "light.resolution": 16,
}


@dataclass(frozen=True)
class Source:
    """A stage and the dataset made of its renders."""

    stage: Path
    dataset: Path


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    """Eight path-traced views of a smoothly painted sphere, two of them held out."""
    pytest.importorskip("mitsuba", reason="the tiny dataset is path traced")
    from usd_tools.render_turntable import render_turntable

    folder = tmp_path_factory.mktemp("train")
    scene = write_scene(folder / "scene", frames=8, size=(48, 48))
    ramp = np.linspace(0, 1, 32)[:, None, None] * np.ones((32, 32, 1))
    write_png(scene.textures / "albedo.png", np.concatenate([0.3 + 0.6 * ramp, 0.5 - 0.4 * ramp, ramp], 2))
    write_png(scene.textures / "roughness.png", 0.2 + 0.4 * ramp[..., 0])
    write_png(scene.textures / "metallic.png", np.zeros((32, 32)))
    write_png(scene.textures / "normal.png", np.broadcast_to([0.5, 0.5, 1.0], (32, 32, 3)))
    shutil.rmtree(scene.images)
    render_turntable(scene.stage, scene.images, resolution=scene.size, samples=8)
    usd_to_llff.main(scene.arguments(folder / "dataset", "--test-every", "4"))
    return Source(scene.stage, folder / "dataset")


@pytest.fixture(scope="module")
def finished(source, tmp_path_factory) -> Path:
    """An uninterrupted run with the settings `TINY`."""
    return learn(source, tmp_path_factory.mktemp("finished") / "run")


def arguments(source: Source, out: Path, *more: str, **changes: object) -> list[str]:
    """Command line of a tiny run; in `changes`, `__` stands for the dot of a key."""
    settings = TINY | {key.replace("__", "."): value for key, value in changes.items()}
    pairs = [f"{key}={value}" for key, value in settings.items()]
    return ["--data", str(source.dataset), "--out", str(out), "--device", "cpu", "--set", *pairs, *more]


def learn(source: Source, out: Path, *more: str, **changes: object) -> Path:
    main(arguments(source, out, *more, **changes))
    return out


def results(run: Path) -> dict[str, bytes]:
    """The bytes of all meshes, maps, probes and validation pictures and figures."""
    folders = [run / name for name in ("coarse", "mesh", "validation") if (run / name).is_dir()]
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    return {file.relative_to(run).as_posix(): file.read_bytes() for file in files}


def assert_same_results(one: Path, other: Path) -> None:
    first, second = results(one), results(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def mean_metrics(run: Path) -> dict[str, float]:
    return json.loads((run / "validation" / "metrics.json").read_text(encoding="utf-8"))["mean"]


@pytest.mark.slow
def test_whole_loop(source, tmp_path):
    iterations = {"train__coarse_iterations": 50, "train__fine_iterations": 80, "train__validate_views": 2}
    rates = {"train__learning_rate_fine": 0.03}
    run = learn(source, tmp_path / "run", **iterations, **rates)

    expected = {"config.yaml", "dataset.json", "status.json", "run.json", "checkpoints", "tensorboard"}
    assert expected <= {path.name for path in run.iterdir()}
    for folder in (run / "mesh", run / "coarse"):
        names = {"mesh.obj", "mesh.mtl", "probe.exr", *(f"{channel}.png" for channel in CHANNELS)}
        assert {path.name for path in folder.iterdir()} == names
        assert read_image(folder / "albedo.png").shape == (64, 64, 3)
    for stage, branches in (("coarse", {"a", "b"}), ("fine", {"a", "b"})):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run / "tensorboard" / stage)).Reload().Tags()
        for branch in branches:
            assert {f"loss/{branch}", f"rate/{branch}"} <= set(events["scalars"])
        assert {"rate/geometry", "loss/roughness_smoothness"} <= set(events["scalars"])
        assert "settings/text_summary" in events["tensors"]
    assert load_config(run / "config.yaml").train.coarse_iterations == 50
    assert (run / "dataset.json").read_bytes() == (source.dataset / "dataset.json").read_bytes()
    status = json.loads((run / "status.json").read_text(encoding="utf-8"))
    assert (status["stage"], status["error"]) == ("done", None)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["stages"]["coarse"]["timed_iterations"] == 50
    assert record["stages"]["fine"]["seconds_per_iteration"] > 0.0
    assert {path.name for path in (run / "validation").iterdir()} == {
        "metrics.json",
        *(f"frame_000{n}_{kind}.png" for n in (1, 5) for kind in ("render", "reference")),
    }

    # The largest half-extent of the object is 0.9 in the dataset frame.
    radii = np.linalg.norm(read_obj(run / "mesh" / "mesh.obj").vertices, axis=1)
    assert abs(np.median(radii) - 0.9) < 0.06

    untrained = learn(
        source,
        tmp_path / "untrained",
        train__coarse_iterations=0,
        train__fine_iterations=0,
        train__validate_views=2,
        material__searches=0,
    )
    before, after = mean_metrics(untrained), mean_metrics(run)
    assert after["psnr"] > before["psnr"] + 2.0
    assert after["ssim"] > before["ssim"]

    import_run(run, tmp_path / "recovered.usda", source.stage, "/World/sphere")
    from pxr import Usd, UsdGeom

    layer = Usd.Stage.Open(str(tmp_path / "recovered.usda"))
    meshes = [UsdGeom.Mesh(prim) for prim in layer.Traverse() if prim.IsA(UsdGeom.Mesh)]
    sizes = [np.ptp(np.array(mesh.GetPointsAttr().Get()), axis=0) for mesh in meshes]
    assert any(len(mesh.GetPointsAttr().Get()) == len(radii) for mesh in meshes)
    assert all(np.isfinite(size).all() for size in sizes)

    compare_textures.main(
        [
            str(run),
            str(source.dataset),
            *("--out", str(tmp_path / "report"), "--samples", "2000", "--resolution", "64"),
        ]
    )
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["coverage"] > 0.9
    assert metrics["chamfer_l1"] < 0.1
    assert metrics["albedo_mae"] < 0.25


@pytest.mark.slow
def test_same_seed_same_bits(source, finished, tmp_path):
    # Whatever was drawn before must not matter.
    torch.manual_seed(1234)
    torch.rand(7)
    assert_same_results(learn(source, tmp_path / "again"), finished)


@pytest.mark.slow
def test_another_seed_differs(source, finished, tmp_path):
    other = learn(source, tmp_path / "other", seed=1)
    first, second = results(finished), results(other)
    for name in ("mesh/mesh.obj", "mesh/albedo.png", "mesh/roughness.png", "coarse/mesh.obj"):
        assert first[name] != second[name], name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "iteration"), [("coarse", 1), ("coarse", 5), ("fine", 0), ("fine", 3)], ids=str
)
def test_resumed_run_equals_uninterrupted(source, finished, tmp_path, monkeypatch, stage, iteration):
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_step", interrupt_at(stage, iteration))
        with pytest.raises(KeyboardInterrupt):
            learn(source, run)
    status = json.loads((run / "status.json").read_text(encoding="utf-8"))
    assert (status["stage"], status["error"]) == (stage, "KeyboardInterrupt")
    found = Checkpoints(run / "checkpoints").latest()
    assert found is not None
    assert (found.stage, found.iteration) == (stage, iteration // 2 * 2)

    torch.manual_seed(99)
    learn(source, run, "--resume")
    assert_same_results(run, finished)
    assert json.loads((run / "status.json").read_text(encoding="utf-8"))["stage"] == "done"


@pytest.mark.slow
def test_resumed_run_takes_the_grid_of_its_checkpoint(source, finished, tmp_path, monkeypatch):
    """Nothing that differs in the last bit on another machine may decide where the learnt distances lie."""

    def elsewhere(*arguments: object) -> GridBox:
        return GridBox((0.0, 0.0, 0.0), (6, 6, 6), 0.5)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_step", interrupt_at("coarse", 3))
        with pytest.raises(KeyboardInterrupt):
            learn(source, tmp_path / "run")
    monkeypatch.setattr("recon.assemble.fit_to_hull", elsewhere)
    assert_same_results(learn(source, tmp_path / "run", "--resume"), finished)


@pytest.mark.slow
def test_interrupted_between_the_stages(source, finished, tmp_path, monkeypatch):
    """The coarse stage's last checkpoint lies before its end: the rest is learnt again."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("recon.train.bake_field", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learn(source, tmp_path / "run")
    assert_same_results(learn(source, tmp_path / "run", "--resume"), finished)


def assert_resumed_equals_uninterrupted(source, tmp_path, monkeypatch, stage, changes):
    """Interrupted before the fourth iteration of `stage`."""
    whole = learn(source, tmp_path / "whole", **changes)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_step", interrupt_at(stage, 3))
        with pytest.raises(KeyboardInterrupt):
            learn(source, tmp_path / "run", **changes)
    assert_same_results(learn(source, tmp_path / "run", "--resume", **changes), whole)


@pytest.mark.slow
def test_resumed_known_mesh_equals_uninterrupted(source, tmp_path, monkeypatch):
    changes = {"geometry__mesh": source.dataset / "ground_truth" / "mesh.obj"}
    assert_resumed_equals_uninterrupted(source, tmp_path, monkeypatch, "fine", changes)


@pytest.mark.slow
def test_resumed_while_pictures_grow_equals_uninterrupted(source, tmp_path, monkeypatch):
    monkeypatch.setattr("recon.stages.picture_sizes._SMALLEST", 12)
    changes = {"train__coarse_growth": "[0.4,0.7]", "train__fine_growth": "[0.4,0.7]"}
    assert_resumed_equals_uninterrupted(source, tmp_path, monkeypatch, "coarse", changes)


@pytest.mark.slow
def test_resuming_nothing_starts_anew(source, finished, tmp_path):
    assert_same_results(learn(source, tmp_path / "run", "--resume"), finished)


def everything(run: Path) -> dict[str, bytes]:
    """The bytes of every file of a run but its log."""
    files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "train.log")
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_resuming_a_finished_run_says_so_and_changes_nothing(source, finished, tmp_path, capfd):
    run = shutil.copytree(finished, tmp_path / "run")
    learn(source, run, "--resume")
    main(["--resume", "--out", str(run), "--device", "cpu"])
    assert capfd.readouterr().err.count("the run is finished, there is nothing to resume") == 2
    assert everything(run) == everything(finished)


@pytest.mark.slow
def test_resuming_needs_the_run_folder_only(source, finished, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_step", interrupt_at("fine", 3))
        with pytest.raises(KeyboardInterrupt):
            learn(source, run)
    # The same dataset by another name is no change.
    monkeypatch.chdir(source.dataset.parent)
    resume = ["--resume", "--out", str(run), "--device", "cpu"]
    with pytest.raises(UserError, match=r"\(data\.path: .*dataset -> elsewhere\)"):
        main([*resume, "--data", "elsewhere"])
    main([*resume, "--data", source.dataset.name, "--set", "train.batch=2"])
    assert_same_results(run, finished)
    assert load_config(run / "config.yaml") == load_config(finished / "config.yaml")


@pytest.mark.slow
def test_without_regular_checkpoints_each_stage_leaves_its_start(source, tmp_path):
    run = learn(source, tmp_path / "run", train__checkpoint_every=0)
    names = [path.stem.split("_", 2)[2] for path in sorted((run / "checkpoints").iterdir())]
    assert names == ["coarse_000000", "fine_000000"]


@pytest.mark.slow
def test_no_views_to_validate_is_told(source, tmp_path, capfd):
    short = {"train__coarse_iterations": 1, "train__fine_iterations": 1}
    run = learn(source, tmp_path / "run", train__validate_views=0, **short)
    told = capfd.readouterr().err
    assert "train.validate_views is 0: validation is skipped" in told
    assert "held-out views: \n" not in told
    assert not (run / "validation").exists()
    assert json.loads((run / "status.json").read_text(encoding="utf-8"))["stage"] == "done"


@pytest.mark.slow
def test_resumed_learnt_light_equals_uninterrupted(source, tmp_path, monkeypatch):
    changes = {"light__mode": "learnt", "train__coarse_iterations": 4, "train__fine_iterations": 4}
    whole = learn(source, tmp_path / "whole", **changes)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_step", interrupt_at("fine", 3))
        with pytest.raises(KeyboardInterrupt):
            learn(source, tmp_path / "run", **changes)
    assert_same_results(learn(source, tmp_path / "run", "--resume", **changes), whole)


@pytest.mark.slow
def test_resuming_with_other_settings_is_refused(source, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = everything(run)
    with pytest.raises(UserError, match=r"\(train\.batch: 2 -> 3\).*--resume and --out alone"):
        learn(source, run, "--resume", train__batch=3)
    with pytest.raises(UserError, match=r"\(train\.batch: 2 -> 3\)"):
        main(["--resume", "--out", str(run), "--device", "cpu", "--set", "train.batch=3"])
    assert everything(run) == before  # status.json still says that the run is done


@pytest.mark.slow
def test_finished_run_is_not_overwritten(source, finished):
    before = results(finished)
    with pytest.raises(UserError, match="holds an earlier run; add --resume"):
        learn(source, finished)
    assert results(finished) == before


def test_failed_start_does_not_block_the_next(source, tmp_path):
    """Nothing was learnt, so the mended command line must run without --resume or another --out."""
    run = tmp_path / "run"
    mistaken = Source(source.stage, tmp_path / "typo")
    with pytest.raises(UserError, match="typo: no such dataset"):
        learn(mistaken, run)
    learn(source, run, train__coarse_iterations=1, train__fine_iterations=1)
    assert (run / "mesh" / "mesh.obj").is_file()
    assert load_config(run / "config.yaml").data.path == str(source.dataset)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["obj", "prim"])
def test_known_mesh_keeps_the_artists_mesh(source, tmp_path, kind):
    truth = source.dataset / "ground_truth" / "mesh.obj"
    named = {"obj": str(truth), "prim": f"{source.stage}:/World/sphere"}[kind]
    run = learn(source, tmp_path / "run", geometry__mesh=named, light__mode="learnt")
    expected, got = read_obj(truth), read_obj(run / "mesh" / "mesh.obj")
    for name in ("vertices", "uvs", "normals"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), atol=1e-6)
    for name in ("faces", "uv_faces"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
    assert np.linalg.norm(got.vertices, axis=1).max() == pytest.approx(0.9, abs=1e-5)
    assert not (run / "coarse").exists()
    # Painting took place on the artist's uvs.
    assert np.ptp(read_image(run / "mesh" / "albedo.png"), axis=(0, 1)).min() > 0.0


@pytest.mark.slow
def test_joint_model(source, finished, tmp_path):
    run = learn(source, tmp_path / "run", material__model="joint")
    assert (run / "mesh" / "mesh.obj").is_file()
    assert results(run)["mesh/albedo.png"] != results(finished)["mesh/albedo.png"]


@pytest.mark.slow
def test_all_optional_channels_and_supersampling(source, tmp_path):
    run = learn(source, tmp_path / "run", material__occlusion="true", train__samples=4)
    orm = read_image(run / "mesh" / "orm.png")
    assert np.ptp(orm[..., 0]) > 0.0 and orm[..., 0].min() > 0.5
    flat = learn(source, tmp_path / "flat", material__normal="false")
    normal = read_image(flat / "mesh" / "normal.png")
    np.testing.assert_allclose(normal, np.broadcast_to([0.5, 0.5, 1.0], normal.shape), atol=1 / 255)


@pytest.mark.slow
def test_learnt_light_changes_the_probe(source, tmp_path):
    run = learn(source, tmp_path / "run", light__mode="learnt", light__initial=0.5)
    probe = read_image(run / "mesh" / "probe.exr")
    assert probe.shape == (32, 64, 3)
    assert np.isfinite(probe).all() and (probe > 0.0).all()
    assert np.abs(probe - 0.5).max() > 0.01
    # The probe of a known light is the dataset's.
    known = learn(source, tmp_path / "known", train__coarse_iterations=1, train__fine_iterations=1)
    truth = read_image(source.dataset / "ground_truth" / "probe.exr")
    exported = read_image(known / "mesh" / "probe.exr")
    np.testing.assert_allclose(exported.mean((0, 1)), truth[..., :3].mean((0, 1)), rtol=0.1)


def record_searches(monkeypatch, look):
    """What `look` finds in (scene, setup) at each search for materials, as they come."""
    found = []

    def recorded(scene, setup):
        found.append(look(scene, setup))
        return search_material(scene, setup)

    monkeypatch.setattr(train, "search_material", recorded)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("searches", [1, 3])
def test_materials_are_searched_before_and_within_the_fine_stage(source, tmp_path, monkeypatch, searches):
    called = record_searches(monkeypatch, lambda scene, _: scene.offsets.detach().abs().max())
    learn(source, tmp_path / "run", material__searches=searches)
    assert len(called) == searches
    assert called[0] == 0, "the surface has not moved yet"
    assert all(offset > 0 for offset in called[1:])


@pytest.mark.slow
@pytest.mark.parametrize("searches", [0, 1])
def test_only_a_material_that_was_found_is_refined_by_losses_of_its_own(
    source, tmp_path, monkeypatch, searches
):
    """Robust losses do not lead to gloss."""
    learn_stage, used = train.run_stage, {}

    def spied(stage, setup, *arguments, **options):
        used[stage.name] = setup.objective.b.first
        return learn_stage(stage, setup, *arguments, **options)

    monkeypatch.setattr(train, "run_stage", spied)
    learn(source, tmp_path / "run", material__searches=searches)
    assert used == {"coarse": "rel_mse", "fine": "log_l1" if searches else "rel_mse"}


@pytest.mark.slow
@pytest.mark.parametrize("on_artists_mesh", [False, True])
def test_a_learnt_light_is_searched_under_once_it_is_known(source, tmp_path, monkeypatch, on_artists_mesh):
    """On an artist's mesh there is no first search: nothing is known of the light then."""
    lights = record_searches(monkeypatch, lambda _, setup: setup.light.cubemap().detach().clone())
    truth = str(source.dataset / "ground_truth" / "mesh.obj")
    changes = {"geometry__mesh": truth} if on_artists_mesh else {}
    learn(source, tmp_path / "run", light__mode="learnt", **changes)
    assert len(lights) == (1 if on_artists_mesh else 2)
    assert all((light - 0.5).abs().max() > 0.01 for light in lights)
    assert len(lights) < 2 or (lights[1] - lights[0]).abs().max() > 0.01


def plain_nerf(source: Source, folder: Path) -> Source:
    """The dataset as others write it: transforms and pictures, no probe."""
    shutil.copytree(source.dataset / "rgba", folder / "rgba")
    for split in ("train", "test"):
        content = json.loads((source.dataset / f"transforms_{split}.json").read_text(encoding="utf-8"))
        for frame in content["frames"]:
            frame.pop("hdr_path", None)
        (folder / f"transforms_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return Source(source.stage, folder)


@pytest.mark.slow
def test_plain_nerf_folder_with_learnt_light(source, tmp_path):
    run = learn(plain_nerf(source, tmp_path / "nerf"), tmp_path / "run", light__mode="learnt")
    assert mean_metrics(run)["psnr"] > 10.0
    assert not (run / "dataset.json").exists()


def bad_input(name: str, source: Source, folder: Path) -> tuple[list[str], str]:
    """A command line with one mistake, and what has to be told about it."""
    out = folder / "run"
    if name == "unknown key":
        return arguments(source, out, train__bacth=4), "train.bacth.*train.batch"
    if name == "wrong type":
        return arguments(source, out, train__batch="many"), "train.batch: expected an integer"
    if name == "no dataset given":
        return ["--out", str(out)], "--data: expected a dataset folder"
    if name == "missing dataset":
        return arguments(Source(source.stage, folder / "gone"), out), "gone: no such dataset folder"
    if name == "no probe":
        nerf = plain_nerf(source, folder / "nerf")
        return arguments(nerf, out), "no light probe.*light.probe=.*light.mode=learnt"
    if name == "missing probe":
        return arguments(source, out, light__probe=folder / "none.exr"), "none.exr"
    if name == "mesh without uvs":
        mesh = read_obj(source.dataset / "ground_truth" / "mesh.obj")
        bare = type(mesh)(mesh.vertices, mesh.faces)
        write_obj(folder / "bare.obj", bare)
        return arguments(
            source, out, geometry__mesh=folder / "bare.obj"
        ), "bare.obj: expected a mesh with UVs"
    if name == "missing mesh":
        return arguments(source, out, geometry__mesh=folder / "none.obj"), "none.obj: no such file"
    if name == "missing prim":
        return arguments(source, out, geometry__mesh=f"{source.stage}:/World/none"), "/World/none"
    if name == "missing stage":
        return arguments(source, out, geometry__mesh=f"{folder}/none.usda:/World/sphere"), "none.usda"
    if name == "foreign folder":
        out.mkdir()
        (out / "thesis.txt").write_text("mine", encoding="utf-8")
        return arguments(source, out), "is not empty and not an earlier output"
    if name == "out is a file":
        out.write_text("mine", encoding="utf-8")
        return arguments(source, out), "is a file; expected a folder"
    if name == "nvdiffrast":
        return arguments(source, out, "--backend", "nvdiffrast"), "--backend nvdiffrast: .*--backend warp"
    assert name == "tiny pictures", name
    return arguments(source, out, train__resolution=7), "train.resolution"


@pytest.mark.parametrize(
    "name",
    [
        "unknown key",
        "wrong type",
        "no dataset given",
        "missing dataset",
        "no probe",
        "missing probe",
        "mesh without uvs",
        "missing mesh",
        "missing prim",
        "missing stage",
        "foreign folder",
        "out is a file",
        "nvdiffrast",
        "tiny pictures",
    ],
)
def test_bad_input_is_told_in_one_line(source, tmp_path, capfd, name):
    line, told = bad_input(name, source, tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.glob("run*/*.txt")}
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: main(line))
    assert caught.value.code == 2
    assert_one_error_line(capfd.readouterr().err, told)
    assert not (tmp_path / "run" / "mesh").exists()
    assert all(path.read_bytes() == content for path, content in kept.items())
    status = tmp_path / "run" / "status.json"
    if status.is_file():  # the run folder was there already: whoever watches it is told
        assert json.loads(status.read_text(encoding="utf-8"))["error"]


def assert_one_error_line(text: str, told: str) -> None:
    import re

    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    assert text.splitlines()[-1] == errors[0]
    assert re.search(told, errors[0]), errors[0]
    assert "Traceback" not in text


@pytest.mark.parametrize("name", ["unknown key", "missing dataset"])
def test_bad_input_of_the_command_itself(source, tmp_path, name):
    line, told = bad_input(name, source, tmp_path)
    command = [sys.executable, "-m", "recon.train", *line]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert_one_error_line(done.stderr, told)
