"""Marching tetrahedra: the zero level of a signed distance on a tetrahedral grid, as triangles.

Differentiable in the grid's vertices and distances, as DMTet (Shen et al. 2021, section 3.1.3) needs it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from recon.geometry.fused_tets import CLOSEST, SMALLEST_DISTANCE, Crossings, mark_crossings
from recon.geometry.tet_grid import TetGrid
from usd_tools.errors import UserError


class EmptySurfaceError(UserError):
    """The signed distance has one sign everywhere, so there is no surface."""


def marching_tets(vertices: Tensor, sdf: Tensor, grid: TetGrid) -> tuple[Tensor, Tensor]:
    """Extracts the surface where the signed distance changes sign.

    vertices: (V, 3) positions of the grid's vertices, perhaps deformed. sdf: (V,) signed distance, negative
    inside; only ratios between neighbours matter, so any unit does.

    Returns mesh vertices (N, 3), differentiable in `vertices` and `sdf`, and faces (F, 3) int64,
    counter-clockwise seen from outside. Each grid edge with a sign change gives one vertex. Every mesh edge
    is shared by exactly two faces, save where the surface runs into the grid's border. The topology itself
    is not differentiable.

    A surface vertex stays a small share of its edge away from the ends: a distance of exactly zero would put
    all those around a grid vertex in one place, and their triangles would have no area.

    Raises EmptySurfaceError if no edge changes sign.
    """
    if sdf.dtype != torch.float32:
        return defined_marching_tets(vertices, sdf, grid)
    triangles, counts = _tables(sdf.device)
    totals, points, faces = mark_crossings(sdf, grid, counts)
    if points == 0:
        raise _no_surface(sdf)
    return Crossings.apply(vertices, sdf, grid, totals, (points, faces), (triangles, counts))


def defined_marching_tets(vertices: Tensor, sdf: Tensor, grid: TetGrid) -> tuple[Tensor, Tensor]:
    """`marching_tets` of any type, in torch operations; its faces are in another order."""
    inside = sdf < 0
    crossed = inside[grid.edges[:, 0]] != inside[grid.edges[:, 1]]
    crossings = crossed.nonzero()[:, 0]
    if len(crossings) == 0:
        raise _no_surface(sdf)
    mesh_vertices = _crossing_points(vertices, sdf, grid.edges[crossings])

    numbers = crossed.cumsum(0) - 1
    triangles, counts = _tables(sdf.device)
    code = _codes(inside, grid.tets)
    faces = []
    for count in (1, 2):
        active = (counts[code] == count).nonzero()[:, 0]
        edges = numbers[grid.tet_edges[active]]
        corners = triangles[code[active], : 3 * count].long()
        faces.append(edges.gather(1, corners).view(-1, 3))
    return mesh_vertices, torch.cat(faces)


def _no_surface(sdf: Tensor) -> EmptySurfaceError:
    where = "inside" if bool(sdf[0] < 0) else "outside"
    return EmptySurfaceError(
        f"marching_tets: no surface, the signed distance calls all {len(sdf)} grid vertices {where}; "
        "check the masks and the learning rate of the geometry, or start from another initialization"
    )


def _codes(inside: Tensor, tets: Tensor) -> Tensor:
    """(T,) which corners are inside, corner i as bit i."""
    bits = inside.to(torch.int32)
    a, b, c, d = (bits[tets[:, i]] for i in range(4))
    return a + 2 * b + 4 * c + 8 * d


def _crossing_points(vertices: Tensor, sdf: Tensor, edges: Tensor) -> Tensor:
    """(N, 3) points where the distance, linear along each edge (N, 2), is zero."""
    ends = edges.T.reshape(-1)
    start, end = vertices.index_select(0, ends).view(2, -1, 3).unbind(0)
    distance = sdf.index_select(0, ends)
    # Both nudges move the value and pass the gradient on, so that a vertex at the limit is not stuck there.
    smallest = torch.where(distance < 0, -SMALLEST_DISTANCE, SMALLEST_DISTANCE)
    nudged = torch.where(distance.abs() < SMALLEST_DISTANCE, smallest, distance)
    distance_start, distance_end = (distance + (nudged - distance).detach()).view(2, -1).unbind(0)
    share = distance_start / (distance_start - distance_end)
    share = share + (share.clamp(CLOSEST, 1 - CLOSEST) - share).detach()
    return start + share[:, None] * (end - start)


@lru_cache(maxsize=8)
def _tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Triangles (16, 6), as rows of a tet's six edges, and their count (16,), per code of inside corners."""
    triangles, counts = build_tables()
    return torch.from_numpy(triangles).int().to(device), torch.from_numpy(counts).int().to(device)


def build_tables() -> tuple[np.ndarray, np.ndarray]:
    """Derives the tables of `_tables` from a positively oriented tet, by geometry rather than by list.

    One corner apart from the others: a triangle across its three edges. Two and two: a quadrilateral, whose
    corners in turn share a tet corner. Either is turned so that its normal points from inside to outside.
    """
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    edge_of = {}
    for number, pair in enumerate(((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))):
        edge_of[pair] = edge_of[pair[::-1]] = number
    triangles = np.zeros((16, 6), np.int8)
    counts = np.zeros(16, np.int8)
    for code in range(1, 15):
        inside = [i for i in range(4) if code >> i & 1]
        outside = [i for i in range(4) if not code >> i & 1]
        if len(inside) == 2:
            (i, j), (k, m) = inside, outside
            loop = [(i, k), (i, m), (j, m), (j, k)]
        else:
            loop = [(i, o) for i in inside for o in outside]
        middles = np.array([(corners[i] + corners[o]) / 2 for i, o in loop])
        outward = corners[outside].mean(0) - corners[inside].mean(0)
        if np.dot(np.cross(middles[1] - middles[0], middles[2] - middles[0]), outward) < 0:
            loop.reverse()
        polygon = [edge_of[pair] for pair in loop]
        fan = [polygon[:3], [polygon[0], polygon[2], polygon[3]]] if len(polygon) == 4 else [polygon]
        counts[code] = len(fan)
        triangles[code, : 3 * len(fan)] = np.concatenate(fan)
    return triangles, counts
