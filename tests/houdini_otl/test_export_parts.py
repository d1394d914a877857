"""What an export chooses and writes: object, camera, color space, commands, the finished stage."""

from __future__ import annotations

import json
import os
import sys
import types
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from pxr import Sdf, Usd, UsdGeom, UsdLux
from texture_recovery import ROOT, jobs
from texture_recovery.export_request import ExportRequest
from texture_recovery.pipeline_commands import JobFolder, Training, command_environment
from texture_recovery.render_color_space import known_color_space, render_color_space
from texture_recovery.report import open_report
from texture_recovery.stage_choices import cameras, most_likely, recoverable_objects
from texture_recovery.stage_export import check_stage, finish_stage

from tests.houdini_otl.impostors import install_husk
from tests.usd_tools.stages import define_sphere, write_scene
from usd_tools.errors import UserError
from usd_tools.stage import open_stage


def test_visible_meshes_and_all_cameras_can_be_chosen(tmp_path: Path) -> None:
    def more(stage: Usd.Stage) -> None:
        define_sphere(stage, "/World/props/cup")
        hidden = define_sphere(stage, "/World/hidden")
        UsdGeom.Imageable(hidden).MakeInvisible()
        UsdGeom.Sphere.Define(stage, "/World/ball")
        UsdGeom.Camera.Define(stage, "/cameras/side")

    stage = open_stage(write_scene(tmp_path, edit=more).stage)
    assert sorted(recoverable_objects(stage, 1)) == ["/World", "/World/props/cup", "/World/sphere"]
    assert sorted(cameras(stage)) == ["/World/camera", "/cameras/side"]
    with pytest.raises(UserError, match="no visible mesh"):
        recoverable_objects(Usd.Stage.CreateInMemory(), 1)


def test_prims_that_hold_several_meshes_are_objects_too(tmp_path: Path) -> None:
    def more(stage: Usd.Stage) -> None:
        for name in ("body", "lid", "lid/knob"):
            define_sphere(stage, f"/World/asset/geo/teapot/{name}")
        hidden = define_sphere(stage, "/World/asset/geo/proxy")
        UsdGeom.Imageable(hidden).CreatePurposeAttr("proxy")

    stage = open_stage(write_scene(tmp_path, edit=more).stage)
    pot = "/World/asset/geo/teapot"
    objects = recoverable_objects(stage, 1)
    assert objects == ["/World", "/World/sphere", pot, f"{pot}/body", f"{pot}/lid", f"{pot}/lid/knob"]
    assert objects[most_likely(objects, [pot])] == objects[most_likely(objects, ["teapot"])] == pot
    assert objects[most_likely(objects, ["/World/asset"])] == pot
    assert objects[most_likely(objects, [f"{pot}/lid"])] == f"{pot}/lid"


def test_the_selected_object_comes_first() -> None:
    paths = ["/World/props/cup", "/World/teapot/mesh", "/World/pot"]
    assert most_likely(paths, ["/World/teapot"]) == 1
    assert most_likely(paths, ["pot"]) == 2
    assert most_likely(paths, ["/World/te", "nothing"]) == 0
    assert most_likely(paths, []) == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ACEScg", "acescg"),
        ("ACES - ACEScg", "acescg"),
        ("lin_ap1", "acescg"),
        ("Linear Rec.709 (sRGB)", "lin_rec709"),
        ("lin_rec709_scene", "lin_rec709"),
        ("Utility - Linear - Rec.709", "lin_rec709"),
        ("Utility - Linear - sRGB", "lin_rec709"),
        ("lin_srgb", "lin_rec709"),
    ],
)
def test_color_spaces_by_their_names(name: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    space = types.SimpleNamespace(getName=lambda: name)
    config = types.SimpleNamespace(getColorSpace={"scene_linear": space}.get)
    module: Any = types.ModuleType("PyOpenColorIO")
    module.GetCurrentConfig = lambda: config
    monkeypatch.setitem(sys.modules, "PyOpenColorIO", module)
    assert render_color_space({"OCIO": "config.ocio"}) == expected


def test_color_space_without_configuration_or_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PyOpenColorIO", None)
    assert render_color_space({}) == "lin_rec709"
    assert render_color_space({"OCIO": "config.ocio"}) == "acescg"
    with pytest.raises(UserError, match="Houdini renders in sRGB - Texture"):
        known_color_space("sRGB - Texture")
    with pytest.raises(UserError, match="Houdini renders in ARRI Wide Gamut"):
        known_color_space("ARRI Wide Gamut")


def request(folder: Path, **changes: Any) -> ExportRequest:
    values: dict[str, Any] = {
        "object_path": "/World/sphere",
        "cameras": ["/World/camera"],
        "frames": "1:4",
        **changes,
    }
    return ExportRequest(JobFolder(folder), **values)


def test_finished_stage_has_turntable_range_and_no_visible_dome(tmp_path: Path) -> None:
    def show_dome(stage: Usd.Stage) -> None:
        dome = stage.GetPrimAtPath("/World/dome")
        dome.CreateAttribute("karma:light:renderlightgeo", Sdf.ValueTypeNames.Bool).Set(True)
        rect = UsdLux.RectLight.Define(stage, "/World/rect").GetPrim()
        rect.CreateAttribute("karma:light:renderlightgeo", Sdf.ValueTypeNames.Bool).Set(True)

    wanted = request(tmp_path, cameras=(), frames="5:9", resolution=(64, 32))
    open_stage(write_scene(tmp_path / "scene", edit=show_dome).stage).Export(str(wanted.folder.stage))
    finish_stage(wanted)
    stage = open_stage(wanted.folder.stage)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (5, 9)
    camera = UsdGeom.Camera(stage.GetPrimAtPath(wanted.camera_paths[0]))
    assert camera.GetTimeSamples() == [5, 6, 7, 8, 9]
    assert camera.GetHorizontalApertureAttr().Get() == 2 * camera.GetVerticalApertureAttr().Get()
    assert stage.GetAttributeAtPath("/World/dome.karma:light:renderlightgeo").Get() is False
    assert stage.GetAttributeAtPath("/World/rect.karma:light:renderlightgeo").Get() is True


def test_everything_but_the_object_is_hidden(tmp_path: Path) -> None:
    def crowd(stage: Usd.Stage) -> None:
        define_sphere(stage, "/World/sphere/knob")
        floor = define_sphere(stage, "/World/floor")
        floor.CreateVisibilityAttr().Set("inherited", 3)
        define_sphere(stage, "/library/cup/mesh")
        stage.GetPrimAtPath("/library").SetSpecifier(Sdf.SpecifierClass)
        for name, kind in (("cup", "Xform"), ("mug", "")):
            instance = stage.DefinePrim(f"/World/{name}", kind)
            instance.GetReferences().AddInternalReference("/library/cup")
            instance.SetInstanceable(True)
        UsdLux.MeshLightAPI.Apply(define_sphere(stage, "/World/lamp").GetPrim())

    wanted = request(tmp_path)
    scene = open_stage(write_scene(tmp_path / "scene", edit=crowd).stage)
    scene.Export(str(wanted.folder.stage))
    finish_stage(wanted)
    stage = open_stage(wanted.folder.stage)
    names = ("sphere", "sphere/knob", "floor", "cup/mesh", "mug/mesh", "lamp", "dome")
    for time in (1, 3):
        assert [name for name in names if visible(scene, name, time)] == list(names)
        shown = [name for name in names if visible(stage, name, time)]
        assert shown == ["sphere", "sphere/knob", "lamp", "dome"]


def visible(stage: Usd.Stage, path: str, time: float) -> bool:
    prim = stage.GetPrimAtPath(f"/World/{path}")
    return bool(prim) and bool(UsdGeom.Imageable(prim).ComputeVisibility(time) != UsdGeom.Tokens.invisible)


def test_second_export_is_read_anew(tmp_path: Path) -> None:
    """Houdini may keep the layer of the first one in memory."""
    wanted = request(tmp_path)
    scene = open_stage(write_scene(tmp_path / "scene").stage)
    scene.Export(str(wanted.folder.stage))
    held = Sdf.Layer.FindOrOpen(str(wanted.folder.stage))
    scene.DefinePrim("/World/new")
    other = tmp_path / "other.usd"
    scene.Export(str(other))
    other.replace(wanted.folder.stage)
    finish_stage(wanted)
    assert open_stage(wanted.folder.stage).GetPrimAtPath("/World/new")
    assert held is not None


def test_new_turntable_has_consecutive_frames(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="consecutive frames"):
        _ = request(tmp_path, cameras=(), frames="1:9:2").turntable
    assert request(tmp_path, frames="1:9:2").turntable is None


def test_houdinis_own_husk_comes_first() -> None:
    environment = jobs.husk_environment(
        {"HFS": "/opt/hfs21", "PATH": "/usr/bin", "PYTHONHOME": "/opt/hfs21/python"}
    )
    assert environment["PATH"].split(os.pathsep) == [str(Path("/opt/hfs21/bin")), "/usr/bin"]
    assert "PYTHONHOME" not in environment
    assert jobs.husk_environment({"PATH": "/usr/bin"})["PATH"] == "/usr/bin"


def test_training_python_is_kept_from_houdinis_libraries() -> None:
    paths = os.pathsep.join(["/opt/hfs21/dsolib", "/opt/hfs21-extra", "/usr/lib"])
    houdini = {
        "HFS": "/opt/hfs21",
        "LD_LIBRARY_PATH": paths,
        "PXR_PLUGINPATH_NAME": "/studio",
        "OCIO": "c.ocio",
    }
    clean = command_environment(houdini)
    assert clean["LD_LIBRARY_PATH"].split(os.pathsep) == ["/opt/hfs21-extra", "/usr/lib"]
    assert "PXR_PLUGINPATH_NAME" not in clean and clean["OCIO"] == "c.ocio"


@pytest.mark.skipif(os.name == "nt", reason="the impostors are scripts with a shebang")
def test_studios_usd_plugins_are_for_husk_alone(tmp_path: Path) -> None:
    """A resolver that only Houdini can load would keep the training Python's USD from opening the stage."""
    plugin = {
        "Name": "StudioResolver",
        "Type": "library",
        "LibraryPath": "libStudioResolver.so",
        "ResourcePath": "",
        "Root": ".",
        "Info": {"Types": {"StudioResolver": {"bases": ["ArResolver"]}}},
    }
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "plugInfo.json").write_text(json.dumps({"Plugins": [plugin]}))
    wanted = request(tmp_path / "job", resolution=(32, 32), color_space="lin_rec709", test_every=2)
    scene = write_scene(tmp_path / "scene")
    wanted.folder.path.mkdir()
    open_stage(scene.stage).Export(str(wanted.folder.stage))
    log = install_husk(tmp_path / "hfs", scene.images / "sphere.0001.exr")
    houdini = {
        **os.environ,
        "HFS": str(tmp_path / "hfs"),
        "PXR_PLUGINPATH_NAME": str(tmp_path / "plugins"),
        "PYTHONPATH": "/opt/studio/python",
    }
    jobs.export_job(wanted, Training(sys.executable, str(ROOT)), houdini).run(lambda line: None, 0.05)
    assert (wanted.folder.dataset / "dataset.json").is_file()
    known = json.loads(log.with_name("environment.json").read_text())
    for name in ("PXR_PLUGINPATH_NAME", "PYTHONPATH"):
        assert known[name] == houdini[name]


def test_runs_are_put_aside_under_free_names(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    for number in (1, 2):
        folder.run.mkdir()
        assert jobs.put_run_aside(folder) == tmp_path / f"run_{number}"
    assert not folder.run.exists()


def test_progress_of_rendering_counts_husks_pictures(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    job = jobs.export_job(request(tmp_path), Training("python", str(ROOT)), {})
    (folder.renders / ".husk.x").mkdir(parents=True)
    for name in (".husk.x/stage.0001.exr", "stage.0002.exr", "other.0001.exr"):
        (folder.renders / name).touch()
    assert str(job) == "Export Dataset: rendering, 2 of 4 pictures"
    jobs.remove_earlier_pictures(folder)
    assert str(job) == "Export Dataset: rendering, 0 of 4 pictures"
    assert (folder.renders / "other.0001.exr").exists()


def test_progress_while_husks_temporary_folder_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.export_job(request(tmp_path), Training("python", str(ROOT)), {})
    (tmp_path / "renders" / ".husk.x").mkdir(parents=True)
    scandir = os.scandir

    def raced(path: Any) -> Any:
        if Path(path).name == ".husk.x":
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", raced)
    assert str(job) == "Export Dataset: rendering, 0 of 4 pictures"


def test_several_cameras_are_checked_and_rendered_as_one_dataset(tmp_path: Path) -> None:
    def rig(stage: Usd.Stage) -> None:
        for name in ("left", "right"):
            Sdf.CopySpec(stage.GetRootLayer(), "/World/camera", stage.GetRootLayer(), f"/World/{name}")

    wanted = request(tmp_path, cameras=["/World/left", "/World/right"], frames="2", test_every=2)
    open_stage(write_scene(tmp_path / "scene", edit=rig).stage).Export(str(wanted.folder.stage))
    finish_stage(wanted)
    check_stage(wanted)
    job = jobs.export_job(wanted, Training("python", str(ROOT)), {})
    assert str(job) == "Export Dataset: rendering, 0 of 2 pictures"
    for step in (job._step, *job._waiting):
        words = list(step.command)
        assert words[words.index("--camera") :][:4] == ["--camera", "/World/left", "--camera", "/World/right"]
    assert words[words.index("--images") + 1] == str(tmp_path / "renders" / "<camera>" / "stage.%04d.exr")
    with pytest.raises(UserError, match="one picture does not show"):
        _ = request(tmp_path, frames="2").numbers


def test_report_needs_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = JobFolder(tmp_path)
    folder.report.mkdir()
    (folder.report / "index.html").touch()
    monkeypatch.setattr(webbrowser, "open", lambda page: False)
    with pytest.raises(UserError, match=r"open .*index\.html by hand"):
        open_report(folder)
