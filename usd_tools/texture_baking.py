"""The looks of an object as one square set of maps, and its mesh with the texture coordinates they fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from usd_tools.images import Pixels
from usd_tools.looks.evaluation import UvGrid, evaluate, is_periodic, native_size
from usd_tools.looks.network import CHANNELS, Look
from usd_tools.matrices import unit
from usd_tools.obj import ObjMesh
from usd_tools.texel_raster import nearest_covered, rasterize_texels
from usd_tools.textured_object import TexturedObject
from usd_tools.uv_atlas import GUTTER, Atlas, fits_unit_square, looks_overlap, plan_atlas

log = logging.getLogger(__name__)

CONSTANT_SIZE = 64
"""Texels per side of maps without any texture behind them."""

LARGEST_SIZE = 4096


@dataclass(frozen=True)
class BakedObject:
    """mesh: its UVs may be others than the stage's, see `uv_atlas`.

    maps: each channel as (N, N, 3 | 1), row 0 at v = 1: albedo linear, normal unit vectors, the rest raw.
    """

    mesh: ObjMesh
    maps: dict[str, Pixels]


@dataclass(frozen=True)
class _Patch:
    """A look's part of the maps: where it goes, what it covers, and which texels there are its own."""

    look: int
    rows: slice
    columns: slice
    grid: UvGrid
    own: NDArray[np.bool_] | None = None


def bake_object(source: TexturedObject) -> BakedObject:
    """Evaluates all looks. The textures' own resolution is kept up to LARGEST_SIZE texels per side.

    The mesh keeps its UVs where one square of them says everything; else (several looks over each other,
    UDIMs, UVs outside 0..1 of textures that do not repeat) tiles are laid side by side.
    """
    mesh, looks, face_looks = source.mesh, source.looks, source.face_looks
    assert mesh.uvs is not None and mesh.uv_faces is not None, "objects are read with texture coordinates"
    periodic = [is_periodic(look) for look in looks]
    inside = fits_unit_square(mesh.uvs, mesh.uv_faces)
    texels = max(native_size(look) for look in looks) or CONSTANT_SIZE
    if (len(looks) == 1 and (inside or periodic[0])) or (
        inside and not looks_overlap(mesh.uvs, mesh.uv_faces, face_looks)
    ):
        side = _limited(texels, 1)
        patches = list(_shared_square(source, side))
    else:
        atlas = plan_atlas(mesh.uvs, mesh.uv_faces, face_looks, periodic)
        texels = _limited(texels, atlas.cells)
        side = atlas.side(texels)
        uvs, uv_faces = atlas.rewritten(mesh.uvs, mesh.uv_faces, texels)
        mesh = replace(mesh, uvs=uvs, uv_faces=uv_faces)
        log.info("the texture coordinates are laid out anew: %d tiles of %d texels", len(atlas.tiles), texels)
        patches = list(_atlas_patches(replace(source, mesh=mesh), atlas, texels, periodic))
    maps = {name: _finished(name, _assembled(looks, name, patches, side)) for name in CHANNELS}
    return BakedObject(mesh, maps)


def _limited(texels: int, cells: int) -> int:
    limit = LARGEST_SIZE // cells
    if texels > limit:
        log.warning("textures of %d texels are reduced to %d for the ground truth", texels, limit)
    return min(texels, limit)


def _shared_square(source: TexturedObject, side: int) -> Iterator[_Patch]:
    """All looks in one unit square, as the UVs have it: every texel is of the nearest triangle's look."""
    others = _other_coordinates(source, side)
    everything = slice(0, side)
    if len(source.looks) == 1:
        grid = UvGrid((0.0, 0.0), (1.0, 1.0), side, side, _main(source.looks[0]), others=others)
        yield _Patch(0, everything, everything, grid)
        return
    mesh = source.mesh
    assert mesh.uvs is not None and mesh.uv_faces is not None, "checked by bake_object"
    shown = rasterize_texels(mesh.uvs, mesh.uv_faces, side)
    owner = np.where(shown.covered, source.face_looks[shown.face], -1)
    owner = owner.ravel()[nearest_covered(shown.covered)]
    for number, look in enumerate(source.looks):
        own = owner == number
        if not own.any():
            continue
        rows, columns = (_span(own.any(axis=axis)) for axis in (1, 0))
        low = columns.start / side, 1 - rows.stop / side
        high = columns.stop / side, 1 - rows.start / side
        part = {name: values[rows, columns] for name, values in others.items()}
        height, width = rows.stop - rows.start, columns.stop - columns.start
        grid = UvGrid(low, high, height, width, _main(look), others=part)
        yield _Patch(number, rows, columns, grid, own[rows, columns])


def _span(flags: NDArray[np.bool_]) -> slice:
    used = np.flatnonzero(flags)
    return slice(int(used[0]), int(used[-1]) + 1)


def _atlas_patches(
    source: TexturedObject, atlas: Atlas, texels: int, periodic: list[bool]
) -> Iterator[_Patch]:
    pitch = texels + 2 * GUTTER
    others = _other_coordinates(source, atlas.side(texels))
    for tile in atlas.tiles:
        width, height = (size * texels + 2 * GUTTER for size in tile.size)
        rows = slice(tile.row * pitch, tile.row * pitch + height)
        columns = slice(tile.column * pitch, tile.column * pitch + width)
        grid = UvGrid(
            (float(tile.low[0]), float(tile.low[1])),
            (float(tile.high[0]), float(tile.high[1])),
            height,
            width,
            _main(source.looks[tile.look]),
            GUTTER,
            periodic[tile.look],
            {name: values[rows, columns] for name, values in others.items()},
        )
        yield _Patch(tile.look, rows, columns, grid)


def _main(look: Look) -> str | None:
    names = look.uv_primvars()
    return names[0] if names else None


def _other_coordinates(source: TexturedObject, side: int) -> dict[str | None, NDArray[np.floating]]:
    """(side, side, 2) values of the further UV sets at the texels of the mesh's own."""
    if not source.uv_sets:
        return {}
    mesh = source.mesh
    assert mesh.uvs is not None and mesh.uv_faces is not None, "checked by bake_object"
    shown = rasterize_texels(mesh.uvs, mesh.uv_faces, side)
    nearest = nearest_covered(shown.covered).ravel()
    result: dict[str | None, NDArray[np.floating]] = {}
    for name, (values, faces) in source.uv_sets.items():
        image = np.zeros((side * side, 2))
        image[shown.covered.ravel()] = shown.interpolate(values, faces)
        result[name] = image[nearest].reshape(side, side, 2)
    return result


def _assembled(looks: tuple[Look, ...], channel: str, patches: list[_Patch], side: int) -> Pixels:
    if len(patches) == 1 and patches[0].grid.rows == patches[0].grid.columns == side:
        return evaluate(looks[patches[0].look], channel, patches[0].grid)
    neutral = (0.0, 0.0, 1.0) if channel == "normal" else (0.0,) * CHANNELS[channel]
    image = np.empty((side, side, CHANNELS[channel]), np.float32)
    image[:] = neutral
    for patch in patches:
        value = evaluate(looks[patch.look], channel, patch.grid)
        area = image[patch.rows, patch.columns]
        area[:] = value if patch.own is None else np.where(patch.own[..., None], value, area)
    return image


def _finished(channel: str, image: Pixels) -> Pixels:
    """The channel in place: normals at length 1 (flat where they have none), everything else in 0..1."""
    if channel != "normal":
        return np.clip(np.nan_to_num(image, copy=False), 0, 1, out=image)
    if image.min() >= 0 and np.median(image[..., :2]) > 0.25:
        log.warning("the normal map is read without scale 2 and bias -1, so its normals lean; mend the look")
    for row in image:  # row by row: large maps must not need gigabytes of temporaries
        row[:] = unit(row)
        row[~row.any(axis=-1)] = (0, 0, 1)
    return image
