"""The turntable command: one clear line and exit code 2 for bad input, equal pictures for equal seeds."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, UsdRender

from tests.usd_tools.stages import write_scene
from usd_tools import render_turntable as command
from usd_tools.errors import run_command
from usd_tools.images import read_exr

pytest.importorskip("mitsuba", reason="Mitsuba is not installed (extra `render`)")


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Exit code and error output of the command."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: command.main([str(argument) for argument in arguments]))
    return int(ended.value.code or 0), capsys.readouterr().err


def camera(stage: Usd.Stage) -> UsdGeom.Camera:
    return UsdGeom.Camera.Get(stage, "/World/camera")


def clip(near: float, far: float) -> Callable[[Usd.Stage], None]:
    return lambda stage: camera(stage).CreateClippingRangeAttr(Gf.Vec2f(near, far))


def settings(width: int, height: int) -> Callable[[Usd.Stage], None]:
    def edit(stage: Usd.Stage) -> None:
        UsdRender.Settings.Define(stage, "/Render/rs").CreateResolutionAttr(Gf.Vec2i(width, height))
        stage.SetMetadata("renderSettingsPrimPath", "/Render/rs")

    return edit


def orthographic(stage: Usd.Stage) -> None:
    camera(stage).CreateProjectionAttr(UsdGeom.Tokens.orthographic)


def without_uvs(stage: Usd.Stage) -> None:
    for name in ("primvars:st", "primvars:st:indices"):
        stage.GetPrimAtPath("/World/sphere").RemoveProperty(name)


def stretched(stage: Usd.Stage) -> None:
    settings(8, 8)(stage)
    policy = UsdRender.Settings.Get(stage, "/Render/rs").CreateAspectRatioConformPolicyAttr()
    policy.Set(UsdRender.Tokens.adjustPixelAspectRatio)
    camera(stage).GetHorizontalApertureAttr().Set(30.0)


def second_camera(stage: Usd.Stage) -> None:
    UsdGeom.Camera.Define(stage, "/World/other")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda stage: stage.RemovePrim("/World/camera"), "scene.usda: has no camera"),
        (second_camera, "has 2 cameras (/World/camera, /World/other); name those to use by --camera"),
        (orthographic, "/World/camera: is an orthographic camera"),
        (clip(0.0, 100.0), "/World/camera: clippingRange 0, 100; expected 0 < near < far"),
        (clip(-1.0, 100.0), "/World/camera: clippingRange -1, 100; expected 0 < near < far"),
        (clip(5.0, 5.0), "/World/camera: clippingRange 5, 5; expected 0 < near < far"),
        (lambda stage: stage.RemovePrim("/World/dome"), "scene.usda: has no light"),
        (without_uvs, "/World/sphere: has no UVs"),
        (stretched, "expected square pixels"),
    ],
)
def test_unusable_stage_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[Usd.Stage], None], message: str
) -> None:
    scene = write_scene(tmp_path / "s", frames=1, edit=edit)
    code, told = run(capsys, scene.stage, "--out", tmp_path / "o", "--resolution", "8x8", "--samples", "1")
    assert code == 2
    assert told.startswith("error: ") and len(told.splitlines()) == 1
    assert message in told
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("size", [(0, 0), (-4, 8), (8, 0)])
def test_render_settings_without_pixels_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: tuple[int, int]
) -> None:
    scene = write_scene(tmp_path / "s", frames=1, edit=settings(*size))
    code, told = run(capsys, scene.stage, "--out", tmp_path / "o", "--samples", "1")
    assert code == 2
    assert re.fullmatch(r"error: /Render/rs: resolution .*give --resolution\n", told)
    code, _ = run(capsys, scene.stage, "--out", tmp_path / "o", "--samples", "1", "--resolution", "8x8")
    assert code == 0  # told otherwise by the user


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resolution", "12"], "--resolution 12: expected"),
        (["--resolution", ""], "--resolution : expected"),
        (["--resolution", "0x8"], "--resolution 0x8: expected"),
        (["--resolution", "8x-8"], "--resolution 8x-8: expected"),
        (["--frames", "-1"], "--frames: -1 cannot name a file; expected numbers from 0 on"),
        (["--frames", "one"], "--frames one: expected frames as"),
        (["--camera", "/World/sphere"], "--camera /World/sphere: is a Mesh, not a camera"),
        (["--mitsuba-variant", "scalar_blue"], "--mitsuba-variant scalar_blue: expected one of"),
        (["--variant", "shape=disc"], "--variant shape=disc: not in the stage; no prim has such a set"),
    ],
)
def test_unusable_option_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    scene = write_scene(tmp_path / "s", frames=1)
    code, told = run(capsys, scene.stage, "--out", tmp_path / "o", "--samples", "1", *arguments)
    assert code == 2
    assert told.startswith(f"error: {message}") and len(told.splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_file_that_is_no_stage_and_out_that_is_a_file_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "s", frames=1)
    (tmp_path / "text.usda").write_text("no USD at all")
    code, told = run(capsys, tmp_path / "text.usda", "--out", tmp_path / "o")
    assert code == 2 and "cannot be read as USD" in told.splitlines()[-1]
    arguments = [scene.stage, "--out", tmp_path / "text.usda", "--resolution", "4x4", "--samples", "1"]
    code, told = run(capsys, *arguments)
    assert code == 2 and "is a file, not a folder" in told
    assert (tmp_path / "text.usda").read_text() == "no USD at all"


def test_missing_mitsuba_is_one_line_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "s", frames=1)
    monkeypatch.setitem(sys.modules, "mitsuba", None)  # makes the import fail
    code, told = run(capsys, scene.stage, "--out", tmp_path / "o")
    assert code == 2
    assert len(told.splitlines()) == 1 and "pip install 'separate-and-specialize[render]'" in told


def test_seed_decides_the_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any whole number is a seed; frames have noise of their own; pictures are replaced."""
    scene = write_scene(tmp_path / "s", frames=2)

    def render(out: str, *more: str) -> list[np.ndarray]:
        small = ["--resolution", "24x24", "--samples", "2"]
        code, told = run(capsys, scene.stage, "--out", tmp_path / out, *small, *more)
        assert code == 0, told
        names = ["scene.0001.exr", "scene.0002.exr"]
        assert sorted(path.name for path in (tmp_path / out).iterdir()) == names
        return [read_exr(tmp_path / out / name)[0] for name in names]

    first = render("a")
    for picture, again in zip(first, render("a", "--seed", "0")):
        np.testing.assert_array_equal(picture, again)
    others = [render("b", "--seed", seed) for seed in ("7", "-3", str(2**32 + 5))]
    for pictures in others:
        assert np.abs(pictures[0] - first[0]).max() > 0
    assert np.abs(others[0][0] - others[1][0]).max() > 0
