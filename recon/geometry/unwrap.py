"""Texture coordinates for a mesh that has none, by xatlas."""

from __future__ import annotations

import logging
import math
import time

import numpy as np
import torch

from recon.geometry.mesh import Mesh
from usd_tools.errors import UserError

_LOG = logging.getLogger(__name__)

# Packings tried for enough padding.
_ATTEMPTS = 4
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
    uvs, solid_uv_faces, charts = _run_xatlas(scaled, faces[solid], resolution, padding)
    uv_faces = np.zeros_like(faces)
    uv_faces[solid] = solid_uv_faces
    flat = ~solid | (np.abs(_signed_areas(uvs, uv_faces)) < _FLAT)
    uvs, uv_faces = _collapse(flat, faces, uvs, uv_faces, len(positions))
    _LOG.info("unwrapped %d faces into %d charts in %.1f s", len(faces), charts, time.perf_counter() - start)
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


def _run_xatlas(
    positions: np.ndarray, faces: np.ndarray, resolution: int, padding: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """uvs (T, 2) float32, uv faces (F, 3) int64 and the number of charts; all faces must have area."""
    import xatlas

    charts = xatlas.ChartOptions()
    # Seen from outside u and v shall run counter-clockwise everywhere: xatlas would leave some charts
    # mirrored, and "rotates" others by swapping u and v. Packing loses nothing measurable by it.
    charts.fix_winding = True
    options = xatlas.PackOptions()
    options.resolution = resolution
    options.bilinear = True
    options.rotate_charts = False
    # xatlas only estimates the scale that fits the resolution, and packs into a rectangle of its own size:
    # some 20 % larger on usual meshes, much more on small textures. Shrinking that to the texture shrinks the
    # padding too, so it is asked for with a texel to spare, and more where that is not enough.
    options.padding = padding + 1
    for _ in range(_ATTEMPTS):
        atlas = xatlas.Atlas()
        atlas.add_mesh(positions, faces.astype(np.uint32))
        atlas.generate(charts, options, verbose=False)
        size = max(atlas.width, atlas.height)
        if size == 0 or atlas.atlas_count != 1:
            raise UserError("unwrap: xatlas found no charts that fit one texture; expected a closed surface")
        if options.padding * resolution >= padding * size:
            break
        options.padding = math.ceil(padding * size / resolution) + 1
    else:
        _LOG.warning(
            "unwrap: %d charts do not fit %d x %d texels with a padding of %d; colors may bleed at their "
            "borders, raise textures.resolution",
            atlas.chart_count,
            resolution,
            resolution,
            padding,
        )
    source, indices, uvs = atlas[0]
    if not np.array_equal(source[indices], faces):
        raise UserError("unwrap: xatlas dropped faces of the mesh; expected one without repeated vertices")
    # Texels of the same scale in u and v; xatlas hands out uvs divided by its rectangle's own sides.
    uvs = np.clip(uvs * (np.array([atlas.width, atlas.height], np.float32) / size), 0.0, 1.0)
    return uvs.astype(np.float32), indices.astype(np.int64), int(atlas.chart_count)


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
