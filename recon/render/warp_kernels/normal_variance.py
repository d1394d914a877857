"""How much normals change from pixel to pixel."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

_NONE = 1.0e30


@wp.kernel
def scatter_normals(
    start: int, normals: wp.array[wp.vec3], pixels: wp.array[wp.int64], image: wp.array[wp.vec3]
) -> None:
    i = start + wp.tid()
    image[int(pixels[i])] = normals[i]


@wp.func
def _change(image: wp.array[wp.vec3], pixel: int, neighbor: int, inside: bool) -> float:
    """Squared difference from a neighbor; `_NONE` if that is outside the image or not covered."""
    if not inside:
        return _NONE
    other = image[neighbor]
    if wp.length_sq(other) == 0.0:
        return _NONE
    return wp.length_sq(other - image[pixel])


@wp.func
def _nearest(first: float, second: float) -> float:
    nearest = wp.min(first, second)
    return wp.where(nearest == _NONE, 0.0, nearest)


@wp.kernel
def measure_variance(
    start: int,
    image: wp.array[wp.vec3],
    pixels: wp.array[wp.int64],
    height: int,
    width: int,
    share: float,
    largest: float,
    variance: wp.array2d[float],
) -> None:
    """`share` of the squared change per pixel along both axes, of which at most `largest` counts.

    image: B * height * width normals, zero where nothing is covered.
    """
    i = start + wp.tid()
    pixel = int(pixels[i])
    column = pixel % width
    row = (pixel // width) % height
    across = _nearest(
        _change(image, pixel, pixel - 1, column > 0),
        _change(image, pixel, pixel + 1, column + 1 < width),
    )
    down = _nearest(
        _change(image, pixel, pixel - width, row > 0),
        _change(image, pixel, pixel + width, row + 1 < height),
    )
    variance[i, 0] = share * wp.min(across + down, largest)
