"""What Export Dataset's form first shows, by what the stage tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pxr import Sdf, Usd, UsdGeom
from texture_recovery.export_request import RESOLUTION, SAMPLES, default_fields
from texture_recovery.stage_defaults import ExportDefaults, stage_defaults
from texture_recovery.turntable import Turntable, write_turntable

from tests.usd_tools.stages import write_scene
from usd_tools.stage import open_stage

CAMERA, TURNTABLE = "/World/camera", "/cameras/turntable"
PLAYBAR = (1.0, 240.0)


def frames(stage: Any, cameras: list[str]) -> str:
    return stage_defaults(stage, cameras, 3, PLAYBAR).frames


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    return open_stage(write_scene(tmp_path, frames=4).stage)


def add_turntable(stage: Usd.Stage, layout: str) -> None:
    """As the digital asset does in Solaris: into a layer below the root, whose range is not the stage's."""
    below = Sdf.Layer.CreateAnonymous(".usda")
    stage.GetRootLayer().subLayerPaths.append(below.identifier)
    stage.SetEditTarget(below)
    turntable = Turntable(layout=layout, frames=6, first_frame=11, resolution=(640, 480), samples=32)
    write_turntable(stage, turntable)


def test_stages_range_then_the_playbars(stage: Any) -> None:
    assert frames(stage, [CAMERA]) == "1:4"
    stage.GetRootLayer().ClearStartTimeCode()
    stage.GetRootLayer().ClearEndTimeCode()
    assert frames(stage, [CAMERA]) == "1:240"


def test_cameras_that_stand_still_need_one_frame(stage: Any) -> None:
    for name in ("left", "right"):
        UsdGeom.Camera.Define(stage, f"/rig/{name}")
    assert frames(stage, ["/rig/left", "/rig/right"]) == "3"
    assert frames(stage, ["/rig"]) == "3", "a primitive with cameras below it"
    assert frames(stage, ["/rig/left", CAMERA]) == "1:4"


@pytest.mark.parametrize("layout", ["sphere", "rings", "object"])
def test_turntables_tell_all_themselves(stage: Any, layout: str) -> None:
    """Else all frames of the shot would be rendered, most of them from the turntable's last place."""
    add_turntable(stage, layout)
    assert frames(stage, [TURNTABLE]) == "11:16"
    stage.GetRootLayer().ClearStartTimeCode()
    stage.GetRootLayer().ClearEndTimeCode()
    assert frames(stage, [TURNTABLE]) == "11:16"
    told = stage_defaults(stage, [TURNTABLE], 3, PLAYBAR)
    assert told == ExportDefaults("11:16", (640, 480), 32)
    fields = default_fields("$HIP/x", told, "acescg")
    assert (fields[RESOLUTION], fields[SAMPLES]) == ("640x480", "32")


def test_stages_without_render_settings(stage: Any) -> None:
    assert stage_defaults(stage, [CAMERA], 3, PLAYBAR) == ExportDefaults("1:4")


def test_new_turntables(stage: Any) -> None:
    add_turntable(stage, "sphere")
    assert stage_defaults(stage, [], 3, PLAYBAR) == ExportDefaults(), "whatever else is on the stage"
