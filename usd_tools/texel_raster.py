"""Triangles rasterised in UV space, and gutters around charts: what every texture bake starts from.

A texture of R x R texels covers the unit square of UV space and repeats; row 0 is v = 1. The centre of texel
(row, column) is at u = (column + 0.5) / R, v = 1 - (row + 0.5) / R. Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A centre this close to an edge (in texels) belongs to both triangles of the edge, so no texel falls between
# them to rounding.
_EDGE_TOLERANCE = 1e-6

# (triangle, texel) pairs looked at together: bounds the memory, 8 floats or so per pair.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class TexelMap:
    """Which surface point every texel centre shows.

    face: (R, R) int32, the triangle that covers the texel, -1 where there is none. Where several do, the
        lowest index wins.
    barycentrics: (R, R, 3) float32 weights of the triangle's corners, in [0, 1], summing to 1; 0 where empty.
    """

    face: NDArray[np.int32]
    barycentrics: NDArray[np.float32]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(R, R), true where a triangle covers the texel's centre."""
        return self.face >= 0

    def interpolate(self, values: NDArray, value_faces: NDArray) -> NDArray:
        """(N, C) `values` of the corners `value_faces` (F, 3), interpolated at the N covered texels.

        The order is that of `image[texel_map.covered]`.
        """
        covered = self.covered
        corners = value_faces[self.face[covered]]
        return np.einsum("nk,nkc->nc", self.barycentrics[covered], values[corners])


def rasterize_texels(uvs: NDArray, uv_faces: NDArray, resolution: int) -> TexelMap:
    """Finds, for every texel of a `resolution` x `resolution` texture, the triangle that covers its centre.

    uvs (T, 2), v up; uv_faces (F, 3). Either orientation counts; coordinates outside [0, 1] wrap, as the
    texture repeats. Centres on a shared edge are always covered; triangles without area cover nothing.

    Raises ValueError on a resolution below 1 or on UVs that are not finite.
    """
    if resolution < 1:
        raise ValueError(f"resolution is {resolution}, expected at least 1")
    # Pixel-like coordinates in which texel (row, column) has its centre at integers (column, row).
    position = np.asarray(uvs, np.float64).reshape(-1, 2) * resolution
    position = np.stack([position[:, 0], resolution - position[:, 1]], axis=-1) - 0.5
    if not np.isfinite(position).all():
        raise ValueError("uvs hold NaN or infinite values, expected finite texture coordinates")
    faces = np.asarray(uv_faces, np.int64).reshape(-1, 3)
    corners = position[faces]

    owner = np.full(resolution * resolution, len(faces), np.int64)
    weights = np.zeros((resolution * resolution, 3), np.float32)
    for face, column, row in _candidates(corners):
        barycentrics, inside = _barycentrics(corners[face], np.stack([column, row], axis=-1))
        face = face[inside]
        texel = (row[inside] % resolution) * resolution + column[inside] % resolution
        np.minimum.at(owner, texel, face)
        won = owner[texel] == face
        weights[texel[won]] = barycentrics[inside][won]
    owner[owner == len(faces)] = -1
    return TexelMap(
        owner.astype(np.int32).reshape(resolution, resolution), weights.reshape(resolution, resolution, 3)
    )


def nearest_covered(covered: NDArray[np.bool_], distance: int | None = None) -> NDArray[np.int64]:
    """(H, W) flat index of the covered texel that each texel takes its value from.

    Covered texels point at themselves; others at the nearest covered one, over the texture's wrapped edges
    too; itself where nothing is covered within `distance` texels (None: no limit).

    Jump flooding (Rong and Tan 2006, with the two extra passes of its JFA+2 variant): on rare texels the
    answer is a fraction of a texel farther away than the true nearest, which no lookup notices.
    """
    height, width = covered.shape
    # Twice as fast as 64 bits, which only pictures of 46341 x 46341 texels and more need.
    kind = np.int32 if covered.size <= np.iinfo(np.int32).max else np.int64
    seed = np.where(covered.ravel(), np.arange(covered.size, dtype=kind), kind(-1))
    empty = np.flatnonzero(seed < 0).astype(kind)
    if len(empty) in (0, covered.size):
        return np.arange(covered.size).reshape(height, width)
    row, column = np.divmod(empty, kind(width))
    reach = max(height, width) // 2 if distance is None else min(distance, max(height, width) // 2)
    best: NDArray = np.full(len(empty), np.iinfo(kind).max, dtype=kind)
    chosen = np.full(len(empty), -1, dtype=kind)
    step = 1 << max(reach - 1, 0).bit_length()
    steps = [step]
    while steps[-1] > 1:
        steps.append(steps[-1] // 2)
    for step in (*steps, 2, 1):
        around = [(dy, dx) for dy in (-step, 0, step) for dx in (-step, 0, step) if (dy, dx) != (0, 0)]
        for dy, dx in around:
            candidate = seed[(row + dy) % height * width + (column + dx) % width]
            squared = _wrapped_squared_distance(row, column, candidate, height, width)
            closer = (squared < best) & (candidate >= 0)
            np.copyto(best, squared, where=closer)
            np.copyto(chosen, candidate, where=closer)
        seed[empty] = chosen
    if distance is not None:
        seed[empty[best > distance * distance]] = -1
    return np.where(seed < 0, np.arange(covered.size), seed).reshape(height, width)


def fill_gutter(image: NDArray, covered: NDArray[np.bool_], distance: int | None = None) -> NDArray:
    """A copy of `image` (H, W, C) or (H, W) whose empty texels repeat the nearest covered one.

    With that, bilinear and mip lookups at chart borders see the chart's own values. `distance` limits the
    gutter to so many texels; None fills everything. Nothing changes where no texel is covered.
    """
    if image.shape[:2] != covered.shape:
        raise ValueError(f"image is {image.shape[:2]} but covered is {covered.shape}, expected the same size")
    index = nearest_covered(covered, distance)
    return image.reshape(covered.size, -1)[index.ravel()].reshape(image.shape)


def _candidates(corners: NDArray) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Chunks of (face, column, row): every texel centre in the bounding box of each triangle."""
    low = np.ceil(corners.min(axis=1) - _EDGE_TOLERANCE).astype(np.int64)
    high = np.floor(corners.max(axis=1) + _EDGE_TOLERANCE).astype(np.int64)
    size = np.maximum(high - low + 1, 0)
    end = np.cumsum(size[:, 0] * size[:, 1])
    total = int(end[-1]) if len(end) else 0
    for start in range(0, total, _CHUNK):
        pair = np.arange(start, min(start + _CHUNK, total))
        face = np.searchsorted(end, pair, side="right")
        within = pair - (end[face] - size[face, 0] * size[face, 1])
        row, column = np.divmod(within, size[face, 0])
        yield face, low[face, 0] + column, low[face, 1] + row


def _barycentrics(corners: NDArray, points: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Weights (N, 3) of `points` (N, 2) in triangles `corners` (N, 3, 2), and which points are inside."""
    following, previous = np.roll(corners, -1, axis=1), np.roll(corners, 1, axis=1)
    edge = previous - following  # the edge opposite each corner
    to_point = points[:, None] - following
    cross = edge[..., 0] * to_point[..., 1] - edge[..., 1] * to_point[..., 0]
    area = cross.sum(axis=1)  # twice the signed area, whatever the point
    length = np.hypot(edge[..., 0], edge[..., 1])
    signed = cross * np.sign(area)[:, None]
    inside = (signed >= -_EDGE_TOLERANCE * length).all(axis=1) & (np.abs(area) > 1e-12)
    weights = np.clip(signed, 0, None)
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0), inside


def _wrapped_squared_distance(
    row: NDArray, column: NDArray, index: NDArray, height: int, width: int
) -> NDArray:
    other_row, other_column = np.divmod(index, index.dtype.type(width))
    dy = np.abs(row - other_row)
    dx = np.abs(column - other_column)
    dy = np.minimum(dy, height - dy)
    dx = np.minimum(dx, width - dx)
    return dy * dy + dx * dx
