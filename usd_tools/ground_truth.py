"""The artist's mesh, maps and light in the dataset frame: what recovered textures are measured against."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from usd_tools.color import linear_to_srgb
from usd_tools.dataset_job import GroundTruthJob
from usd_tools.errors import UserError
from usd_tools.images import Pixels, read_texture, write_exr, write_png
from usd_tools.materials import Channel, Look
from usd_tools.matrices import unit
from usd_tools.obj import ObjMesh, write_obj
from usd_tools.probe import bake_probe
from usd_tools.resampling import resize_texture

log = logging.getLogger(__name__)

CONSTANT_SIZE = 64
"""Texels per side of maps without any texture behind them."""

LARGEST_SIZE = 4096


def write_ground_truth(folder: Path, job: GroundTruthJob) -> None:
    """Writes `mesh.obj`, one square map set and `probe.exr` into `folder`, which is made."""
    folder.mkdir()
    maps = bake_look(job.look)
    _warn_of_uvs_outside(job.mesh, job.look)
    write_obj(
        folder / "mesh.obj",
        job.mesh,
        material="ground_truth",
        mtl_maps={name: f"{name}.png" for name in ("albedo", "roughness", "metallic", "normal")},
    )
    write_png(folder / "albedo.png", linear_to_srgb(maps["albedo"]))
    write_png(folder / "normal.png", maps["normal"] * 0.5 + 0.5)
    for name in ("roughness", "metallic", "occlusion"):
        write_png(folder / f"{name}.png", maps[name])
    write_exr(folder / "probe.exr", bake_probe(job.probe), half=False)  # a sun exceeds what half can hold


def bake_look(look: Look) -> dict[str, Pixels]:
    """Each channel as (N, N, 3 | 1), row 0 at v = 1: albedo linear, normal unit vectors, the rest raw.

    N is the largest side of any texture, at most LARGEST_SIZE; CONSTANT_SIZE without textures.
    """
    values = {name: _evaluate(name, channel) for name, channel in look.channels.items()}
    sizes = [max(value.shape[:2]) for value in values.values() if value.shape[:2] != (1, 1)]
    size = max(sizes, default=CONSTANT_SIZE)
    if size > LARGEST_SIZE:
        log.warning("textures of %d texels are reduced to %d for the ground truth", size, LARGEST_SIZE)
        size = LARGEST_SIZE
    maps = {}
    for name, value in values.items():
        texture = look.channels[name].texture
        maps[name] = resize_texture(value, size, texture.wrap if texture else ("repeat", "repeat"))
    flat = np.array([0, 0, 1], np.float32)
    normal = unit(maps["normal"]).astype(np.float32)
    maps["normal"] = np.where(np.any(normal != 0, axis=-1, keepdims=True), normal, flat)
    for name in ("albedo", "roughness", "metallic", "occlusion"):
        maps[name] = np.clip(maps[name], 0, 1)
    return maps


def _evaluate(name: str, channel: Channel) -> Pixels:
    """The channel at its texture's own size; (1, 1, C) for a constant."""
    texture = channel.texture
    if texture is None:
        return np.array(channel.constant, np.float32).reshape(1, 1, -1)
    stored = read_texture(texture.file, texture.color_space)
    if not np.isfinite(stored).all():
        raise UserError(f"{texture.file}: has NaN or infinite values; write the texture again")
    rgba = _as_rgba(stored)
    columns = [0, 1, 2] if texture.components == "rgb" else ["rgba".index(texture.components)]
    scale, bias = (np.array(figures, np.float32)[columns] for figures in (texture.scale, texture.bias))
    value = rgba[..., columns] * scale + bias
    if name == "normal" and value.min() >= 0 and np.median(value[..., :2]) > 0.25:
        log.warning(
            "%s: is read without scale 2 and bias -1, so its normals all lean; mend the look", texture.file
        )
    return value


def _as_rgba(pixels: Pixels) -> Pixels:
    """Gray as equal red, green and blue, opaque where there is no alpha: what UsdUVTexture's outputs give."""
    channels = pixels.shape[2]
    color = pixels[..., :3] if channels >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    alpha = pixels[..., -1:] if channels in (2, 4) else np.ones_like(pixels[..., :1])
    return np.concatenate([color, alpha], axis=2)


def _warn_of_uvs_outside(mesh: ObjMesh, look: Look) -> None:
    modes = {mode for channel in look.channels.values() if channel.texture for mode in channel.texture.wrap}
    if mesh.uvs is not None and modes - {"repeat"} and (np.abs(mesh.uvs - 0.5) > 0.501).any():
        log.warning(
            "the mesh has UVs outside 0..1 and textures that wrap as %s; the ground truth repeats them",
            ", ".join(sorted(modes - {"repeat"})),
        )
