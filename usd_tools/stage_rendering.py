"""What a renderer needs of a stage, as plain arrays in stage space: surfaces with maps, light and cameras."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from usd_tools.cameras import camera_to_world, clipping_range, read_lens
from usd_tools.errors import UserError
from usd_tools.lights import find_lights, probe_job
from usd_tools.matrices import nearest_rotation
from usd_tools.mitsuba_scene import Material, PinholeCamera, Surface
from usd_tools.probe import bake_probe
from usd_tools.render_settings import PictureFormat
from usd_tools.stage import active_prims, is_rendered
from usd_tools.texture_baking import bake_object
from usd_tools.textured_object import read_object

log = logging.getLogger(__name__)


def read_surfaces(stage: Any, time: float) -> list[Surface]:
    """All meshes that renderers draw, with their looks as the ground truth has them.

    Raises:
        UserError: there is no such mesh, or one cannot be read (see `read_object`).
    """
    from pxr import UsdGeom

    prims = active_prims(stage.GetPseudoRoot())
    drawn = [prim for prim in prims if prim.IsA(UsdGeom.Boundable) and is_rendered(prim, time)]
    meshes = [prim for prim in drawn if prim.IsA(UsdGeom.Mesh)]
    if not meshes:
        raise UserError(f"{stage.GetRootLayer().GetDisplayName()}: has no visible mesh; nothing to render")
    _tell_what_is_not_drawn(prim for prim in drawn if prim not in meshes)
    return [_read_surface(UsdGeom.Mesh(mesh), time) for mesh in meshes]


def _tell_what_is_not_drawn(prims: Iterable[Any]) -> None:
    from pxr import UsdGeom

    for prim in prims:
        if prim.IsA(UsdGeom.PointInstancer):
            raise UserError(f"{prim.GetPath()}: is a PointInstancer, not supported; make meshes of it")
        if prim.IsA(UsdGeom.Gprim):
            log.warning("%s: is a %s and not rendered; only meshes are", prim.GetPath(), prim.GetTypeName())


def _read_surface(mesh: Any, time: float) -> Surface:
    source = read_object([mesh], time)
    baked = bake_object(source)
    shape, maps = baked.mesh, baked.maps
    assert shape.uvs is not None and shape.normals is not None, "objects are read with both"
    material = Material(
        albedo=maps["albedo"],
        roughness=maps["roughness"][..., 0],
        metallic=maps["metallic"][..., 0],
        normal=None if all(look.is_constant("normal") for look in source.looks) else maps["normal"],
    )
    return Surface(
        shape.vertices[shape.faces], shape.normals[shape.normal_faces], shape.uvs[shape.uv_faces], material
    )


def read_probe(stage: Any, time: float) -> tuple[np.ndarray, np.ndarray]:
    """The lights' lat-long radiance (H, W, 3), and the rotation (3, 3) from its frame to the stage.

    That is a single dome's own frame, so that nothing is resampled, or else the stage's.

    Raises:
        UserError: a light is missing or unusable (see `find_lights`, `bake_probe`).
    """
    lights = find_lights(stage, time)
    rotation = np.eye(3)
    if not lights.distants and len(lights.domes) == 1:
        rotation = nearest_rotation(lights.domes[0].dome_to_stage)
    return bake_probe(probe_job(lights, rotation.T)), rotation


def read_camera(camera: Any, time: float, size: tuple[int, int], shape: PictureFormat) -> PinholeCamera:
    """The UsdGeom.Camera at `time` for pictures of `size` (width, height) pixels.

    Raises:
        UserError: lens, pose (see `read_lens`, `camera_to_world`) or clipping range cannot be rendered with.
    """
    width, height = size
    fx, fy, cx, cy = read_lens(camera, time, shape.policy, shape.pixel_aspect).intrinsics(width, height)
    near, far = clipping_range(camera, time)
    if not 0 < near < far < np.inf:
        raise UserError(f"{camera.GetPath()}: clippingRange {near:g}, {far:g}; expected 0 < near < far")
    return PinholeCamera(camera_to_world(camera, time), (fx, fy), (cx, cy), width, height, near, far)


def scene_varies(stage: Any) -> bool:
    """Whether what is rendered is animated: shapes, lights, materials, or something above them."""
    from pxr import UsdGeom, UsdLux, UsdShade

    varying: dict[Any, bool] = {}  # by prim: itself or something above it

    def varies(prim: Any) -> bool:
        if prim.IsPseudoRoot():
            return False
        if prim not in varying:
            varying[prim] = varies(prim.GetParent()) or any(
                attribute.ValueMightBeTimeVarying() for attribute in prim.GetAuthoredAttributes()
            )
        return varying[prim]

    return any(
        varies(prim)
        for prim in active_prims(stage.GetPseudoRoot())
        if prim.IsA(UsdGeom.Gprim)
        or prim.HasAPI(UsdLux.LightAPI)
        or prim.IsA(UsdShade.NodeGraph)
        or prim.IsA(UsdShade.Shader)
        or prim.IsA(UsdGeom.Subset)
    )
