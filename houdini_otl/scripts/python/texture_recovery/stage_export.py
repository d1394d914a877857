"""The exported stage: what is done to the file that Houdini wrote, and whether it can be converted at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from texture_recovery.export_request import ExportRequest
from texture_recovery.turntable import write_turntable
from usd_tools.camera_selection import camera_labels, find_cameras
from usd_tools.camera_views import CAMERA_TOKEN
from usd_tools.plan_dataset import Request, plan_dataset
from usd_tools.stage import active_prims, authorable, open_stage

_KARMA_CAMERA_VISIBLE = "karma:light:renderlightgeo"


def finish_stage(request: ExportRequest) -> None:
    """Makes the stage file of the request's folder, which is ours, ready for rendering.

    Adds the turntable, sets the frame range, and hides all other geometry, and domes from the camera: there
    has to be nothing around the object, so that alpha is its mask.

    Raises:
        UserError: it cannot be read, or the turntable does not fit.
    """
    stage = open_stage(request.folder.stage)
    stage.Reload()  # Houdini may hold what an earlier export wrote
    if request.turntable is not None:
        write_turntable(stage, request.turntable)
    _hide_others(stage, request.object_path)
    _hide_domes(stage)
    numbers = request.numbers
    stage.SetStartTimeCode(numbers[0])
    stage.SetEndTimeCode(numbers[-1])
    stage.Save()


def _hide_others(stage: Any, object_path: str) -> None:
    """Makes all geometry invisible that is not the object; what shines stays."""
    from pxr import UsdGeom, UsdLux

    for prim in active_prims(stage.GetPseudoRoot()):
        if not prim.IsValid():
            continue  # went with the instance that it was part of
        shape = prim.IsA(UsdGeom.Gprim) or prim.IsA(UsdGeom.PointInstancer)
        if not shape or prim.HasAPI(UsdLux.LightAPI):
            continue
        prim = authorable(prim)
        if not _holds(str(prim.GetPath()), object_path) and not _holds(object_path, str(prim.GetPath())):
            _hide(prim)


def _hide(prim: Any) -> None:
    from pxr import UsdGeom

    if not prim.IsA(UsdGeom.Imageable):  # an instance without a type has no visibility
        prim.SetActive(False)
        return
    attribute = UsdGeom.Imageable(prim).CreateVisibilityAttr()
    attribute.Clear()
    attribute.Set(UsdGeom.Tokens.invisible)


def _holds(path: str, other: str) -> bool:
    """Whether the prim at `other` is the one at `path` or lies below it."""
    return other == path or other.startswith(f"{path}/")


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
    stage = open_stage(request.folder.stage)
    labels = camera_labels(stage, find_cameras(stage, request.camera_paths))
    with tempfile.TemporaryDirectory(prefix="texture_recovery_") as folder:
        images = Path(folder) / request.picture_names
        for label in labels:
            for number in request.numbers:
                picture = Path(str(images).replace(CAMERA_TOKEN, label) % number)
                picture.parent.mkdir(exist_ok=True)
                picture.touch()
        plan_dataset(
            Request(
                stage=str(request.folder.stage),
                images=str(images),
                cameras=request.camera_paths,
                object=request.object_path,
                frames=request.frames,
                test_every=request.test_every,
                ground_truth=request.ground_truth,
            )
        )
