"""Marching tetrahedra and the SDF's sign entropy in single passes over the grid.

`recon.geometry.marching_tets` and `recon.geometry.dmtet` define both in torch operations, each of which is a
pass over millions of edges or tetrahedra.
"""

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.geometry.tet_grid import TetGrid
from recon.warp_runtime import launch

wp.set_module_options({"enable_backward": False})

# A surface vertex stays this share of the edge away from its ends.
CLOSEST = 1e-3
# Distances are moved away from zero to at least this, which bounds the gradient of the crossing's place.
SMALLEST_DISTANCE = 1e-6
_CLOSEST = wp.constant(CLOSEST)
_SMALLEST = wp.constant(SMALLEST_DISTANCE)


def mark_crossings(sdf: Tensor, grid: TetGrid, counts: Tensor) -> tuple[Tensor, int, int]:
    """How many mesh vertices and faces the grid's edges and tets give.

    sdf: (V,) float32. counts: (16,) int32 triangles per code of inside corners.
    Returns running totals (E + T,) int32, edges first, and the numbers of mesh vertices and faces: the one
    time that the device is waited for.
    """
    edges, tets = len(grid.edges), len(grid.tets)
    marks = torch.empty(edges + tets, dtype=torch.int32, device=sdf.device)
    launch(
        mark_edges_and_tets, edges + tets, (sdf.detach(), grid.edges, grid.tets, counts, marks), sdf.device
    )
    totals = marks.cumsum(0, dtype=torch.int32)
    if not edges or not tets:
        return totals, 0, 0
    vertices, both = totals[edges - 1 :: tets].tolist()
    return totals, vertices, both - vertices


class Crossings(torch.autograd.Function):
    """(N, 3) mesh vertices, differentiable in `positions` and `sdf`, and (F, 3) int64 faces."""

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        sdf: Tensor,
        grid: TetGrid,
        totals: Tensor,
        sizes: tuple[int, int],
        tables: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        positions, sdf = positions.detach().contiguous(), sdf.detach().contiguous()
        vertices = positions.new_empty(sizes[0], 3)
        crossed = torch.empty(sizes[0], 2, dtype=torch.int32, device=sdf.device)
        faces = torch.empty(sizes[1], 3, dtype=torch.int64, device=sdf.device)
        inputs = (positions, sdf, grid.edges, grid.tets, grid.tet_edges, *tables, totals)
        launch(write_surface, len(totals), (*inputs, vertices, crossed, faces), sdf.device)
        ctx.save_for_backward(positions, sdf, crossed)
        ctx.mark_non_differentiable(faces)
        ctx.set_materialize_grads(False)
        return vertices, faces

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        if upstream is None:
            return (None,) * 6
        positions, sdf, crossed = ctx.saved_tensors
        position_gradient, sdf_gradient = torch.zeros_like(positions), torch.zeros_like(sdf)
        inputs = (positions, sdf, crossed, upstream.contiguous(), position_gradient, sdf_gradient)
        launch(crossings_adjoint, len(crossed), inputs, sdf.device, parallel=False)
        return position_gradient, sdf_gradient, None, None, None, None


class SignEntropy(torch.autograd.Function):
    """`sdf_sign_regularizer` of a float32 `sdf`."""

    @staticmethod
    def forward(ctx: Any, sdf: Tensor, edges: Tensor) -> Tensor:
        sdf = sdf.detach().contiguous()
        values = sdf.new_empty(2, len(edges))
        launch(measure_disagreement, len(edges), (sdf, edges, values), sdf.device)
        total, count = values.sum(dim=1).unbind(0)
        ctx.save_for_backward(sdf, edges, count)
        return total / count.clamp(min=1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        sdf, edges, count = ctx.saved_tensors
        gradient = torch.zeros_like(sdf)
        inputs = (sdf, edges, count.reshape(1), upstream.reshape(1), gradient)
        launch(measure_disagreement_adjoint, len(edges), inputs, sdf.device, parallel=False)
        return gradient, None


@wp.func
def inside_code(sdf: wp.array[float], tets: wp.array2d[wp.int64], tet: int) -> int:
    """Which corners are inside, corner i as bit i."""
    code = int(0)  # noqa: RUF046, UP018 - a loop overwrites it, so it must be a variable to Warp
    for corner in range(4):
        if sdf[int(tets[tet, corner])] < 0.0:
            code += 1 << corner
    return code


@wp.kernel
def mark_edges_and_tets(
    start: int,
    sdf: wp.array[float],
    edges: wp.array2d[wp.int64],
    tets: wp.array2d[wp.int64],
    counts: wp.array[int],
    marks: wp.array[int],
) -> None:
    i = start + wp.tid()
    tet = i - edges.shape[0]
    mark = int(0)  # noqa: RUF046, UP018
    if tet >= 0:
        mark = counts[inside_code(sdf, tets, tet)]
    elif (sdf[int(edges[i, 0])] < 0.0) != (sdf[int(edges[i, 1])] < 0.0):
        mark = 1
    marks[i] = mark


@wp.func
def nudged(distance: float) -> float:
    """Away from zero, which bounds the gradient of the crossing's place."""
    if wp.abs(distance) < _SMALLEST:
        if distance < 0.0:
            return -_SMALLEST
        return _SMALLEST
    return distance


@wp.kernel
def write_surface(
    start: int,
    positions: wp.array[wp.vec3],
    sdf: wp.array[float],
    edges: wp.array2d[wp.int64],
    tets: wp.array2d[wp.int64],
    tet_edges: wp.array2d[wp.int64],
    triangles: wp.array2d[int],
    counts: wp.array[int],
    totals: wp.array[int],
    vertices: wp.array[wp.vec3],
    crossed: wp.array2d[int],
    faces: wp.array2d[wp.int64],
) -> None:
    i = start + wp.tid()
    edge_count = edges.shape[0]
    tet = i - edge_count
    if tet >= 0:
        code = inside_code(sdf, tets, tet)
        count = counts[code]
        row = totals[i] - totals[edge_count - 1] - count
        for k in range(3 * count):
            edge = int(tet_edges[tet, triangles[code, k]])
            faces[row + k // 3, k % 3] = wp.int64(totals[edge] - 1)
        return
    a = int(edges[i, 0])
    b = int(edges[i, 1])
    if (sdf[a] < 0.0) != (sdf[b] < 0.0):
        row = totals[i] - 1
        from_a = nudged(sdf[a])
        share = wp.clamp(from_a / (from_a - nudged(sdf[b])), _CLOSEST, 1.0 - _CLOSEST)
        vertices[row] = positions[a] + (positions[b] - positions[a]) * share
        crossed[row, 0] = a
        crossed[row, 1] = b


@wp.kernel
def crossings_adjoint(
    start: int,
    positions: wp.array[wp.vec3],
    sdf: wp.array[float],
    crossed: wp.array2d[int],
    upstream: wp.array[wp.vec3],
    position_gradient: wp.array[wp.vec3],
    sdf_gradient: wp.array[float],
) -> None:
    """Both nudges pass the gradient on, so that a vertex at a limit is not stuck there."""
    i = start + wp.tid()
    a = crossed[i, 0]
    b = crossed[i, 1]
    from_a = nudged(sdf[a])
    from_b = nudged(sdf[b])
    difference = from_a - from_b
    free = from_a / difference
    share = wp.clamp(free, _CLOSEST, 1.0 - _CLOSEST)
    wp.atomic_add(position_gradient, a, upstream[i] * (1.0 - share))
    wp.atomic_add(position_gradient, b, upstream[i] * share)
    along = wp.dot(upstream[i], positions[b] - positions[a])
    wp.atomic_add(sdf_gradient, a, along * (1.0 - free) / difference)
    wp.atomic_add(sdf_gradient, b, along * free / difference)


@wp.func
def entropy(value: float, positive: bool) -> float:
    """Cross-entropy of sigmoid(value) against being positive, without overflow."""
    signed = value
    if not positive:
        signed = -value
    return wp.max(-signed, 0.0) + wp.log(1.0 + wp.exp(-wp.abs(signed)))


@wp.func
def entropy_slope(value: float, positive: bool) -> float:
    sigmoid = 1.0 / (1.0 + wp.exp(-value))
    if positive:
        return sigmoid - 1.0
    return sigmoid


@wp.kernel
def measure_disagreement(
    start: int, sdf: wp.array[float], edges: wp.array2d[wp.int64], values: wp.array2d[float]
) -> None:
    """values: (2, E), both ends' entropies and 1 where the ends differ in sign, else zeros."""
    i = start + wp.tid()
    a = sdf[int(edges[i, 0])]
    b = sdf[int(edges[i, 1])]
    value = float(0.0)  # noqa: UP018
    differs = float(0.0)  # noqa: UP018
    if (a > 0.0) != (b > 0.0):
        value = entropy(a, b > 0.0) + entropy(b, a > 0.0)
        differs = 1.0
    values[0, i] = value
    values[1, i] = differs


@wp.kernel
def measure_disagreement_adjoint(
    start: int,
    sdf: wp.array[float],
    edges: wp.array2d[wp.int64],
    count: wp.array[float],
    upstream: wp.array[float],
    gradient: wp.array[float],
) -> None:
    i = start + wp.tid()
    first = int(edges[i, 0])
    second = int(edges[i, 1])
    a = sdf[first]
    b = sdf[second]
    if (a > 0.0) != (b > 0.0):
        scale = upstream[0] / wp.max(count[0], 1.0)
        wp.atomic_add(gradient, first, scale * entropy_slope(a, b > 0.0))
        wp.atomic_add(gradient, second, scale * entropy_slope(b, a > 0.0))
