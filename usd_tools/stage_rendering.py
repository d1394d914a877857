"""What a renderer needs of a stage, as plain arrays in stage space: surfaces with maps, light and cameras."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.cameras import camera_to_world, clipping_range, read_lens
from usd_tools.errors import UserError
from usd_tools.images import read_image, read_texture
from usd_tools.lights import find_dome
from usd_tools.materials import Channel, read_look
from usd_tools.matrices import nearest_rotation
from usd_tools.mitsuba_scene import Material, PinholeCamera, Surface
from usd_tools.stage import active_prims, aperture_policy, read_mesh

log = logging.getLogger(__name__)


def read_surfaces(stage: Any, time: float) -> list[Surface]:
    """All meshes that renderers draw, with their UsdPreviewSurface.

    Raises:
        UserError: there is no such mesh, or one cannot be read (see `read_mesh`, `read_look`).
    """
    from pxr import UsdGeom

    meshes = [prim for prim in active_prims(stage.GetPseudoRoot()) if _is_rendered_mesh(prim, time)]
    if not meshes:
        raise UserError(f"{stage.GetRootLayer().GetDisplayName()}: has no visible mesh; nothing to render")
    return [_read_surface(UsdGeom.Mesh(mesh), time) for mesh in meshes]


def _is_rendered_mesh(prim: Any, time: float) -> bool:
    """A mesh, visible at `time`, and of the purpose that renderers draw."""
    from pxr import UsdGeom

    if not prim.IsA(UsdGeom.Mesh):
        return False
    mesh = UsdGeom.Mesh(prim)
    drawn = (UsdGeom.Tokens.default_, UsdGeom.Tokens.render)
    return mesh.ComputeVisibility(time) != UsdGeom.Tokens.invisible and mesh.ComputePurpose() in drawn


def _read_surface(mesh: Any, time: float) -> Surface:
    look = read_look(mesh, time)
    shape = read_mesh(mesh, time, look.uv_primvar)
    assert shape.uvs is not None and shape.uv_faces is not None, "read_mesh gives uvs"
    assert shape.normals is not None and shape.normal_faces is not None, "read_mesh gives normals"
    maps = {name: channel_map(channel) for name, channel in look.channels.items()}
    if (shape.uvs.min() < 0 or shape.uvs.max() > 1) and any(
        channel.texture and {"clamp", "mirror", "black"} & set(channel.texture.wrap)
        for channel in look.channels.values()
    ):
        log.warning(
            "%s: its UVs leave 0..1; textures are repeated there, whatever wrapS says", mesh.GetPath()
        )
    material = Material(
        albedo=maps["albedo"],
        roughness=maps["roughness"][..., 0],
        metallic=maps["metallic"][..., 0],
        normal=maps["normal"] if look.channels["normal"].texture else None,
    )
    return Surface(
        shape.vertices[shape.faces], shape.normals[shape.normal_faces], shape.uvs[shape.uv_faces], material
    )


def channel_map(channel: Channel) -> np.ndarray:
    """(H, W, C) values of a channel: its texture, curve, scale and bias applied, or its constant as 1 x 1."""
    texture = channel.texture
    if texture is None:
        return np.array(channel.constant, np.float32).reshape(1, 1, -1)
    stored = read_texture(texture.file, texture.color_space)
    color, alpha = stored[..., :3], np.ones_like(stored[..., :1])
    if stored.shape[2] in (1, 2):  # luminance, and alpha
        color = np.repeat(stored[..., :1], 3, axis=-1)
    if stored.shape[2] in (2, 4):
        alpha = stored[..., -1:]
    values = np.concatenate([color, alpha], axis=-1) * texture.scale + texture.bias
    return values[..., ["rgba".index(name) for name in texture.components]].astype(np.float32)


def read_probe(stage: Any, time: float) -> tuple[np.ndarray, np.ndarray]:
    """The dome's lat-long radiance (H, W, 3) in the light's own frame, and its rotation to the stage (3, 3).

    Raises:
        UserError: there is not exactly one usable dome (see `find_dome`), or its picture holds NaN or Inf.
    """
    dome = find_dome(stage, time)
    if dome.texture is None:
        probe = np.ones((8, 16, 3), np.float32)
    elif Path(dome.texture).suffix.lower() in (".exr", ".hdr", ".pic"):
        probe = read_image(dome.texture)
    else:
        probe = read_texture(dome.texture, "auto")
    probe = np.repeat(probe[..., :1], 3, axis=-1) if probe.shape[2] < 3 else probe[..., :3]
    if not np.isfinite(probe).all():
        raise UserError(f"{dome.texture}: holds NaN or infinite pixels; expected a finite light probe")
    return (probe * dome.color).astype(np.float32), nearest_rotation(dome.light_to_world)


def read_camera(stage: Any, camera: Any, time: float, width: int, height: int) -> PinholeCamera:
    """The UsdGeom.Camera at `time` for pictures of width x height pixels."""
    fx, fy, cx, cy = read_lens(camera, time, aperture_policy(stage)).intrinsics(width, height)
    near, far = clipping_range(camera, time)
    return PinholeCamera(camera_to_world(camera, time), (fx, fy), (cx, cy), width, height, near, far)


def scene_varies(stage: Any) -> bool:
    """Whether anything but cameras is animated: meshes, lights, materials, or a transform above them."""
    from pxr import Usd, UsdGeom

    animated = False
    prims = iter(Usd.PrimRange(stage.GetPseudoRoot(), Usd.TraverseInstanceProxies()))
    for prim in prims:
        if prim.IsA(UsdGeom.Camera):
            prims.PruneChildren()
            continue
        animated = animated or any(
            attribute.ValueMightBeTimeVarying() for attribute in prim.GetAuthoredAttributes()
        )
    return animated
