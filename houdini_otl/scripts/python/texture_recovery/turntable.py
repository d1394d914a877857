"""A turntable on a stage: the camera's (or the object's) motion, and what the renderer has to know.

Everything is authored into the stage's edit target, which in Solaris is the node's own layer; cooking again
gives the same result. Existing cameras and render settings stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from texture_recovery import camera_layout
from texture_recovery.render_prims import ENGINES, FRAME_TOKEN, write_render_prims
from usd_tools.errors import UserError
from usd_tools.matrices import Matrix, column_matrix, row_matrix, transform_points
from usd_tools.normalization import Y_UP_TO_Z_UP, Z_UP_TO_Y_UP
from usd_tools.stage import active_prims, find_mesh, is_rendered, prim_at, up_axis, world_matrix

LAYOUTS = ("sphere", "rings", "object")
MARKER = "textureRecovery:turntable"
"""Custom data that tells a camera of ours from anybody else's."""

TURN_OP = "turntable"
"""Suffix of the transform that turns the object."""

APERTURE = 24.0
"""The picture's shorter side on the film, in tenths of a stage unit; its ratio to the focal length counts."""


@dataclass(frozen=True)
class Turntable:
    """What to author; each field is a parameter of the digital asset.

    object_path: prim to look at; "" for the stage's only visible mesh. camera_path: camera to write.
    layout: `sphere` (cameras on a Fibonacci sphere), `rings` (on level rings), or `object` (it turns, the
    camera stands still). frames: how many pictures, from frame first_frame on. rings: how many, for that
    layout. lowest, highest: elevations in degrees. elevation: of the standing camera, in degrees.
    field_of_view: across the picture's shorter side, in degrees. margin: empty space around the object's
    bounding sphere, as a share of its radius. distance: from the center in stage units; 0 fits the object.
    resolution: in pixels. samples: per pixel. engine: Karma's `cpu` or `xpu`. albedo, normal, depth: which
    AOVs to write beside the beauty. picture: file to render to, `<F4>` for the frame.
    """

    object_path: str = ""
    camera_path: str = "/cameras/turntable"
    layout: str = "sphere"
    frames: int = 64
    first_frame: int = 1
    rings: int = 4
    lowest: float = -30.0
    highest: float = 75.0
    elevation: float = 15.0
    field_of_view: float = 40.0
    margin: float = 0.05
    distance: float = 0.0
    resolution: tuple[int, int] = (512, 512)
    samples: int = 128
    engine: str = "cpu"
    albedo: bool = False
    normal: bool = False
    depth: bool = False
    picture: str = "render/turntable.<F4>.exr"

    def frame_numbers(self) -> range:
        return range(self.first_frame, self.first_frame + self.frames)


def write_turntable(stage: Any, turntable: Turntable) -> list[str]:
    """Authors camera, motion and render settings; returns the paths of the prims that were changed.

    Raises:
        UserError: a parameter is out of range, the object is missing or cannot be turned, or somebody else's
            prim stands where the camera is to be.
    """
    _check(turntable)
    mover = _object(stage, turntable)
    center, radius = bounding_sphere(stage, mover, turntable.first_frame)
    camera = _define_camera(stage, turntable, center, radius)
    changed = [str(camera.GetPath())]
    if turntable.layout == "object":
        _turn_object(stage, mover, center, turntable.frame_numbers())
        changed.append(str(mover.GetPath()))
    changed += write_render_prims(
        stage,
        camera=str(camera.GetPath()),
        resolution=turntable.resolution,
        samples=turntable.samples,
        engine=turntable.engine,
        aovs=[name for name in ("albedo", "normal", "depth") if getattr(turntable, name)],
        picture=turntable.picture,
        frames=turntable.frame_numbers(),
    )
    # The layer's own range: a stage's can only be set on its root layer, which in Solaris is not ours.
    layer = stage.GetEditTarget().GetLayer()
    layer.startTimeCode = turntable.first_frame
    layer.endTimeCode = turntable.first_frame + turntable.frames - 1
    return changed


def bounding_sphere(stage: Any, prim: Any, time: float) -> tuple[Matrix, float]:
    """Center (3,) and radius in stage space around the visible meshes at and below `prim` at `time`.

    The center is that of the bounding box; what a turntable did to the object before is left out.

    Raises:
        UserError: there are no such meshes, or they have no extent.
    """
    from pxr import UsdGeom

    clouds: list[npt.NDArray[np.float64]] = []
    for mesh in active_prims(prim):
        if mesh.IsA(UsdGeom.Mesh) and (mesh == prim or is_rendered(mesh, time)):
            points = np.array(UsdGeom.Mesh(mesh).GetPointsAttr().Get(time) or [], np.float64).reshape(-1, 3)
            clouds.append(transform_points(world_matrix(mesh, time), points))
    points = np.concatenate(clouds) if clouds else np.zeros((0, 3))
    if not len(points) or not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        raise UserError(f"{prim.GetPath()}: has no visible mesh with an extent; choose the object's mesh")
    center = 0.5 * (points.min(axis=0) + points.max(axis=0))
    return center, float(np.linalg.norm(points - center, axis=1).max())


def _check(turntable: Turntable) -> None:
    def require(name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UserError(f"{name} {getattr(turntable, name)}: expected {expected}")

    require("layout", turntable.layout in LAYOUTS, " or ".join(LAYOUTS))
    require("frames", turntable.frames >= 1, "1 or more")
    require("first_frame", turntable.first_frame >= 0, "0 or more (files are named by frame)")
    require("rings", turntable.rings >= 1, "1 or more")
    require("lowest", -90 <= turntable.lowest <= turntable.highest, "-90 to the highest elevation")
    require("highest", turntable.highest <= 90, "at most 90 degrees")
    require("elevation", -90 <= turntable.elevation <= 90, "-90 to 90 degrees")
    require("field_of_view", 1 <= turntable.field_of_view <= 150, "1 to 150 degrees")
    require("margin", turntable.margin >= 0, "0 or more")
    require("distance", turntable.distance >= 0, "0 (fit the object) or more")
    require("resolution", min(turntable.resolution) >= 1, "1 x 1 or more")
    require("samples", turntable.samples >= 1, "1 or more")
    require("engine", turntable.engine in ENGINES, " or ".join(ENGINES))
    one_file = turntable.frames > 1 and FRAME_TOKEN not in turntable.picture
    require(
        "picture",
        not one_file,
        f"{FRAME_TOKEN} in it, where the frame's number belongs ($F4 is the current frame's)",
    )


def _object(stage: Any, turntable: Turntable) -> Any:
    """The prim to look at, without the motion that an earlier cook gave it."""
    from pxr import UsdGeom

    path = turntable.object_path
    if path:
        prim = prim_at(stage, path, "object")
    else:
        prim = find_mesh(stage, None, turntable.first_frame).GetPrim()
    if not prim.IsA(UsdGeom.Xformable):
        raise UserError(f"{prim.GetPath()}: is a {prim.GetTypeName() or 'prim without type'}, has no place")
    if prim.IsInstanceProxy():
        if turntable.layout == "object":
            raise UserError(f"{prim.GetPath()}: lies inside an instance and cannot be turned; uninstance it")
        return prim
    xformable = UsdGeom.Xformable(prim)
    kept = [op for op in xformable.GetOrderedXformOps() if not _is_turn(op)]
    if len(kept) < len(xformable.GetOrderedXformOps()):
        xformable.SetXformOpOrder(kept, xformable.GetResetXformStack())
    return prim


def _is_turn(op: Any) -> bool:
    return str(op.GetOpName()) == f"xformOp:transform:{TURN_OP}"


def _define_camera(stage: Any, turntable: Turntable, center: Matrix, radius: float) -> Any:
    from pxr import Gf, Sdf, UsdGeom

    path = turntable.camera_path
    if not (Sdf.Path.IsValidPathString(path) and path.startswith("/") and Sdf.Path(path).IsPrimPath()):
        raise UserError(f"camera {path}: expected a prim path such as /cameras/turntable")
    existing = stage.GetPrimAtPath(path)
    if existing and not existing.GetCustomDataByKey(MARKER):
        raise UserError(f"camera {path}: the stage already has such a prim; name another path")
    width, height = turntable.resolution
    shorter = min(width, height)
    half = math.radians(turntable.field_of_view) / 2
    distance = turntable.distance or radius * (1 + turntable.margin) / math.sin(half)
    if distance <= radius:
        raise UserError(
            f"distance {distance:g}: the camera would stand within the object, whose radius is {radius:g}; "
            "give more, or 0 to fit it"
        )
    for parent in Sdf.Path(path).GetPrefixes()[:-1]:
        if not stage.GetPrimAtPath(parent):
            UsdGeom.Scope.Define(stage, parent)
    camera = UsdGeom.Camera.Define(stage, path)
    camera.GetPrim().SetCustomDataByKey(MARKER, True)
    camera.CreateProjectionAttr(UsdGeom.Tokens.perspective)
    camera.CreateHorizontalApertureAttr(APERTURE * width / shorter)
    camera.CreateVerticalApertureAttr(APERTURE * height / shorter)
    camera.CreateFocalLengthAttr(APERTURE / 2 / math.tan(half))
    camera.CreateClippingRangeAttr(Gf.Vec2f(0.01 * distance, 100 * distance))
    camera.CreateFocusDistanceAttr(distance)
    camera.CreateFStopAttr(0.0)

    camera.ClearXformOpOrder()
    pose = camera.AddTransformOp()
    pose.GetAttr().Clear()
    for frame, local in zip(turntable.frame_numbers(), _camera_poses(turntable, distance)):
        world = _from_y_up(stage, center) @ local
        pose.Set(row_matrix(np.linalg.inv(_parent_to_world(camera, frame)) @ world), frame)
    return camera


def _camera_poses(turntable: Turntable, distance: float) -> list[Matrix]:
    """One pose per frame around the origin, y up."""
    count, lowest, highest = turntable.frames, turntable.lowest, turntable.highest
    if turntable.layout == "object":
        angles = np.tile([math.radians(turntable.elevation), 0.0], (count, 1))
    elif turntable.layout == "rings":
        angles = camera_layout.rings(count, turntable.rings, lowest, highest)
    else:
        angles = camera_layout.sphere(count, lowest, highest)
    return [camera_layout.look_at_center(elevation, azimuth, distance) for elevation, azimuth in angles]


def _from_y_up(stage: Any, center: Matrix) -> Matrix:
    """From a y-up space around the object's center to stage space."""
    matrix = Y_UP_TO_Z_UP.copy() if up_axis(stage) == "Z" else np.eye(4)
    matrix[:3, 3] = center
    return matrix


def _turn_object(stage: Any, prim: Any, center: Matrix, frames: Sequence[int]) -> None:
    """Turns `prim` once about the vertical through `center`, on top of its own transform."""
    from pxr import UsdGeom

    xformable = UsdGeom.Xformable(prim)
    ops, resets = xformable.GetOrderedXformOps(), xformable.GetResetXformStack()
    attribute = prim.GetAttribute(f"xformOp:transform:{TURN_OP}")
    if attribute:  # of an earlier cook
        attribute.Clear()
        turn = UsdGeom.XformOp(attribute)
    else:
        turn = xformable.AddTransformOp(opSuffix=TURN_OP)
    xformable.SetXformOpOrder([turn, *ops], resets)  # the first op acts last
    for i, frame in enumerate(frames):
        # Clockwise from above: the camera seems to walk counter-clockwise, as on the rings.
        motion = _turn_about(stage, center, -2 * math.pi * i / len(frames))
        parent = np.eye(4) if resets else _parent_to_world(xformable, frame)
        turn.Set(row_matrix(np.linalg.inv(parent) @ motion @ parent), frame)


def _turn_about(stage: Any, center: Matrix, angle: float) -> Matrix:
    turn = np.eye(4)
    turn[:3, :3] = camera_layout.turn_about_y(angle)
    if up_axis(stage) == "Z":
        turn = Y_UP_TO_Z_UP @ turn @ Z_UP_TO_Y_UP
    turn[:3, 3] = center - turn[:3, :3] @ center
    return turn


def _parent_to_world(xformable: Any, time: float) -> Matrix:
    return column_matrix(xformable.ComputeParentToWorldTransform(time))
