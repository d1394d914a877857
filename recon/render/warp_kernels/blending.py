"""Blends a list of pixels with neighbours: out[target] += weight * (image[other] - image[target])."""

# ruff: noqa: UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def blend_pairs(
    start: int,
    targets: wp.array[wp.int64],
    others: wp.array[wp.int64],
    weights: wp.array[float],
    image: wp.array2d[float],
    blended: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    target = int(targets[i])
    other = int(others[i])
    for channel in range(image.shape[1]):
        difference = image[other, channel] - image[target, channel]
        wp.atomic_add(blended, target, channel, weights[i] * difference)


@wp.kernel
def blend_pairs_adjoint(
    start: int,
    targets: wp.array[wp.int64],
    others: wp.array[wp.int64],
    weights: wp.array[float],
    image: wp.array2d[float],
    gradient: wp.array2d[float],
    image_gradient: wp.array2d[float],
    weight_gradient: wp.array[float],
) -> None:
    """image_gradient comes in as a copy of `gradient` (the part of `blended` that is `image` itself)."""
    i = start + wp.tid()
    target = int(targets[i])
    other = int(others[i])
    total = float(0.0)
    for channel in range(image.shape[1]):
        upstream = gradient[target, channel]
        total += upstream * (image[other, channel] - image[target, channel])
        wp.atomic_add(image_gradient, other, channel, weights[i] * upstream)
        wp.atomic_sub(image_gradient, target, channel, weights[i] * upstream)
    weight_gradient[i] = total
