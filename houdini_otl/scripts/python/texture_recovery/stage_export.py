"""The exported stage: what is done to the file that Houdini wrote, and whether it can be converted at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from texture_recovery.export_request import ExportRequest
from texture_recovery.turntable import write_turntable
from usd_tools.plan_dataset import Request, plan_dataset
from usd_tools.stage import open_stage

_KARMA_CAMERA_VISIBLE = "karma:light:renderlightgeo"


def finish_stage(request: ExportRequest) -> None:
    """Makes the stage file of the request's folder, which is ours, ready for rendering.

    Adds the turntable, sets the frame range, and hides domes from the camera: behind the object has to be
    nothing, so that alpha is its mask.

    Raises:
        UserError: it cannot be read, or the turntable does not fit.
    """
    stage = open_stage(request.folder.stage)
    stage.Reload()  # Houdini may hold what an earlier export wrote
    if request.turntable is not None:
        write_turntable(stage, request.turntable)
    _hide_domes(stage)
    numbers = request.numbers
    stage.SetStartTimeCode(numbers[0])
    stage.SetEndTimeCode(numbers[-1])
    stage.Save()


def _hide_domes(stage: Any) -> None:
    for prim in stage.Traverse():
        attribute = prim.GetAttribute(_KARMA_CAMERA_VISIBLE)
        if "DomeLight" in str(prim.GetTypeName()) and attribute and attribute.Get():
            attribute.Set(False)


def check_stage(request: ExportRequest) -> None:
    """Tells before hours of rendering what the converter would refuse afterwards.

    The converter plans by the names of the pictures, so empty files stand in for them.

    Raises:
        UserError: object, camera, light or look cannot be converted.
    """
    with tempfile.TemporaryDirectory(prefix="texture_recovery_") as folder:
        for number in request.numbers:
            (Path(folder) / f"frame.{number:04d}.exr").touch()
        plan_dataset(
            Request(
                stage=str(request.folder.stage),
                images=folder,
                cameras=[request.camera_path],
                object=request.object_path,
                frames=request.frames,
                test_every=request.test_every,
                ground_truth=request.ground_truth,
            )
        )
