"""Texture coordinates for a mesh that has none, by xatlas."""

from __future__ import annotations

import ctypes
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recon.geometry.mesh import Mesh
from usd_tools.errors import UserError

_LOG = logging.getLogger(__name__)

# Faces of a piece that is charted by itself. For each face it adds, xatlas looks through all charts, so that
# its time grows with the square of a mesh's size; over pieces it is linear, and they run in parallel. Its
# charts are greedy, too: on large recovered surfaces they leave crumbs of few faces wherever they meet. Much
# smaller pieces than this cut through charts.
_PIECE = 1200
# Packings tried for enough padding.
_PACKINGS = 4
# Twice the uv area below which a face has none: far less than a texel of any texture, squared.
_FLAT = 1e-12


def unwrap(mesh: Mesh, resolution: int, padding: int = 2) -> Mesh:
    """The mesh with uvs in [0, 1], v up, in which no two triangles overlap.

    resolution: edge of the square texture, in texels. padding: texels kept free around each chart, so that
    bilinear lookups and the first mip levels do not mix charts.

    Vertices, faces and normals stay as they are; `uvs` (T, 2) and `uv_faces` (F, 3) are set, and tangents
    dropped, for they belonged to the old uvs. Deterministic. Edges of more than two faces become seams. Faces
    without area (repeated vertices, or slivers that float32 cannot tell from a line) get one point of the
    atlas for all three corners.

    Raises UserError for a mesh without faces, with positions that are not finite, or a texture too small.
    """
    if resolution < 4 * (padding + 1):
        raise UserError(
            f"textures.resolution: expected at least {4 * (padding + 1)} to unwrap with a padding of "
            f"{padding}, got {resolution}"
        )
    positions = mesh.vertices.detach().cpu().to(torch.float64).numpy()
    faces = mesh.faces.cpu().numpy()
    if len(faces) == 0:
        raise UserError("unwrap: the mesh has no faces; expected a surface (did the coarse stage lose it?)")
    if not np.isfinite(positions[faces]).all():
        raise UserError("unwrap: the mesh has positions that are not finite; lower the geometry's rate")

    start = time.perf_counter()
    scaled = _normalized(positions, faces)
    solid = _has_area(scaled, faces)
    if not solid.any():
        raise UserError("unwrap: all faces of the mesh are without area; expected a surface")
    packing = _run_xatlas(scaled, faces[solid], resolution, padding)
    uvs = np.clip(packing.uvs / packing.size, 0.0, 1.0).astype(np.float32)
    uv_faces = np.zeros_like(faces)
    uv_faces[solid] = packing.uv_faces
    flat = ~solid | (np.abs(_signed_areas(uvs, uv_faces)) < _FLAT)
    uvs, uv_faces = _collapse(flat, faces, uvs, uv_faces, len(positions))
    _LOG.info(
        "unwrapped %d faces into %d charts in %.1f s", len(faces), packing.charts, time.perf_counter() - start
    )
    device = mesh.vertices.device
    return Mesh(
        mesh.vertices,
        mesh.faces,
        torch.from_numpy(uvs).to(mesh.vertices),
        torch.from_numpy(uv_faces).to(device),
        mesh.normals,
        mesh.normal_faces,
    )


def _normalized(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """float32 positions moved and scaled into [-1, 1]: xatlas compares with absolute tolerances."""
    used = positions[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    extent = max(float((high - low).max()) / 2, np.finfo(np.float64).tiny)
    safe = np.where(np.isfinite(positions), positions, 0.0)
    return ((safe - (low + high) / 2) / extent).astype(np.float32)


def _has_area(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) whether a face is more than a line to float32 arithmetic."""
    a, b, c = (positions[faces[:, i]].astype(np.float64) for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    longest = np.max([((b - a) ** 2).sum(1), ((c - b) ** 2).sum(1), ((a - c) ** 2).sum(1)], axis=0)
    return (area > 1e-6 * longest) & (area > 1e-14)


@dataclass(frozen=True)
class _Packing:
    """An atlas that xatlas made: uvs (T, 2) float64 in its texels, uv_faces (F, 3), its size and charts."""

    uvs: np.ndarray
    uv_faces: np.ndarray
    size: int
    charts: int


def _run_xatlas(positions: np.ndarray, faces: np.ndarray, resolution: int, padding: int) -> _Packing:
    """Charts that fit `resolution` as they are, or shrunk to it; all faces must have area."""
    # Shrinking an atlas to the texture shrinks its padding, too: it is asked for with a texel to spare.
    asked = padding + 1
    packing = _charts(positions, faces, resolution, asked)
    for _ in range(_PACKINGS):
        if asked * resolution >= padding * packing.size:
            return packing
        # Charts of the size they were to shrink to: only the padding still asks for more room.
        packing = _packed(packing.uvs * (resolution / packing.size), packing.uv_faces, asked)
    _LOG.warning(
        "unwrap: %d charts do not fit %d x %d texels with a padding of %d; colors may bleed at their "
        "borders, raise textures.resolution",
        packing.charts,
        resolution,
        resolution,
        padding,
    )
    return packing


def _charts(positions: np.ndarray, faces: np.ndarray, resolution: int, padding: int) -> _Packing:
    """Cuts a surface into charts and packs them.

    xatlas only estimates the scale that fits `resolution`, and packs into a rectangle of its own size: some
    20 % larger on usual meshes, much more on small textures.
    """
    import xatlas

    atlas = _new_atlas()
    pieces = _pieces(positions[faces].mean(axis=1), _PIECE)
    corners = []
    for piece in pieces:
        used, local = np.unique(faces[piece], return_inverse=True)
        corners.append(local.reshape(-1, 3).astype(np.uint32))
        atlas.add_mesh(positions[used], corners[-1])
    options = xatlas.ChartOptions()
    # Seen from outside u and v shall run counter-clockwise everywhere: xatlas would leave some charts
    # mirrored, and "rotates" others by swapping u and v. Packing loses nothing measurable by it.
    options.fix_winding = True
    _generate(atlas, options, resolution, padding)
    uvs, uv_faces, count = [], np.empty_like(faces), 0
    for number, (piece, given) in enumerate(zip(pieces, corners)):
        found, indices = _result(atlas, number, given)
        uvs.append(found)
        uv_faces[piece] = indices + count
        count += len(found)
    return _Packing(np.concatenate(uvs), uv_faces, _size(atlas), int(atlas.chart_count))


def _packed(uvs: np.ndarray, uv_faces: np.ndarray, padding: int) -> _Packing:
    """Packs charts of uvs (T, 2) in texels anew, of the size they are."""
    import xatlas

    atlas = _new_atlas()
    given = uv_faces.astype(np.uint32)
    atlas.add_uv_mesh(uvs.astype(np.float32), given)
    _generate(atlas, xatlas.ChartOptions(), 0, padding)
    return _Packing(*_result(atlas, 0, given), _size(atlas), int(atlas.chart_count))


def _new_atlas() -> Any:
    """An xatlas atlas that is never destroyed.

    Its destructor tells its threads to end without holding the lock they wait with (`~TaskScheduler` in
    xatlas.cpp), so that now and then one of them misses it, and the destructor waits for it forever.
    What is left of a mesh is some memory and a few threads that sleep, until the process ends.
    """
    import xatlas

    atlas = xatlas.Atlas()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(atlas))
    return atlas


def _generate(atlas: Any, charts: Any, resolution: int, padding: int) -> None:
    """Runs xatlas; resolution: 0 keeps the size of charts that are given."""
    import xatlas

    options = xatlas.PackOptions()
    options.resolution = resolution
    options.texels_per_unit = 0.0 if resolution else 1.0
    options.bilinear = True
    options.rotate_charts = False
    options.padding = padding
    atlas.generate(charts, options, verbose=False)
    if _size(atlas) == 0 or atlas.atlas_count != 1:
        raise UserError("unwrap: xatlas found no charts that fit one texture; expected a closed surface")


def _result(atlas: Any, number: int, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uvs (T, 2) in texels and uv faces of a mesh of `atlas`, which was given faces `given`."""
    source, indices, uvs = atlas[number]
    if not np.array_equal(source[indices], given):
        raise UserError("unwrap: xatlas dropped faces of the mesh; expected one without repeated vertices")
    # xatlas hands out uvs divided by its rectangle's own sides.
    return uvs * np.array([atlas.width, atlas.height], np.float64), indices.astype(np.int64)


def _size(atlas: Any) -> int:
    return max(atlas.width, atlas.height)


def _pieces(points: np.ndarray, largest: int) -> list[np.ndarray]:
    """The rows of `points` (N, 3), halved across their longest extent until none has more than `largest`."""
    pieces = [np.arange(len(points))]
    while len(pieces[0]) > largest:
        halves = []
        for piece in pieces:
            axis = np.ptp(points[piece], axis=0).argmax()
            order = piece[np.argsort(points[piece, axis], kind="stable")]
            halves += np.array_split(order, 2)
        pieces = halves
    return [np.sort(piece) for piece in pieces]


def _collapse(
    flat: np.ndarray, faces: np.ndarray, uvs: np.ndarray, uv_faces: np.ndarray, vertex_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gives all corners of each `flat` face (F,) one uv, that of a neighboring face at one of its vertices.

    xatlas leaves faces that are too thin for it at (0, 0). Stretched between the charts of their vertices
    they would cover texels of others.
    """
    row_of_vertex = np.full(vertex_count, -1, np.int64)
    row_of_vertex[faces[~flat]] = uv_faces[~flat]
    uv_faces[flat] = np.maximum(row_of_vertex[faces[flat]].max(axis=1), 0)[:, None]
    used, compact = np.unique(uv_faces, return_inverse=True)
    return uvs[used], compact.reshape(uv_faces.shape).astype(np.int64)


def _signed_areas(uvs: np.ndarray, uv_faces: np.ndarray) -> np.ndarray:
    """(F,) twice the area of each face's uvs, positive where u, v run counter-clockwise."""
    a, b, c = (uvs[uv_faces[:, i]].astype(np.float64) for i in range(3))
    ab, ac = b - a, c - a
    return ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
