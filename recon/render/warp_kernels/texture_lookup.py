"""One mip level's share of a trilinear texture lookup with repeat addressing.

Level l has the weight max(0, 1 - |lambda - l|), where lambda is the wanted, fractional level; launching
level by level keeps the chain as separate tensors, without packing it into one buffer on every call.
"""

# ruff: noqa: RUF046, UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def wrapped_texels(coordinate: float, size: int) -> tuple[int, int, float]:
    """The two texels around a coordinate (in image widths, any value) and the position between them."""
    place = (coordinate - wp.floor(coordinate)) * float(size) - 0.5
    base = wp.floor(place)
    lower = int(0)
    if wp.isfinite(base):  # a NaN coordinate makes a NaN value, not a wild index
        lower = (int(base) + size) % size
    return lower, (lower + 1) % size, place - base


@wp.kernel
def lookup_level(
    start: int,
    uv: wp.array[wp.vec2],
    wanted: wp.array[float],
    level: float,
    texels: wp.array3d[float],
    values: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    share = 1.0 - wp.abs(wanted[i] - level)
    if share <= 0.0:
        return
    x0, x1, fx = wrapped_texels(uv[i][0], texels.shape[1])
    y0, y1, fy = wrapped_texels(1.0 - uv[i][1], texels.shape[0])
    for channel in range(texels.shape[2]):
        upper = (1.0 - fx) * texels[y0, x0, channel] + fx * texels[y0, x1, channel]
        lower = (1.0 - fx) * texels[y1, x0, channel] + fx * texels[y1, x1, channel]
        values[i, channel] = values[i, channel] + share * ((1.0 - fy) * upper + fy * lower)


@wp.kernel
def lookup_level_adjoint_texels(
    start: int,
    uv: wp.array[wp.vec2],
    wanted: wp.array[float],
    level: float,
    gradient: wp.array2d[float],
    texel_gradient: wp.array3d[float],
) -> None:
    i = start + wp.tid()
    share = 1.0 - wp.abs(wanted[i] - level)
    if share <= 0.0:
        return
    x0, x1, fx = wrapped_texels(uv[i][0], texel_gradient.shape[1])
    y0, y1, fy = wrapped_texels(1.0 - uv[i][1], texel_gradient.shape[0])
    for channel in range(texel_gradient.shape[2]):
        upper = share * (1.0 - fy) * gradient[i, channel]
        lower = share * fy * gradient[i, channel]
        wp.atomic_add(texel_gradient, y0, x0, channel, (1.0 - fx) * upper)
        wp.atomic_add(texel_gradient, y0, x1, channel, fx * upper)
        wp.atomic_add(texel_gradient, y1, x0, channel, (1.0 - fx) * lower)
        wp.atomic_add(texel_gradient, y1, x1, channel, fx * lower)


@wp.kernel
def lookup_level_adjoint_uv(
    start: int,
    uv: wp.array[wp.vec2],
    wanted: wp.array[float],
    level: float,
    texels: wp.array3d[float],
    gradient: wp.array2d[float],
    uv_gradient: wp.array[wp.vec2],
) -> None:
    i = start + wp.tid()
    share = 1.0 - wp.abs(wanted[i] - level)
    if share <= 0.0:
        return
    x0, x1, fx = wrapped_texels(uv[i][0], texels.shape[1])
    y0, y1, fy = wrapped_texels(1.0 - uv[i][1], texels.shape[0])
    over_x = float(0.0)
    over_y = float(0.0)
    for channel in range(texels.shape[2]):
        upstream = gradient[i, channel]
        t00 = texels[y0, x0, channel]
        t01 = texels[y0, x1, channel]
        t10 = texels[y1, x0, channel]
        t11 = texels[y1, x1, channel]
        over_x += upstream * ((1.0 - fy) * (t01 - t00) + fy * (t11 - t10))
        over_y += upstream * ((1.0 - fx) * (t10 - t00) + fx * (t11 - t01))
    scale = wp.vec2(share * float(texels.shape[1]) * over_x, -share * float(texels.shape[0]) * over_y)
    uv_gradient[i] = uv_gradient[i] + scale
