"""Which of a stage's cameras pictures are taken through, on which frames, and their names in files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from usd_tools.errors import UserError
from usd_tools.frames import LARGEST_COUNT
from usd_tools.render_settings import product_frames, settings_cameras
from usd_tools.stage import active_prims, prim_at

_LENS_ATTRIBUTES = (
    "focalLength",
    "horizontalAperture",
    "verticalAperture",
    "horizontalApertureOffset",
    "verticalApertureOffset",
)


def find_cameras(stage: Any, paths: Sequence[str] = ()) -> list[Any]:
    """The UsdGeom.Cameras at or below `paths`; without any, the only one, or those of the render settings.

    Raises:
        UserError: a path has no camera; there is none, or more than one and nothing says which.
    """
    from pxr import UsdGeom

    if paths:
        chosen = [camera for path in paths for camera in _cameras_below(stage, path)]
        return [UsdGeom.Camera(prim) for prim in dict.fromkeys(chosen)]
    every = _cameras(stage.GetPseudoRoot())
    name = stage.GetRootLayer().GetDisplayName()
    if not every:
        raise UserError(f"{name}: has no camera; add the one the pictures were rendered through")
    if len(every) == 1:
        return [UsdGeom.Camera(every[0])]
    rendered = settings_cameras(stage)
    if not rendered:
        names = ", ".join(str(prim.GetPath()) for prim in every[:6]) + (", ..." if len(every) > 6 else "")
        raise UserError(f"{name}: has {len(every)} cameras ({names}); name those to use by --camera")
    for path in rendered:
        if stage.GetPrimAtPath(path) not in every:
            raise UserError(
                f"{name}: its render settings name the camera {path}, which is no active camera; "
                "name one by --camera"
            )
    return [UsdGeom.Camera.Get(stage, path) for path in rendered]


def _cameras_below(stage: Any, path: str) -> list[Any]:
    prim = prim_at(stage, path, "--camera")
    found = _cameras(prim)
    if not found:
        kind = prim.GetTypeName() or "prim without type"
        raise UserError(f"--camera {path}: is a {kind}, not a camera, and has none below it")
    return found


def _cameras(root: Any) -> list[Any]:
    from pxr import UsdGeom

    return [prim for prim in active_prims(root) if prim.IsA(UsdGeom.Camera)]


def camera_labels(stage: Any, cameras: Iterable[Any]) -> list[str]:
    """What stands for each camera in file names: its prim's name, or its path (`rig.left`) if two share it.

    It depends on all cameras of the stage, so that it stays the same whichever of them are chosen. Names that
    differ in case alone count as shared: some file systems cannot tell them apart.
    """
    names = Counter(prim.GetName().lower() for prim in _cameras(stage.GetPseudoRoot()))
    return [
        prim.GetName() if names[prim.GetName().lower()] < 2 else str(prim.GetPath())[1:].replace("/", ".")
        for prim in (camera.GetPrim() for camera in cameras)
    ]


def camera_frames(stage: Any, camera: Any) -> list[float] | None:
    """The frames of a camera, ascending: the first of these that the stage has.

    The authored time range in whole steps; the time samples of the RenderProduct's productName; those of the
    camera's pose and lens; those of any other transform. None where nothing is animated.

    Raises:
        UserError: the range names more than LARGEST_COUNT frames.
    """
    if stage.HasAuthoredTimeCodeRange():
        first, last = stage.GetStartTimeCode(), stage.GetEndTimeCode()
        if not math.isfinite(last - first) or last - first >= LARGEST_COUNT:
            name = stage.GetRootLayer().GetDisplayName()
            raise UserError(f"{name}: its time range is {first:g} to {last:g}; give the frames by --frames")
        if last >= first:
            return [first + i for i in range(int(last - first + 1e-6) + 1)]
    return product_frames(stage, str(camera.GetPath())) or camera_samples(camera) or _motion(stage) or None


def camera_samples(camera: Any) -> list[float]:
    """Times at which a camera's pose (its own transform or one above it) or lens is sampled."""
    prim = camera.GetPrim()
    times = set(transform_samples(prim))
    for name in _LENS_ATTRIBUTES:
        times.update(prim.GetAttribute(name).GetTimeSamples())
    return sorted(times)


def transform_samples(prim: Any) -> list[float]:
    """Times at which the transform of `prim`, or one above it that acts on it, is sampled."""
    from pxr import UsdGeom

    times: set[float] = set()
    while prim and not prim.IsPseudoRoot():
        xformable = UsdGeom.Xformable(prim)
        if xformable:
            times.update(xformable.GetTimeSamples())
            if xformable.GetResetXformStack():
                break
        prim = prim.GetParent()
    return sorted(times)


def _motion(stage: Any) -> list[float]:
    from pxr import UsdGeom

    times: set[float] = set()
    for prim in active_prims(stage.GetPseudoRoot()):
        if prim.IsA(UsdGeom.Xformable):
            times.update(UsdGeom.Xformable(prim).GetTimeSamples())
    return sorted(times)
