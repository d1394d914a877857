"""Vertex attributes at the covered pixels."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def interpolate(
    start: int,
    triangles: wp.array[wp.int64],
    barycentrics: wp.array[wp.vec3],
    attributes: wp.array2d[float],
    index: wp.array2d[wp.int64],
    values: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    face = int(triangles[i])
    weight = barycentrics[i]
    a = int(index[face, 0])
    b = int(index[face, 1])
    c = int(index[face, 2])
    for channel in range(attributes.shape[1]):
        values[i, channel] = (
            weight[0] * attributes[a, channel]
            + weight[1] * attributes[b, channel]
            + weight[2] * attributes[c, channel]
        )


@wp.kernel
def interpolate_adjoint_barycentrics(
    start: int,
    triangles: wp.array[wp.int64],
    attributes: wp.array2d[float],
    index: wp.array2d[wp.int64],
    gradient: wp.array2d[float],
    barycentric_gradient: wp.array[wp.vec3],
) -> None:
    i = start + wp.tid()
    face = int(triangles[i])
    a = int(index[face, 0])
    b = int(index[face, 1])
    c = int(index[face, 2])
    total = wp.vec3(0.0, 0.0, 0.0)
    for channel in range(attributes.shape[1]):
        corners = wp.vec3(attributes[a, channel], attributes[b, channel], attributes[c, channel])
        total += corners * gradient[i, channel]
    barycentric_gradient[i] = total


@wp.kernel
def interpolate_adjoint_attributes(
    start: int,
    triangles: wp.array[wp.int64],
    barycentrics: wp.array[wp.vec3],
    index: wp.array2d[wp.int64],
    gradient: wp.array2d[float],
    attribute_gradient: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    face = int(triangles[i])
    for corner in range(3):
        row = int(index[face, corner])
        weight = barycentrics[i][corner]
        for channel in range(gradient.shape[1]):
            wp.atomic_add(attribute_gradient, row, channel, weight * gradient[i, channel])
