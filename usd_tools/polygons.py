"""Polygons as triangles, concave ones included. Needs numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def triangulate(points: NDArray[np.floating], counts: Indices, indices: Indices) -> tuple[Indices, Indices]:
    """Corners (T, 3) as places in `indices`, and the polygon (T,) of each triangle; the winding is kept.

    points: (P, 3). counts: (F,) corners of each polygon, at least 3. indices: (sum of counts,) rows of them.
    Convex polygons become fans around their first corner; from others, ears are cut off.
    """
    first = np.cumsum(counts) - counts
    per_face = counts - 2
    face_of = np.repeat(np.arange(len(counts)), per_face)
    within = np.arange(len(face_of)) - np.repeat(np.cumsum(per_face) - per_face, per_face)
    corners = first[face_of][:, None] + np.stack([np.zeros_like(within), within + 1, within + 2], axis=1)
    start = np.cumsum(per_face) - per_face
    for face in np.flatnonzero(_concave(points, counts, indices)):
        around = np.arange(first[face], first[face] + counts[face])
        corners[start[face] : start[face] + per_face[face]] = around[
            _ears(_flattened(points[indices[around]]))
        ]
    return corners, face_of


def _concave(points: NDArray[np.floating], counts: Indices, indices: Indices) -> NDArray[np.bool_]:
    """(F,) polygons with a corner that turns against the polygon's own normal."""
    end = np.cumsum(counts)
    following = np.arange(1, int(end[-1]) + 1)
    following[end - 1] = end - counts
    before = np.empty_like(following)
    before[following] = np.arange(len(following))
    here = points[indices]
    ahead, back = points[indices[following]] - here, here - points[indices[before]]
    turn = np.cross(back, ahead)
    face_of = np.repeat(np.arange(len(counts)), counts)
    anchor = points[indices[end - counts]][face_of]
    area = np.cross(here - anchor, points[indices[following]] - anchor)
    normals = np.stack([np.bincount(face_of, area[:, k], len(counts)) for k in range(3)], axis=1)
    length = np.linalg.norm(normals, axis=1)
    against = np.einsum("ij,ij->i", turn, normals[face_of]) < -1e-9 * length[face_of] ** 2
    return np.bincount(face_of, against, len(counts)) > 0


def _flattened(corners: NDArray[np.floating]) -> NDArray[np.float64]:
    """A polygon (n, 3) in its own plane (n, 2), counter-clockwise."""
    normal = np.cross(corners - corners[0], np.roll(corners, -1, axis=0) - corners[0]).sum(axis=0)
    normal /= np.linalg.norm(normal)
    axis = np.eye(3)[np.argmin(np.abs(normal))]
    right = np.cross(axis, normal)
    right /= np.linalg.norm(right)
    return (corners - corners[0]) @ np.stack([right, np.cross(normal, right)], axis=1)


def _ears(polygon: NDArray[np.float64]) -> Indices:
    """(n - 2, 3) triangles of a simple, counter-clockwise polygon (n, 2); Meisters' ears (1975)."""
    left = list(range(len(polygon)))
    triangles = []
    while len(left) > 3:
        for place in range(len(left)):
            a, b, c = left[place - 1], left[place], left[(place + 1) % len(left)]
            others = [corner for corner in left if corner not in (a, b, c)]
            if _is_ear(polygon[a], polygon[b], polygon[c], polygon[others]):
                break
        else:  # it crosses itself: whatever is cut off is as good as anything
            place, (a, b, c) = 1, left[:3]
        triangles.append((a, b, c))
        del left[place]
    return np.array([*triangles, tuple(left)], np.int64)


def _is_ear(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], others: NDArray[np.float64]
) -> bool:
    def side(p: NDArray, q: NDArray, r: NDArray) -> NDArray:
        edge = q - p
        return edge[0] * (r[..., 1] - p[1]) - edge[1] * (r[..., 0] - p[0])

    if side(a, b, c) <= 0:
        return False
    inside = (side(a, b, others) >= 0) & (side(b, c, others) >= 0) & (side(c, a, others) >= 0)
    return not inside.any()
