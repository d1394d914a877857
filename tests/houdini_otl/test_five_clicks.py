"""The shelf's five tools one after the other, as an artist clicks them, with everything behind them for real.

Only Houdini itself is missing: the stand-in plays its windows, and Mitsuba renders in husk's place.
"""

from __future__ import annotations

import json
import os
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hou
import pytest
from pxr import Usd, UsdGeom
from texture_recovery import error_lop, import_lop, job_monitor, shelf_tools
from texture_recovery.export_request import COLOR_SPACE, FRAMES, RESOLUTION, SAMPLES, TEST_EVERY
from texture_recovery.job_monitor import JobMonitor
from texture_recovery.training_presets import COARSE, FINE, MORE, PICTURES, TEXTURES

from tests.houdini_otl.impostors import install_mitsuba_as_husk
from tests.houdini_otl.test_lop_cooks import asset_node
from usd_tools.demo.scene import OBJECT_PATH, write_demo_scene

EXPORT = {
    FRAMES: "1:8",
    RESOLUTION: "40x40",
    SAMPLES: "4",
    TEST_EVERY: "4",
    COLOR_SPACE: "lin_rec709",
}
TRAIN = {
    COARSE: "4",
    FINE: "4",
    PICTURES: "full",
    TEXTURES: "64",
    MORE: "train.batch=2 train.validate_views=1 geometry.grid=16 material.hash_levels=4 light.resolution=32",
}


@pytest.fixture
def shot(houdini: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's scene, shown by the selected LOP."""
    scene = write_demo_scene(tmp_path / "shot", frames=2, texture_resolution=64)
    hou.LopNetwork("/stage")
    stage = Usd.Stage.Open(str(scene))
    houdini.selected = (hou.LopNode("/stage/OUT", stage_at=lambda frame: stage, modified=[OBJECT_PATH]),)
    houdini.variables["HFS"] = str(tmp_path / "hfs")
    install_mitsuba_as_husk(tmp_path / "hfs")
    houdini.variables["SEPARATE_SPECIALIZE_PYTHON"] = sys.executable
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(shelf_tools, "MONITOR", JobMonitor())
    monkeypatch.setattr(job_monitor, "_SECONDS", 0.0)
    return scene


def click(houdini: Any, tool: Callable[[], None], *answers: Any) -> str:
    """Returns the last window's text, when nothing runs any more."""
    houdini.answers = [*answers]
    tool()
    end = time.monotonic() + 300
    while houdini.callbacks:
        assert time.monotonic() < end, f"still busy: {houdini.status[-1:]}"
        houdini.tick()
        time.sleep(0.05)
    return str(houdini.messages[-1])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the impostor is a script with a shebang")
def test_five_clicks(houdini: Any, shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda page: not opened.append(page))
    folder = Path(houdini.variables["HIP"]) / "texture_recovery" / OBJECT_PATH.rsplit("/", 1)[-1]

    told = click(houdini, shelf_tools.export_dataset, shelf_tools.NEW_TURNTABLE, EXPORT)
    assert told.startswith("The dataset is ready"), told
    told = click(houdini, shelf_tools.train, "OK", "default", TRAIN)
    assert told.startswith("The run is finished"), told
    click(houdini, shelf_tools.import_recovered, "OK")
    click(houdini, shelf_tools.compare_textures, "OK")
    click(houdini, shelf_tools.open_report, "OK")
    assert opened == [(folder / "report" / "index.html").as_uri()] * 2
    assert json.loads((folder / "report" / "metrics.json").read_text())["coverage"] > 0.2

    values = {name: parm._value for name, parm in houdini.nodes["/stage/recovered"]._parms.items()}
    for show in ("original", "recovered"):
        node, asset = asset_node("import_recovered", houdini.nodes["/stage/OUT"], **{**values, "show": show})
        import_lop.cook(node, asset)
        assert visible_meshes(node.editableStage()) == [
            OBJECT_PATH if show == "original" else "/Recovered/mesh"
        ]
    node, asset = asset_node("recovery_error", houdini.nodes["/stage/OUT"], report=str(folder))
    error_lop.cook(node, asset)
    stage = node.editableStage()
    assert UsdGeom.Mesh(stage.GetPrimAtPath(OBJECT_PATH)).GetDisplayColorAttr().Get()


def visible_meshes(stage: Usd.Stage) -> list[str]:
    return [
        str(prim.GetPath())
        for prim in stage.Traverse()
        if prim.IsA(UsdGeom.Mesh) and UsdGeom.Imageable(prim).ComputeVisibility() != "invisible"
    ]
