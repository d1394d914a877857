"""The consistency of a surface's normals in one launch; `recon.geometry.laplacian` defines it in torch."""

# ruff: noqa: UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.warp_runtime import launch

wp.set_module_options({"enable_backward": False})

# Doubled area below which a face has no direction, as in `recon.geometry.laplacian`.
_NO_AREA = wp.constant(1.0e-15)

SMALL_BEND = 0.05
"""Radians between two faces from which on a bend is taken for a crease, and counts by its size only."""


class NormalConsistency(torch.autograd.Function):
    """`normal_consistency` of float32 `vertices` for the adjacency `mates` (F, 3) of `edge_mates`."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor, mates: Tensor) -> Tensor:
        vertices = vertices.detach().contiguous()
        values = vertices.new_empty(2, mates.numel())
        launch(measure_bends, len(faces), (vertices, faces, mates, values), vertices.device)
        total, count = values.sum(dim=1).unbind(0)
        ctx.save_for_backward(vertices, faces, mates, count)
        return total / count.clamp(min=1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        vertices, faces, mates, count = ctx.saved_tensors
        gradient = torch.zeros_like(vertices)
        inputs = (vertices, faces, mates, count.reshape(1), upstream.reshape(1), gradient)
        launch(measure_bends_adjoint, len(faces), inputs, vertices.device, parallel=False)
        return gradient, None, None


@wp.func
def face_normal(vertices: wp.array[wp.vec3], faces: wp.array2d[wp.int64], face: int) -> wp.vec3:
    origin = vertices[int(faces[face, 0])]
    return wp.cross(vertices[int(faces[face, 1])] - origin, vertices[int(faces[face, 2])] - origin)


@wp.func
def unit_normal(vertices: wp.array[wp.vec3], faces: wp.array2d[wp.int64], face: int) -> wp.vec3:
    normal = face_normal(vertices, faces, face)
    return normal / wp.max(wp.length(normal), _NO_AREA)


@wp.func
def crease(cosine: float) -> float:
    """sqrt(bend^2 + s^2), bend^2 about 2 (1 - cos) and s = SMALL_BEND."""
    return wp.sqrt(2.0 * wp.max(1.0 - cosine, 0.0) + SMALL_BEND * SMALL_BEND)


@wp.kernel
def measure_bends(
    start: int,
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[wp.int64],
    mates: wp.array2d[int],
    values: wp.array2d[float],
) -> None:
    """values: (2, 3 F), size of the bend and 1 for the lower half-edge of each pair, else zeros."""
    face = start + wp.tid()
    own = unit_normal(vertices, faces, face)
    for side in range(3):
        half_edge = 3 * face + side
        mate = mates[face, side]
        bend = float(0.0)
        counts = float(0.0)
        if mate > half_edge:
            bend = crease(wp.dot(own, unit_normal(vertices, faces, mate // 3))) - SMALL_BEND
            counts = 1.0
        values[0, half_edge] = bend
        values[1, half_edge] = counts


@wp.kernel
def measure_bends_adjoint(
    start: int,
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[wp.int64],
    mates: wp.array2d[int],
    count: wp.array[float],
    upstream: wp.array[float],
    gradient: wp.array[wp.vec3],
) -> None:
    """Each face's own part: the bends at its three edges, seen from here."""
    face = start + wp.tid()
    normal = face_normal(vertices, faces, face)
    length = wp.length(normal)
    if length <= _NO_AREA:
        return
    unit = normal / length
    on_unit = wp.vec3(0.0, 0.0, 0.0)
    for side in range(3):
        mate = mates[face, side]
        if mate >= 0:
            other = unit_normal(vertices, faces, mate // 3)
            on_unit -= other / crease(wp.dot(unit, other))
    on_unit = on_unit * (upstream[0] / wp.max(count[0], 1.0))
    on_normal = (on_unit - unit * wp.dot(unit, on_unit)) / length
    a = int(faces[face, 0])
    b = int(faces[face, 1])
    c = int(faces[face, 2])
    on_b = wp.cross(vertices[c] - vertices[a], on_normal)
    on_c = wp.cross(on_normal, vertices[b] - vertices[a])
    wp.atomic_add(gradient, b, on_b)
    wp.atomic_add(gradient, c, on_c)
    wp.atomic_sub(gradient, a, on_b + on_c)
