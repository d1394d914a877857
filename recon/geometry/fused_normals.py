"""Vertex normals and tangent frames of a mesh, in a launch per pass over its faces or vertices.

`recon.geometry.mesh` defines both in torch operations, each of which is a launch of its own.
"""

# ruff: noqa: UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.warp_runtime import launch

wp.set_module_options({"enable_backward": False})

# Squared length below which a direction is rounding noise, as in `recon.geometry.mesh`.
_TINY_SQUARED = wp.constant(1.0e-30)


class SmoothNormals(torch.autograd.Function):
    """(V, 3) `smooth_normals` of float32 `vertices`, differentiable once."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor) -> Tensor:
        vertices = vertices.detach().contiguous()
        sums, normals = torch.zeros_like(vertices), torch.empty_like(vertices)
        launch(sum_face_normals, len(faces), (vertices, faces, sums), vertices.device, parallel=False)
        launch(scale_to_unit, len(vertices), (sums, normals), vertices.device)
        ctx.save_for_backward(vertices, faces, sums)
        return normals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        vertices, faces, sums = ctx.saved_tensors
        gradient = torch.zeros_like(vertices)
        inputs = (vertices, faces, sums, upstream.contiguous(), gradient)
        launch(smooth_normals_adjoint, len(faces), inputs, vertices.device, parallel=False)
        return gradient, None


def fused_tangent_frames(
    surface: tuple[Tensor, Tensor],
    uvs: tuple[Tensor, Tensor],
    normals: tuple[Tensor, Tensor],
    groups: tuple[Tensor, Tensor, Tensor, Tensor],
) -> Tensor:
    """(G, 4) `tangent_frames` of float32 values, without a gradient.

    surface, uvs, normals: values and the (F, 3) rows of each corner. groups: corners, signs, weights, first.
    """
    (vertices, faces), (uv, uv_faces), (normal, normal_faces) = (
        (values.detach().contiguous(), index) for values, index in (surface, uvs, normals)
    )
    corners, signs, weights, first = groups
    sums = vertices.new_zeros(len(signs), 3)
    frames = vertices.new_empty(len(signs), 4)
    inputs = (vertices, faces, uv, uv_faces, normal, normal_faces, corners, weights, sums)
    launch(sum_tangents, len(faces), inputs, vertices.device, parallel=False)
    launch(finish_tangents, len(signs), (sums, normal, normal_faces, signs, first, frames), vertices.device)
    return frames


@wp.kernel
def sum_face_normals(
    start: int, vertices: wp.array[wp.vec3], faces: wp.array2d[wp.int64], sums: wp.array[wp.vec3]
) -> None:
    """A triangle's cross product is twice its area times its normal."""
    face = start + wp.tid()
    a = int(faces[face, 0])
    b = int(faces[face, 1])
    c = int(faces[face, 2])
    normal = wp.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
    wp.atomic_add(sums, a, normal)
    wp.atomic_add(sums, b, normal)
    wp.atomic_add(sums, c, normal)


@wp.kernel
def scale_to_unit(start: int, sums: wp.array[wp.vec3], normals: wp.array[wp.vec3]) -> None:
    i = start + wp.tid()
    squared = wp.dot(sums[i], sums[i])
    normal = wp.vec3(0.0, 0.0, 1.0)
    if squared > _TINY_SQUARED:
        normal = sums[i] / wp.sqrt(squared)
    normals[i] = normal


@wp.func
def sum_gradient(total: wp.vec3, upstream: wp.vec3) -> wp.vec3:
    """Gradient of a sum of face normals, from that of its direction."""
    squared = wp.dot(total, total)
    if squared <= _TINY_SQUARED:
        return wp.vec3(0.0, 0.0, 0.0)
    length = wp.sqrt(squared)
    unit = total / length
    return (upstream - unit * wp.dot(unit, upstream)) / length


@wp.kernel
def smooth_normals_adjoint(
    start: int,
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[wp.int64],
    sums: wp.array[wp.vec3],
    upstream: wp.array[wp.vec3],
    gradient: wp.array[wp.vec3],
) -> None:
    face = start + wp.tid()
    a = int(faces[face, 0])
    b = int(faces[face, 1])
    c = int(faces[face, 2])
    on_normal = sum_gradient(sums[a], upstream[a])
    on_normal += sum_gradient(sums[b], upstream[b])
    on_normal += sum_gradient(sums[c], upstream[c])
    on_b = wp.cross(vertices[c] - vertices[a], on_normal)
    on_c = wp.cross(on_normal, vertices[b] - vertices[a])
    wp.atomic_add(gradient, b, on_b)
    wp.atomic_add(gradient, c, on_c)
    wp.atomic_sub(gradient, a, on_b + on_c)


@wp.func
def unit_or_zero(vector: wp.vec3) -> wp.vec3:
    squared = wp.dot(vector, vector)
    if squared <= _TINY_SQUARED:
        return wp.vec3(0.0, 0.0, 0.0)
    return vector / wp.sqrt(squared)


@wp.func
def reject(vector: wp.vec3, normal: wp.vec3) -> wp.vec3:
    return vector - normal * wp.dot(vector, normal)


@wp.kernel
def sum_tangents(
    start: int,
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[wp.int64],
    uvs: wp.array[wp.vec2],
    uv_faces: wp.array2d[wp.int64],
    normals: wp.array[wp.vec3],
    normal_faces: wp.array2d[wp.int64],
    corners: wp.array2d[wp.int64],
    weights: wp.array[float],
    sums: wp.array[wp.vec3],
) -> None:
    """Each corner's tangent, weighted by its angle, into the sum of the corner's group."""
    face = start + wp.tid()
    origin = vertices[int(faces[face, 0])]
    edge1 = vertices[int(faces[face, 1])] - origin
    edge2 = vertices[int(faces[face, 2])] - origin
    uv_origin = uvs[int(uv_faces[face, 0])]
    uv1 = uvs[int(uv_faces[face, 1])] - uv_origin
    uv2 = uvs[int(uv_faces[face, 2])] - uv_origin
    area = uv1[0] * uv2[1] - uv1[1] * uv2[0]
    sign = float(0.0)
    if area > 0.0:
        sign = 1.0
    if area < 0.0:
        sign = -1.0
    direction = unit_or_zero((edge1 * uv2[1] - edge2 * uv1[1]) * sign)
    for corner in range(3):
        normal = normals[int(normal_faces[face, corner])]
        here = vertices[int(faces[face, corner])]
        after = reject(vertices[int(faces[face, (corner + 1) % 3])] - here, normal)
        before = reject(vertices[int(faces[face, (corner + 2) % 3])] - here, normal)
        cross = wp.cross(after, before)
        squared = wp.dot(cross, cross)
        angle = float(0.0)
        if squared > _TINY_SQUARED:
            angle = wp.atan2(wp.sqrt(squared), wp.dot(after, before))
        tangent = unit_or_zero(reject(direction, normal))
        wp.atomic_add(sums, int(corners[face, corner]), tangent * (angle * weights[face]))


@wp.kernel
def finish_tangents(
    start: int,
    sums: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    normal_faces: wp.array2d[wp.int64],
    signs: wp.array[float],
    first: wp.array[wp.int64],
    frames: wp.array[wp.vec4],
) -> None:
    """Groups that no uv gives a tangent get one at right angles to their normal."""
    group = start + wp.tid()
    tangent = unit_or_zero(sums[group])
    if tangent == wp.vec3(0.0, 0.0, 0.0):
        corner = int(first[group])
        normal = normals[int(normal_faces[corner // 3, corner % 3])]
        axis = wp.vec3(1.0, 0.0, 0.0)
        if wp.abs(normal[0]) >= 0.9:
            axis = wp.vec3(0.0, 1.0, 0.0)
        tangent = wp.normalize(reject(axis, normal))
    frames[group] = wp.vec4(tangent[0], tangent[1], tangent[2], signs[group])
