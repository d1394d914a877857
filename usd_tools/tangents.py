"""Tangents by the MikkTSpace convention, which normal maps are baked and shown with.

Written from the published description (Mikkelsen, "Simulation of Wrinkled Surfaces Revisited", 2008, chapter
3, and mikktspace.com): corners share a tangent when they agree in position, texture coordinate, normal and
uv orientation and their faces are connected across shared edges; a shared tangent is the angle-weighted mean
of the faces' tangents, each projected into the plane of the normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from usd_tools.errors import UserError
from usd_tools.mesh_topology import connected, value_ids
from usd_tools.obj import ObjMesh

_Index = NDArray[np.integer]


@dataclass(frozen=True)
class TangentGroups:
    """Which corners share a tangent; fixed for a topology and its uvs, however the vertices move.

    corners: (F, 3) int64, the group of each corner, in [0, G).
    signs: (G,) float64, +1 where (u, v) runs counter-clockwise seen from outside, -1 where it is mirrored.
    weights: (F,) float64, 1 for faces that define a tangent, 0 for those of no area in space or uv.
    """

    corners: _Index
    signs: NDArray[np.float64]
    weights: NDArray[np.float64]


def tangent_groups(
    faces: _Index,
    uv_faces: _Index,
    normal_faces: _Index,
    uvs: NDArray[np.floating],
    vertices: NDArray[np.floating],
    normals: NDArray[np.floating] | None = None,
) -> TangentGroups:
    """Groups the corners of a mesh that share a MikkTSpace tangent.

    faces, uv_faces, normal_faces: (F, 3) rows of vertices (V, 3), uvs (T, 2) and normals (K, 3).
    normals: given, corners are welded by the normals' values; None welds them by row of `normal_faces`
        (for normals that will still change).

    Positions and uvs are welded by value. A face without uv area takes the orientation, and so the tangent,
    of its neighbours; one without area in space takes the tangent of another face at the same corner.
    """
    count = len(faces)
    position_ids = value_ids(vertices)[faces]
    uv_ids = value_ids(uvs)[uv_faces]
    normal_ids = normal_faces if normals is None else value_ids(normals)[normal_faces]
    keys = np.stack([position_ids, uv_ids, normal_ids], axis=-1).reshape(-1, 3)
    wedges = np.unique(keys, axis=0, return_inverse=True)[1].reshape(count, 3)

    area = _uv_area(uvs, uv_faces)
    # As MikkTSpace: a face with two corners in one place takes no part in connecting its neighbours.
    solid = (position_ids != np.roll(position_ids, 1, axis=1)).all(axis=1)
    weights = (solid & (area != 0)).astype(np.float64)

    here, there, here_corner, there_corner = _shared_edges(wedges, solid)
    orientation = np.where(weights > 0, np.sign(area), 0).astype(np.int64)
    _spread_orientation(orientation, here, there)

    same = orientation[here] == orientation[there]
    labels = connected(3 * count, here_corner[same].ravel(), there_corner[same].ravel())
    labels = _adopt_solid(labels, wedges.ravel(), np.repeat(solid, 3))
    groups, corners = np.unique(labels, return_inverse=True)
    signs = np.where(orientation[groups // 3] < 0, -1.0, 1.0)
    return TangentGroups(corners.reshape(count, 3).astype(np.int64), signs, weights)


def mikk_tangents(mesh: ObjMesh) -> tuple[NDArray[np.float64], _Index]:
    """Tangents (M, 4), xyz of unit length and the bitangent's sign, and their rows (F, 3) per corner.

    The bitangent is `sign * cross(normal, tangent)`. A mesh without normals gets area-weighted smooth ones.
    Raises UserError for a mesh without texture coordinates.
    """
    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError("mesh: expected texture coordinates to derive tangents from; unwrap it first")
    vertices = np.asarray(mesh.vertices, np.float64)
    uvs = np.asarray(mesh.uvs, np.float64)
    if mesh.normals is None or mesh.normal_faces is None:
        normals, normal_faces = _smooth_normals(vertices, mesh.faces), mesh.faces
    else:
        normals, normal_faces = _unit(np.asarray(mesh.normals, np.float64)), mesh.normal_faces
    groups = tangent_groups(mesh.faces, mesh.uv_faces, normal_faces, uvs, vertices, normals)

    corners = vertices[mesh.faces]
    corner_normals = normals[normal_faces]
    direction = _face_tangents(corners, uvs[mesh.uv_faces])[:, None]
    projected = _unit(direction - (direction * corner_normals).sum(-1, keepdims=True) * corner_normals)
    weight = _corner_angles(corners, corner_normals) * groups.weights[:, None]

    tangents = np.zeros((len(groups.signs), 3))
    np.add.at(tangents, groups.corners.ravel(), (projected * weight[..., None]).reshape(-1, 3))
    group_normals = np.zeros_like(tangents)
    group_normals[groups.corners.ravel()] = corner_normals.reshape(-1, 3)
    lost = np.linalg.norm(tangents, axis=1) < 1e-12
    tangents[lost] = any_perpendicular(group_normals[lost])
    return np.concatenate([_unit(tangents), groups.signs[:, None]], axis=1), groups.corners


def any_perpendicular(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) directions at right angles to `normals` (N, 3); for corners where uvs define no tangent."""
    axis = np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    return _unit(axis - (axis * normals).sum(1, keepdims=True) * normals)


def _face_tangents(corners: NDArray[np.float64], uvs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F, 3) unit direction in which u grows over each triangle, zero where uv has no area."""
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    uv1, uv2 = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    area = uv1[:, 0] * uv2[:, 1] - uv1[:, 1] * uv2[:, 0]
    return _unit(np.sign(area)[:, None] * (edge1 * uv2[:, 1:] - edge2 * uv1[:, 1:]))


def _corner_angles(corners: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F, 3) angle at each corner between its two edges, seen along the corner's normal."""
    after = np.roll(corners, -1, axis=1) - corners
    before = np.roll(corners, 1, axis=1) - corners
    after = after - (after * normals).sum(-1, keepdims=True) * normals
    before = before - (before * normals).sum(-1, keepdims=True) * normals
    sine = np.linalg.norm(np.cross(after, before), axis=-1)
    return np.arctan2(sine, (after * before).sum(-1))


def _smooth_normals(vertices: NDArray[np.float64], faces: _Index) -> NDArray[np.float64]:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    weighted = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normals, faces[:, i], weighted)
    return _unit(normals)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """`vectors` scaled to length 1; zero ones stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def _uv_area(uvs: NDArray[np.floating], uv_faces: _Index) -> NDArray[np.floating]:
    a, b, c = (uvs[uv_faces[:, i]] for i in range(3))
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _shared_edges(wedges: _Index, solid: NDArray[np.bool_]) -> tuple[_Index, _Index, _Index, _Index]:
    """Pairs of faces that run along one edge in opposite directions.

    Returns the faces (E,) on either side and the flat corners (E, 2) that meet at the edge's two ends. Where
    more than two faces share an edge, they are paired in order of their number.
    """
    face = np.repeat(np.flatnonzero(solid), 3)
    side = np.tile(np.arange(3), int(solid.sum()))
    start, end = wedges[face, side], wedges[face, (side + 1) % 3]
    low, high = np.minimum(start, end), np.maximum(start, end)
    backward = (start > end).astype(np.int64)
    order = np.lexsort((face, backward, high, low))
    key = np.stack([low, high, backward], axis=1)[order]
    first = np.ones(len(key), bool)
    first[1:] = (key[1:] != key[:-1]).any(axis=1)
    # Rank of each half-edge among those with the same ends and direction.
    begin = np.flatnonzero(first)
    rank = np.arange(len(key)) - begin[np.cumsum(first) - 1]

    full = np.concatenate([key[:, :2], rank[:, None], key[:, 2:]], axis=1)
    pairing = np.lexsort(full.T[::-1])
    full, half_edge = full[pairing], order[pairing]
    match = np.flatnonzero((full[1:, :3] == full[:-1, :3]).all(axis=1))
    one, two = half_edge[match], half_edge[match + 1]

    def ends(half: _Index, flip: bool) -> _Index:
        corners = np.stack([3 * face[half] + side[half], 3 * face[half] + (side[half] + 1) % 3], axis=1)
        return corners[:, ::-1] if flip else corners

    return face[one], face[two], ends(one, False), ends(two, True)


def _spread_orientation(orientation: _Index, here: _Index, there: _Index) -> None:
    """Gives faces without uv orientation (0) that of an oriented neighbour, ring by ring, in place."""
    a, b = np.concatenate([here, there]), np.concatenate([there, here])
    while True:
        gain = np.flatnonzero((orientation[a] == 0) & (orientation[b] != 0))
        if not len(gain):
            return
        # Of several neighbours the one with the lowest face number decides, so the result is repeatable.
        gain = gain[np.argsort(-b[gain], kind="stable")]
        orientation[a[gain]] = orientation[b[gain]]


def _adopt_solid(labels: _Index, wedges: _Index, solid: NDArray[np.bool_]) -> _Index:
    """Lets corners of faces without area share the group of a solid face's corner on the same wedge."""
    donor = np.full(int(wedges.max(initial=-1)) + 1, -1)
    corners = np.flatnonzero(solid)[::-1]  # reversed: the first corner of a wedge is written last, and stays
    donor[wedges[corners]] = labels[corners]
    adopted = donor[wedges]
    return np.where(solid | (adopted < 0), labels, adopted)
