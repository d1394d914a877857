"""Blends pixels with neighbours: out[target] += weight * (image[other] - image[target]).

Crossings are dense: a position per covered pixel and direction, negative where there is none. Past the
midpoint between the two centres the nearer surface covers part of its neighbour; before it, the reverse.
"""

# ruff: noqa: UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

import warp as wp

from recon.render.warp_kernels.silhouettes import crossing_adjoint, step_along

wp.set_module_options({"enable_backward": False})


@wp.func
def neighbor_of(pixel: int, direction: int, width: int) -> int:
    step = step_along(direction)
    return pixel + step[1] * width + step[0]


@wp.kernel
def blend_pairs(
    start: int,
    pixels: wp.array[wp.int64],
    positions: wp.array2d[float],
    axis: int,
    width: int,
    image: wp.array2d[float],
    blended: wp.array2d[float],
) -> None:
    """axis: 0 for pairs side by side, 1 for pairs above each other. blended: at first a copy of `image`."""
    i = start + wp.tid()
    pixel = int(pixels[i])
    for side in range(2):
        direction = 2 * axis + side
        position = positions[i, direction]
        if position >= 0.0:
            target = pixel
            other = neighbor_of(pixel, direction, width)
            if position > 0.5:
                target = other
                other = pixel
            weight = wp.abs(position - 0.5)
            for channel in range(image.shape[1]):
                difference = image[other, channel] - image[target, channel]
                wp.atomic_add(blended, target, channel, weight * difference)


@wp.kernel
def blend_pairs_adjoint(
    start: int,
    pixels: wp.array[wp.int64],
    positions: wp.array2d[float],
    edges: wp.array2d[wp.vec2i],
    axis: int,
    vertices: wp.array[wp.vec3],
    poses: wp.array[wp.mat44],
    focals: wp.array[wp.vec2],
    principals: wp.array[wp.vec2],
    height: int,
    width: int,
    image: wp.array2d[float],
    gradient: wp.array2d[float],
    image_gradient: wp.array2d[float],
    vertex_gradient: wp.array[wp.vec3],
) -> None:
    """image_gradient comes in as a copy of `gradient` (the part of `blended` that is `image` itself)."""
    i = start + wp.tid()
    pixel = int(pixels[i])
    for side in range(2):
        direction = 2 * axis + side
        position = positions[i, direction]
        if position >= 0.0:
            target = pixel
            other = neighbor_of(pixel, direction, width)
            sign = float(-1.0)
            if position > 0.5:
                target = other
                other = pixel
                sign = 1.0
            weight = wp.abs(position - 0.5)
            total = float(0.0)
            for channel in range(image.shape[1]):
                upstream = gradient[target, channel]
                total += upstream * (image[other, channel] - image[target, channel])
                wp.atomic_add(image_gradient, other, channel, weight * upstream)
                wp.atomic_sub(image_gradient, target, channel, weight * upstream)
            view = pixel // (height * width)
            row = pixel // width - view * height
            ends = edges[i, direction]
            crossing_adjoint(
                vertices,
                ends[0],
                ends[1],
                poses[view],
                focals[view],
                principals[view],
                pixel % width,
                row,
                direction,
                sign * total,
                vertex_gradient,
            )
