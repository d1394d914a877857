"""The shelf's tools from the click to the message, on real stages and files; husk and training imitated."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hou
import pytest
from pxr import Sdf, Usd, UsdGeom
from texture_recovery import ROOT, job_monitor, session, shelf_tools
from texture_recovery.export_request import COLOR_SPACE, FOLDER, FRAMES, RESOLUTION, TEST_EVERY
from texture_recovery.job_monitor import JobMonitor
from texture_recovery.recovered_node import NODE_TYPE
from texture_recovery.shelf_tools import ANEW, KEEP, NEW_TURNTABLE, RESUME, WITHOUT_TRUTH
from texture_recovery.stage_source import selected_stage
from texture_recovery.training_presets import LIGHT, MORE, PRESETS
from texture_recovery.turntable import Turntable, write_turntable

from tests.houdini_otl.impostors import install_husk, install_training_python
from tests.usd_tools.stages import Scene, define_material, define_sphere, write_scene
from tests.usd_tools.test_import_materials import make_run
from usd_tools.errors import UserError
from usd_tools.stage import open_stage
from usd_tools.usd_to_llff import main as convert

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the impostors are scripts with a shebang")

SMALL = {RESOLUTION: "32x32", TEST_EVERY: "2", COLOR_SPACE: "lin_rec709"}
OBJECT = "/World/sphere"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return write_scene(tmp_path / "scene")


def one_frame_at_a_time(path: Path) -> Callable[[float], Usd.Stage]:
    """A time-dependent LOP's stage: it knows nothing but the frame it was cooked for."""

    def stage_at(frame: float) -> Usd.Stage:
        stage = Usd.Stage.Open(open_stage(path).Flatten())
        pose = UsdGeom.Xformable(stage.GetPrimAtPath("/World/camera")).GetOrderedXformOps()[0]
        value = pose.Get(frame)
        pose.GetAttr().Clear()
        pose.Set(value, frame)
        stage.GetRootLayer().ClearStartTimeCode()
        stage.GetRootLayer().ClearEndTimeCode()
        return stage

    return stage_at


@pytest.fixture
def artist(houdini: Any, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session with the scene's LOP selected, husk in $HFS, and the training Python set by variable."""
    hou.LopNetwork("/stage")
    node = hou.LopNode("/stage/OUT", stage_at=one_frame_at_a_time(scene.stage), modified=[OBJECT])
    houdini.selected = (node,)
    houdini.playbar = (1.0, 4.0)
    houdini.variables["HFS"] = str(tmp_path / "hfs")
    install_husk(tmp_path / "hfs", scene.images / "sphere.0001.exr")
    python, _ = install_training_python(tmp_path / "training")
    houdini.variables["SEPARATE_SPECIALIZE_PYTHON"] = str(python)
    monkeypatch.delenv("OCIO", raising=False)
    monkeypatch.setattr(shelf_tools, "MONITOR", JobMonitor())
    monkeypatch.setattr(job_monitor, "_SECONDS", 0.0)
    return houdini


def wait(artist: Any, until: Callable[[], bool] | None = None, seconds: float = 60) -> None:
    """Turns the event loop until nothing is left to look after."""
    end = time.monotonic() + seconds
    while artist.callbacks if until is None else not until():
        assert time.monotonic() < end, f"still busy: {artist.status[-1:]}"
        artist.tick()
        time.sleep(0.02)


def export(artist: Any, *answers: Any) -> None:
    artist.answers = [*answers]
    shelf_tools.export_dataset()
    wait(artist)


def recovery(artist: Any) -> Path:
    return Path(artist.variables["HIP"]) / "texture_recovery" / "sphere"


def test_export_through_the_stages_camera(artist: Any, tmp_path: Path) -> None:
    export(artist, "/World/camera", SMALL)
    assert artist.messages[-1].startswith(f"The dataset is ready:\n{recovery(artist) / 'dataset'}")
    description = json.loads((recovery(artist) / "dataset" / "dataset.json").read_text())
    assert description["object"] == OBJECT
    assert [frame["split"] for frame in description["frames"]] == ["test", "train", "test", "train"]
    assert description["light_probe"] is not None
    (husk,) = (tmp_path / "hfs" / "husk.log").read_text().splitlines()
    words = husk.split("\t")
    assert words[:6] == ["-f", "1", "-n", "4", "-i", "1"]
    assert words[words.index("-c") + 1] == "/World/camera" and words[words.index("-r") + 1 :][:2] == [
        "32",
        "32",
    ]
    assert words[-1] == str(recovery(artist) / "stage.usd")
    assert any("rendering, 0 of 4 pictures" in line for line in artist.status)
    assert any("converting" in line for line in artist.status)
    # The camera moves, though each cooked stage knew one pose only; and the temporary node is gone.
    stage = open_stage(recovery(artist) / "stage.usd")
    pose = UsdGeom.Xformable(stage.GetPrimAtPath("/World/camera"))
    assert pose.GetTimeSamples() == [1, 2, 3, 4]
    assert set(artist.nodes) == {"/stage", "/stage/OUT"}


def test_export_with_a_new_turntable(artist: Any, tmp_path: Path) -> None:
    export(artist, NEW_TURNTABLE, {**SMALL, FRAMES: "11:16", FOLDER: str(tmp_path / "elsewhere")})
    description = json.loads((tmp_path / "elsewhere" / "dataset" / "dataset.json").read_text())
    assert [frame["frame"] for frame in description["frames"]] == [11, 12, 13, 14, 15, 16]
    assert {frame["camera"] for frame in description["frames"]} == {"/cameras/turntable"}
    (husk,) = (tmp_path / "hfs" / "husk.log").read_text().splitlines()
    assert husk.split("\t")[:6] == ["-f", "11", "-n", "6", "-i", "1"]


def test_stage_without_cameras_gets_a_turntable_unasked(artist: Any, scene: Scene) -> None:
    stage = Usd.Stage.Open(str(scene.stage))
    stage.RemovePrim("/World/camera")
    artist.selected = (hou.LopNode("/stage/bare", stage_at=lambda frame: stage),)
    export(artist, None)
    assert artist.messages == [f"Export {OBJECT}"], "the form is the first question"


def test_export_of_a_turntable_node_takes_its_own_frames(artist: Any, scene: Scene, tmp_path: Path) -> None:
    def cooked(frame: float) -> Usd.Stage:
        stage = Usd.Stage.Open(open_stage(scene.stage).Flatten())
        write_turntable(stage, Turntable(layout="object", frames=5, first_frame=11, resolution=(32, 32)))
        stage.GetRootLayer().ClearStartTimeCode()
        stage.GetRootLayer().ClearEndTimeCode()
        return stage

    artist.selected = (hou.LopNode("/stage/turntable", stage_at=cooked),)
    artist.playbar = (1.0, 240.0)
    export(artist, "/cameras/turntable", {COLOR_SPACE: "lin_rec709"})
    description = json.loads((recovery(artist) / "dataset" / "dataset.json").read_text())
    assert [frame["frame"] for frame in description["frames"]] == [11, 12, 13, 14, 15]
    turns = json.loads((recovery(artist) / "dataset" / "transforms_train.json").read_text())["frames"]
    assert len({str(frame["light_rotation"]) for frame in turns}) == len(turns), "the object turns"
    words = (tmp_path / "hfs" / "husk.log").read_text().split("\t")
    assert words[words.index("-s") + 1] == "/Render/turntable/settings"


def test_export_through_several_cameras_of_several_meshes(artist: Any, scene: Scene, tmp_path: Path) -> None:
    stage = Usd.Stage.Open(str(scene.stage))
    layer = stage.GetRootLayer()
    define_sphere(stage, "/World/sphere/knob")
    define_material(stage, "/World/materials/knob", "/World/sphere/knob")
    for name, frame in (("left", 1), ("right", 3)):
        Sdf.CopySpec(layer, "/World/camera", layer, f"/World/{name}")
        pose = UsdGeom.Xformable(stage.GetPrimAtPath(f"/World/{name}")).GetOrderedXformOps()[0]
        value = pose.Get(frame)
        pose.GetAttr().Clear()
        pose.Set(value)
    stage.Save()
    two = ["/World/left", "/World/right"]
    export(artist, "default", two, {**SMALL, FOLDER: str(tmp_path / "rig")})
    assert artist.messages[-1].startswith("The dataset is ready"), artist.messages[-1]
    description = json.loads((tmp_path / "rig" / "dataset" / "dataset.json").read_text())
    assert description["cameras"] == two and description["object"] == OBJECT
    assert [frame["frame"] for frame in description["frames"]] == [1, 1], "still cameras: the current frame"
    export(artist, "default", [*two, NEW_TURNTABLE])
    assert artist.messages[-1].startswith("cameras and a new turntable were chosen")


def test_warnings_are_told_at_the_end(artist: Any, scene: Scene) -> None:
    stage = Usd.Stage.Open(str(scene.stage))
    points = UsdGeom.Mesh(stage.GetPrimAtPath(OBJECT)).GetPointsAttr()
    for frame in (1, 4):
        points.Set(points.Get(), frame)
    stage.Save()
    export(artist, "/World/camera", SMALL)
    assert artist.messages[-1].startswith("The dataset is ready")
    assert f"\n\nwarning: {OBJECT}: its points are animated" in artist.messages[-1]


def test_objects_and_sops_come_through_a_scene_import(artist: Any, scene: Scene) -> None:
    hou.OpNode("/obj")
    owner = hou.ObjNode("/obj/sphere")
    artist.selected = (hou.SopNode("/obj/sphere/OUT"),)
    artist.scene = one_frame_at_a_time(scene.stage)
    with selected_stage() as source:
        assert source.hints == (owner.name(),)
        assert source.node.path() == "/stage/texture_recovery_export"
    assert "/stage/texture_recovery_export" not in artist.nodes
    export(artist, "/World/camera", SMALL)
    assert artist.messages[-1].startswith("The dataset is ready")


def test_nodes_inside_a_lop_mean_that_lop(artist: Any) -> None:
    """Such as the SOPs of a SOP Create, which lie in no object."""
    hou.OpNode("/stage/OUT/sopnet")
    artist.selected = (hou.SopNode("/stage/OUT/sopnet/box"),)
    with selected_stage() as source:
        assert source.node.path() == "/stage/OUT"
    artist.selected = (hou.OpNode("/tasks"),)
    with pytest.raises(UserError, match="select the LOP node"), selected_stage():
        pass


def test_what_is_displayed_counts_where_nothing_is_selected(artist: Any) -> None:
    artist.nodes["/stage/OUT"].setDisplayFlag(True)
    artist.selected = ()
    with selected_stage() as source:
        assert source.node.path() == "/stage/OUT"


def test_husk_that_writes_nothing_is_told_with_the_log(artist: Any, scene: Scene, tmp_path: Path) -> None:
    install_husk(tmp_path / "hfs", scene.images / "sphere.0001.exr", mode="fail")
    export(artist, "/World/camera", SMALL)
    told = artist.messages[-1]
    assert told.startswith("Export Dataset failed while rendering: husk did not write 4 of 4 frames (1:4)")
    assert "No licenses could be found" in told and "\n" not in told
    assert str(recovery(artist) / "export.log") in told
    assert "--renderer husk" in (recovery(artist) / "export.log").read_text()
    assert not (recovery(artist) / "dataset").exists()


def test_rendering_is_stopped_with_all_it_started(artist: Any, scene: Scene, tmp_path: Path) -> None:
    install_husk(tmp_path / "hfs", scene.images / "sphere.0001.exr", mode="hang")
    artist.answers = ["/World/camera", SMALL]
    shelf_tools.export_dataset()
    wait(artist, (tmp_path / "hfs" / "hangs").exists)
    artist.answers = ["Stop"]
    shelf_tools.export_dataset()
    wait(artist)
    assert artist.status[-1] == "Export Dataset: stopped"
    assert not list((recovery(artist) / "renders").iterdir())  # husk's temporary folder is gone too


def test_what_cannot_be_converted_is_told_before_rendering(artist: Any, scene: Scene, tmp_path: Path) -> None:
    stage = Usd.Stage.Open(str(scene.stage))
    UsdGeom.Camera(stage.GetPrimAtPath("/World/camera")).CreateProjectionAttr("orthographic")
    stage.Save()
    export(artist, "/World/camera", SMALL)
    assert "orthographic" in artist.messages[-1]
    assert not (tmp_path / "hfs" / "husk.log").exists()


def test_a_look_that_cannot_be_read_may_be_left_out(artist: Any, scene: Scene) -> None:
    stage = Usd.Stage.Open(str(scene.stage))
    stage.RemovePrim("/World/materials")
    stage.Save()
    export(artist, "/World/camera", SMALL, WITHOUT_TRUTH)
    assert json.loads((recovery(artist) / "dataset" / "dataset.json").read_text())["light_probe"] is None
    assert not (recovery(artist) / "dataset" / "ground_truth").exists()
    artist.answers = ["OK"]
    shelf_tools.compare_textures()
    assert "without true textures" in artist.messages[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({FRAMES: "1:"}, "Frames 1:"),
        ({FRAMES: "7"}, "one picture does not show an object"),
        ({RESOLUTION: "big"}, "expected WIDTHxHEIGHT"),
        ({TEST_EVERY: "1"}, "expected 2 or more"),
        ({TEST_EVERY: "many"}, "expected a whole number above 0"),
        ({COLOR_SPACE: "AdobeRGB"}, "expected lin_rec709, acescg, srgb"),
        ({FOLDER: "teapot"}, "expected a full path"),
    ],
)
def test_fields_are_checked(artist: Any, changes: dict[str, str], message: str) -> None:
    export(artist, "/World/camera", {**SMALL, **changes})
    assert message in artist.messages[-1] and "\n" not in artist.messages[-1]
    assert not recovery(artist).exists()


def test_usd_rop_that_refuses_is_told(artist: Any) -> None:
    artist.refusal = "Layer saving was refused."
    export(artist, "/World/camera", SMALL)
    assert "/stage/OUT: its stage could not be written" in artist.messages[-1]
    assert "Layer saving was refused." in artist.messages[-1]


@pytest.mark.parametrize("suffix", [".usdnc", ".usdlc"])
def test_limited_licenses_are_told(artist: Any, suffix: str) -> None:
    artist.scrambled = suffix
    export(artist, "/World/camera", SMALL)
    assert artist.messages[-1].startswith(f"stage{suffix}: is what this Houdini's license")
    assert not list(recovery(artist).iterdir())


def test_what_houdini_raises_is_told_and_esc_is_not(artist: Any) -> None:
    artist.refusal = hou.OperationFailed("The node is locked.")
    export(artist, "/World/camera", SMALL)
    assert artist.messages[-1] == "Houdini refused: The node is locked."
    assert set(artist.nodes) == {"/stage", "/stage/OUT"}
    artist.refusal = hou.OperationInterrupted()
    export(artist, "/World/camera", SMALL)
    assert artist.messages[-1] == f"Export {OBJECT}"


def test_stage_that_is_read_is_not_overwritten(artist: Any, scene: Scene, tmp_path: Path) -> None:
    export(artist, "/World/camera", SMALL)
    exported = recovery(artist) / "stage.usd"
    before = exported.read_bytes()
    artist.selected = (hou.LopNode("/stage/BACK", stage_at=lambda frame: open_stage(exported)),)
    export(artist, "/World/camera", SMALL)
    assert "is part of the stage of /stage/BACK; choose another folder" in artist.messages[-1]
    assert exported.read_bytes() == before


def test_cancel_ends_without_a_word(artist: Any) -> None:
    for answers in ([None], ["/World/camera", None]):
        export(artist, *answers)
        assert artist.messages[-1] in ("Camera to render through, or several", f"Export {OBJECT}")
    assert not recovery(artist).exists()


def test_nothing_selected(artist: Any) -> None:
    artist.selected = ()
    export(artist)
    assert artist.messages[-1].startswith("select the LOP node")


def test_missing_training_python_names_the_places(artist: Any, tmp_path: Path) -> None:
    artist.variables["SEPARATE_SPECIALIZE_PYTHON"] = str(tmp_path / "none" / "python")
    export(artist)
    assert "no such file, but the variable SEPARATE_SPECIALIZE_PYTHON names it" in artist.messages[-1]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    assert convert(write_scene(folder / "scene").arguments(folder / "dataset")) == 0
    return folder / "dataset"


@pytest.fixture
def dataset(artist: Any, converted: Path) -> Path:
    """A dataset in the folder that the tools offer, as Export Dataset leaves it."""
    shutil.copytree(converted, recovery(artist) / "dataset")
    session.remember(recovery(artist))
    return recovery(artist) / "dataset"


def test_train_stop_resume_import_compare(
    artist: Any, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dataset.parent
    artist.answers = ["OK", PRESETS[1].label, {MORE: "seed=3"}]
    shelf_tools.train()
    wait(artist, lambda: "Train: training, coarse stage, 3 of 10" in artist.status)
    artist.answers = ["Keep Running"]
    shelf_tools.train()
    assert "coarse stage, 3 of 10" in artist.messages[-1]
    artist.answers = ["Stop"]
    shelf_tools.train()
    wait(artist)
    assert artist.status[-1] == "Train: stopped"
    command = (tmp_path / "training" / "python.log").read_text().splitlines()[-1].split("\t")
    assert command[command.index("--config") + 1] == str(ROOT / "recon" / "configs" / "cpu.yaml")
    assert command[-3:] == ["--set", f"geometry.mesh={dataset / 'ground_truth' / 'mesh.obj'}", "seed=3"]

    artist.answers = ["OK", RESUME]
    shelf_tools.train()
    assert "ended in coarse stage, 4 of 10 (KeyboardInterrupt)" in artist.messages[-1]
    wait(artist)
    command = (tmp_path / "training" / "python.log").read_text().splitlines()[-1].split("\t")
    assert "--resume" in command and command[command.index("--out") + 1] == str(folder / "run")
    assert artist.messages[-1].startswith("The run is finished")

    artist.answers = ["OK"]
    shelf_tools.import_recovered()
    node = artist.nodes["/stage/recovered"]
    assert node.parm("layer")._value == (folder / "recovered.usda").as_posix()
    assert node.parm("object_path")._value == OBJECT
    assert node._input.path() == "/stage/OUT"
    assert artist.nodes["/stage"].displayNode() is node
    layer = open_stage(folder / "recovered.usda")
    assert layer.GetPrimAtPath("/Recovered/mesh") and not layer.GetPrimAtPath(OBJECT)

    opened: list[str] = []

    def open_browser(page: str) -> bool:
        opened.append(page)
        return True

    monkeypatch.setattr(webbrowser, "open", open_browser)
    artist.answers = ["OK"]
    shelf_tools.compare_textures()
    wait(artist)
    artist.answers = ["OK"]
    shelf_tools.open_report()
    assert opened == [(folder / "report" / "index.html").as_uri()] * 2


def test_learnt_light_is_told(artist: Any, tmp_path: Path) -> None:
    make_run(tmp_path / "recovery", mode="learnt")
    artist.answers = [str(tmp_path / "recovery")]
    shelf_tools.import_recovered()
    assert "/stage/recovered brings the light that was learnt" in artist.messages[-1]
    held = Sdf.Layer.FindOrOpen(str(tmp_path / "recovery" / "recovered.usda"))  # as the node does
    artist.answers = ["OK"]
    shelf_tools.import_recovered()
    assert artist.reloaded == [held.identifier]


def test_import_over_another_stage_hides_nothing(artist: Any, tmp_path: Path) -> None:
    make_run(tmp_path / "recovery")
    artist.selected = (hou.LopNode("/stage/set", stage_at=lambda frame: Usd.Stage.CreateInMemory()),)
    artist.answers = [str(tmp_path / "recovery")]
    shelf_tools.import_recovered()
    node = artist.nodes["/stage/recovered"]
    assert node.parm("layer")._value and node.parm("object_path")._value == ""


def test_node_type_is_the_shipped_asset() -> None:
    """With the parameters that the shelf sets."""
    library = ROOT / "houdini_otl" / "otls" / "texture_recovery_lop_import_recovered.1.0.hda"
    assert f"Operator:     {NODE_TYPE}::1.0\n" in (library / "INDEX__SECTION").read_text()
    (dialog,) = library.glob("*/DialogScript")
    names = re.findall(r'^\s*name\s+"(\w+)"', dialog.read_text(), re.MULTILINE)
    assert {"layer", "object_path"} <= set(names)


def test_finished_run_is_put_aside_before_training_anew(artist: Any, dataset: Path) -> None:
    run = dataset.parent / "run"
    run.mkdir()
    status = {
        "stage": "done",
        "iteration": 1,
        "total": 1,
        "pid": 1,
        "error": None,
        "time": "2026-01-01T00:00:00+00:00",
    }
    (run / "status.json").write_text(json.dumps(status))
    artist.answers = ["OK", KEEP]
    shelf_tools.train()
    assert not artist.callbacks and not run.with_name("run_1").exists()
    artist.answers = ["OK", ANEW, PRESETS[0].label, {}]
    shelf_tools.train()
    assert json.loads((run.with_name("run_1") / "status.json").read_text()) == status
    artist.answers = ["Stop"]
    shelf_tools.train()
    wait(artist)


def test_run_of_another_session_is_not_trained_twice(artist: Any, dataset: Path) -> None:
    run = dataset.parent / "run"
    run.mkdir()
    status = {"stage": "fine", "iteration": 5, "total": 9, "pid": os.getpid(), "error": None}
    (run / "status.json").write_text(json.dumps({**status, "time": "2026-01-01T00:00:00+00:00"}))
    artist.answers = ["OK", KEEP]
    shelf_tools.train()
    assert f"process {os.getpid()}, last heard of 2026-01-01 00:00:00 UTC" in artist.messages[-1]
    assert not artist.callbacks


def test_training_that_fails_is_told_with_the_log(artist: Any, dataset: Path, tmp_path: Path) -> None:
    install_training_python(tmp_path / "training", mode="refuse")
    artist.answers = ["OK", PRESETS[0].label, {}]
    shelf_tools.train()
    wait(artist)
    assert artist.messages[-1] == (
        "Train failed while training: --set train.btach: no such key; did you mean train.batch? "
        f"(log: {dataset.parent / 'train.log'})"
    )


def test_offered_settings_fit_the_machine(artist: Any, dataset: Path, tmp_path: Path) -> None:
    for gpu, words, label in (
        ("", "No NVIDIA GPU was found", "Small"),
        ("NVIDIA H200", "This machine has NVIDIA H200", "Full size"),
    ):
        install_training_python(tmp_path / "training", gpu=gpu)
        artist.answers = ["OK", "default", None]
        shelf_tools.train()
        question, form = artist.messages[-2:]
        assert words in question and form.startswith(label)
    assert not artist.callbacks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({LIGHT: "bright"}, f"{LIGHT} bright: expected known, learnt"),
        ({MORE: "train.btach=4"}, "settings: unknown key 'train.btach' (did you mean 'train.batch'?)"),
        ({MORE: "train.samples=2"}, "settings: train.samples: expected one of 1, 4, got 2"),
    ],
)
def test_mistaken_settings_leave_the_earlier_run_alone(
    artist: Any, dataset: Path, changes: dict[str, str], message: str
) -> None:
    run = dataset.parent / "run"
    run.mkdir()
    artist.answers = ["OK", PRESETS[0].label, changes]
    shelf_tools.train()
    assert artist.messages[-1] == message
    assert run.is_dir() and not run.with_name("run_1").exists() and not artist.callbacks


def test_train_without_a_dataset(artist: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    artist.answers = [str(tmp_path / "empty")]
    shelf_tools.train()
    assert "click Export Dataset first" in artist.messages[-1]
    artist.answers = ["Other Folder ...", ""]
    shelf_tools.train()
    assert artist.messages[-1] == "Train: folder given to Export Dataset"


def test_report_that_is_not_there(artist: Any, dataset: Path) -> None:
    artist.answers = ["OK"]
    shelf_tools.open_report()
    assert "click Compare Textures first" in artist.messages[-1]


def test_import_of_an_unfinished_run(artist: Any, dataset: Path) -> None:
    artist.answers = ["OK"]
    shelf_tools.import_recovered()
    assert "no such run folder" in artist.messages[-1]
    assert "/stage/recovered" not in artist.nodes


def test_bugs_keep_their_traceback(artist: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(shelf_tools, "selected_stage", broken)
    with pytest.raises(ZeroDivisionError):
        shelf_tools.export_dataset()
