"""From a scene to its errors on the object, as an artist goes: each command as a process, each node cooked.

Mitsuba renders in husk's place; everything else is what Houdini would start.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdShade
from texture_recovery.pipeline_commands import Training, command_environment
from texture_recovery.recovered_variant import ImportRecovered, write_recovered
from texture_recovery.recovery_error import LOOK, RecoveryError, write_error
from texture_recovery.task_graph import Asset, Batch, Variation, plain_commands
from texture_recovery.turntable import Turntable, write_turntable

from tests.houdini_otl.reprojection import pixels_by_dataset, pixels_by_stage
from usd_tools.demo.scene import OBJECT_PATH, write_demo_scene
from usd_tools.images import read_png

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 9
SIZE = (40, 40)
CAMERA_PATH = "/cameras/turntable"
TINY = (
    "train.coarse_iterations=4",
    "train.fine_iterations=4",
    "train.batch=2",
    "train.validate_views=1",
    "geometry.grid=16",
    "material.hash_levels=4",
    "light.resolution=32",
    "textures.resolution=64",
)


@pytest.mark.slow
def test_from_turntable_to_errors_on_the_object(tmp_path: Path) -> None:
    stage_path = export_turntable(tmp_path / "shot", "object")
    commands = plain_commands(Training(sys.executable, str(ROOT)), make_batch(tmp_path, stage_path))
    run(tmp_path, commands)
    again = [command for command in commands if "recon.train" in command]
    run(tmp_path, again)  # as a farm's second try does: the finished run is left as it is
    check_projection(stage_path, tmp_path / "out" / "gourd" / "dataset")
    folder = tmp_path / "out" / "gourd" / "tiny"
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert metrics["coverage"] > 0.2, "what was recovered lies where the object is"
    check_variants(folder / "recovered.usda")
    check_errors(stage_path, folder / "report")


@pytest.mark.parametrize("layout", ["sphere", "rings"])
def test_rendered_turntables_fit_their_datasets(tmp_path: Path, layout: str) -> None:
    stage_path = export_turntable(tmp_path / "shot", layout)
    commands = plain_commands(Training(sys.executable, str(ROOT)), make_batch(tmp_path, stage_path))
    run(tmp_path, commands[:2])
    check_projection(stage_path, tmp_path / "out" / "gourd" / "dataset")


def make_batch(folder: Path, stage: Path) -> Batch:
    return Batch(
        folder=str(folder / "out"),
        assets=[Asset("gourd", str(stage), CAMERA_PATH, OBJECT_PATH)],
        variations=[Variation("tiny", TINY)],
        last_frame=FRAMES,
        frames_per_task=FRAMES,
        resolution=SIZE,
        samples=4,
        renderer="mitsuba",
        test_every=4,
        device="cpu",
    )


def run(folder: Path, commands: list[list[str]]) -> None:
    # Houdini's own PYTHONHOME would keep any other Python from starting.
    environment = command_environment() | {"PYTHONHOME": "/opt/hfs/python", "OMP_NUM_THREADS": "1"}
    for command in commands:
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"


def export_turntable(folder: Path, layout: str) -> Path:
    """The demo's scene with a turntable of ours, as the stage that a USD ROP would write."""
    scene = write_demo_scene(folder, frames=2, texture_resolution=64)
    stage = Usd.Stage.Open(str(scene))
    turntable = Turntable(object_path=OBJECT_PATH, layout=layout, frames=FRAMES, resolution=SIZE)
    write_turntable(stage, turntable)
    stage.GetRootLayer().Export(str(folder / "stage.usda"))
    return folder / "stage.usda"


def check_projection(stage_path: Path, dataset: Path) -> None:
    """Points fall on the same pixels through USD's camera and the dataset, and on what Mitsuba rendered."""
    stage = Usd.Stage.Open(str(stage_path))
    local = np.array(UsdGeom.Mesh(stage.GetPrimAtPath(OBJECT_PATH)).GetPointsAttr().Get(), np.float64)
    for frame, pixels in pixels_by_dataset(stage, OBJECT_PATH, local, dataset).items():
        expected = pixels_by_stage(stage, CAMERA_PATH, OBJECT_PATH, local, frame, SIZE)
        np.testing.assert_allclose(pixels, expected, atol=1e-4)
        rows, columns = np.nonzero(read_png(dataset / "masks" / f"frame_{int(frame):04d}.png")[..., 0] > 0.05)
        rendered = [[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]
        np.testing.assert_allclose(rendered, [pixels.min(axis=0), pixels.max(axis=0)], atol=1.2)


def check_variants(layer: Path) -> None:
    for show in ("original", "recovered"):
        stage = Usd.Stage.CreateInMemory()
        write_recovered(stage, ImportRecovered(str(layer), show))
        shown = {
            str(prim.GetPath())
            for prim in stage.Traverse()
            if prim.IsA(UsdGeom.Mesh) and UsdGeom.Imageable(prim).ComputeVisibility() != "invisible"
        }
        assert (OBJECT_PATH in shown) == (show == "original")
        assert len(shown) == 1, "the one in the other's place"


def check_errors(stage_path: Path, report: Path) -> None:
    stage = Usd.Stage.Open(str(stage_path))
    write_error(stage, RecoveryError(str(report), OBJECT_PATH, "albedo"), 1)
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath(OBJECT_PATH))
    colors = np.array(mesh.GetDisplayColorAttr().Get())
    assert len(colors) == len(mesh.GetPointsAttr().Get()) and len(np.unique(colors, axis=0)) > 50
    write_error(stage, RecoveryError(str(report), OBJECT_PATH, "albedo", "texture"), 1)
    material, _ = UsdShade.MaterialBindingAPI(mesh.GetPrim()).ComputeBoundMaterial()
    assert str(material.GetPath()) == LOOK
