"""The exported stage: what is done to the file that Houdini wrote, and whether it can be converted at all."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from texture_recovery.turntable import Turntable, write_turntable
from usd_tools.errors import UserError
from usd_tools.plan_dataset import Request, plan_dataset
from usd_tools.stage import open_stage

_KARMA_CAMERA_VISIBLE = "karma:light:renderlightgeo"


def finish_stage(path: Path, frames: Sequence[int], turntable: Turntable | None) -> None:
    """Makes the file `path`, which is ours, ready for rendering.

    Adds the turntable, sets the frame range, and hides domes from the camera: behind the object has to be
    nothing, so that alpha is its mask.

    Raises:
        UserError: it cannot be read, or the turntable does not fit.
    """
    stage = open_stage(path)
    stage.Reload()  # Houdini may hold what an earlier export wrote
    if turntable is not None:
        write_turntable(stage, turntable)
    _hide_domes(stage)
    stage.SetStartTimeCode(frames[0])
    stage.SetEndTimeCode(frames[-1])
    stage.Save()


def _hide_domes(stage: Any) -> None:
    for prim in stage.Traverse():
        attribute = prim.GetAttribute(_KARMA_CAMERA_VISIBLE)
        if "DomeLight" in str(prim.GetTypeName()) and attribute and attribute.Get():
            attribute.Set(False)


def check_stage(
    path: Path, object_path: str, camera: str, frames: str, numbers: Sequence[int], *, ground_truth: bool
) -> None:
    """Tells before hours of rendering what the converter would refuse afterwards.

    The converter plans by the names of the pictures, so empty files stand in for them. frames: SPEC of the
    frame `numbers`.

    Raises:
        UserError: object, camera, light or look cannot be converted.
    """
    with tempfile.TemporaryDirectory(prefix="texture_recovery_") as folder:
        for number in numbers:
            (Path(folder) / f"frame.{number:04d}.exr").touch()
        plan_dataset(
            Request(
                stage=str(path),
                images=folder,
                cameras=[camera],
                object=object_path,
                frames=frames,
                ground_truth=ground_truth,
            )
        )


def whole_frames(frames: Sequence[float]) -> list[int]:
    """Frames as numbers of pictures.

    Raises:
        UserError: one is negative or not whole, or there are too few to see the object from all around.
    """
    odd = [frame for frame in frames if frame < 0 or frame != int(frame)]
    if odd:
        raise UserError(f"Frames: {odd[0]:g} is not a whole number from 0 on; pictures are named by frame")
    if len(frames) < 2:
        raise UserError(
            "Frames: one picture does not show an object from all around; give some dozens, such as 1:64, "
            "of a camera (or an object) that turns"
        )
    return [int(frame) for frame in frames]
