"""Trilinear lookup with repeat addressing in a mip chain that lies in one buffer, level after level.

Level l has the weight max(0, 1 - |lambda - l|), where lambda is the wanted, fractional level: that of two
levels at most is not zero.
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


@wp.func
def wanted_level(footprint: wp.mat22, height: int, width: int, levels: int) -> float:
    """See `recon.render.warp_texture.mip_level`."""
    across = wp.vec2(footprint[0, 0] * float(width), footprint[1, 0] * float(height))
    down = wp.vec2(footprint[0, 1] * float(width), footprint[1, 1] * float(height))
    first = wp.dot(across, across)
    second = wp.dot(down, down)
    if wp.isnan(first) or wp.isnan(second):
        return 0.0
    squared = wp.max(wp.max(first, second), 1.0e-20)
    return wp.clamp(0.5 * wp.log2(squared), 0.0, float(levels) - 1.0)


@wp.func
def level_offset(height: int, width: int, level: int) -> int:
    """First texel of a level in the buffer."""
    offset = int(0)
    for finer in range(level):
        offset += (height >> finer) * (width >> finer)
    return offset


@wp.func
def level_of(footprints: wp.array[wp.mat22], i: int, height: int, width: int, levels: int) -> float:
    """The wanted level of point i; 0 where there are no footprints."""
    if footprints.shape[0] == 0:
        return 0.0
    return wanted_level(footprints[i], height, width, levels)


@wp.kernel
def look_up(
    start: int,
    uv: wp.array[wp.vec2],
    footprints: wp.array[wp.mat22],
    height: int,
    width: int,
    levels: int,
    texels: wp.array2d[float],
    values: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    wanted = level_of(footprints, i, height, width, levels)
    lower = int(wp.floor(wanted))
    for channel in range(texels.shape[1]):
        values[i, channel] = 0.0
    for level in range(lower, wp.min(lower + 2, levels)):
        share = 1.0 - wp.abs(wanted - float(level))
        columns = width >> level
        x0, x1, fx = wrapped_texels(uv[i][0], columns)
        y0, y1, fy = wrapped_texels(1.0 - uv[i][1], height >> level)
        base = level_offset(height, width, level)
        row0 = base + y0 * columns
        row1 = base + y1 * columns
        for channel in range(texels.shape[1]):
            upper = (1.0 - fx) * texels[row0 + x0, channel] + fx * texels[row0 + x1, channel]
            below = (1.0 - fx) * texels[row1 + x0, channel] + fx * texels[row1 + x1, channel]
            values[i, channel] = values[i, channel] + share * ((1.0 - fy) * upper + fy * below)


@wp.kernel
def look_up_adjoint_texels(
    start: int,
    uv: wp.array[wp.vec2],
    footprints: wp.array[wp.mat22],
    height: int,
    width: int,
    levels: int,
    gradient: wp.array2d[float],
    texel_gradient: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    wanted = level_of(footprints, i, height, width, levels)
    lower = int(wp.floor(wanted))
    for level in range(lower, wp.min(lower + 2, levels)):
        share = 1.0 - wp.abs(wanted - float(level))
        if share > 0.0:
            columns = width >> level
            x0, x1, fx = wrapped_texels(uv[i][0], columns)
            y0, y1, fy = wrapped_texels(1.0 - uv[i][1], height >> level)
            base = level_offset(height, width, level)
            row0 = base + y0 * columns
            row1 = base + y1 * columns
            for channel in range(texel_gradient.shape[1]):
                upper = share * (1.0 - fy) * gradient[i, channel]
                below = share * fy * gradient[i, channel]
                wp.atomic_add(texel_gradient, row0 + x0, channel, (1.0 - fx) * upper)
                wp.atomic_add(texel_gradient, row0 + x1, channel, fx * upper)
                wp.atomic_add(texel_gradient, row1 + x0, channel, (1.0 - fx) * below)
                wp.atomic_add(texel_gradient, row1 + x1, channel, fx * below)


@wp.kernel
def look_up_adjoint_uv(
    start: int,
    uv: wp.array[wp.vec2],
    footprints: wp.array[wp.mat22],
    height: int,
    width: int,
    levels: int,
    texels: wp.array2d[float],
    gradient: wp.array2d[float],
    uv_gradient: wp.array[wp.vec2],
) -> None:
    i = start + wp.tid()
    wanted = level_of(footprints, i, height, width, levels)
    lower = int(wp.floor(wanted))
    total = wp.vec2(0.0, 0.0)
    for level in range(lower, wp.min(lower + 2, levels)):
        share = 1.0 - wp.abs(wanted - float(level))
        columns = width >> level
        rows = height >> level
        x0, x1, fx = wrapped_texels(uv[i][0], columns)
        y0, y1, fy = wrapped_texels(1.0 - uv[i][1], rows)
        base = level_offset(height, width, level)
        row0 = base + y0 * columns
        row1 = base + y1 * columns
        over_x = float(0.0)
        over_y = float(0.0)
        for channel in range(texels.shape[1]):
            upstream = gradient[i, channel]
            t00 = texels[row0 + x0, channel]
            t01 = texels[row0 + x1, channel]
            t10 = texels[row1 + x0, channel]
            t11 = texels[row1 + x1, channel]
            over_x += upstream * ((1.0 - fy) * (t01 - t00) + fy * (t11 - t10))
            over_y += upstream * ((1.0 - fx) * (t10 - t00) + fx * (t11 - t01))
        total += wp.vec2(share * float(columns) * over_x, -share * float(rows) * over_y)
    uv_gradient[i] = total


# How many levels `average_levels` makes of one: a thread of the last one adds up 8x8 texels.
LEVELS_AT_ONCE = 3


@wp.kernel
def average_levels(
    start: int, height: int, width: int, source: int, last: int, texels: wp.array2d[float]
) -> None:
    """Levels source + 1 to `last` of the buffer, each from level `source`. height, width: of level 0."""
    place = int(start + wp.tid())
    level = int(source + 1)
    while level < last and place >= (height >> level) * (width >> level):
        place -= (height >> level) * (width >> level)
        level += 1
    side = 1 << (level - source)
    columns = width >> level
    row = place // columns
    column = place % columns
    from_columns = width >> source
    begin = level_offset(height, width, source) + row * side * from_columns + column * side
    target = level_offset(height, width, level) + place
    weight = 1.0 / float(side * side)
    for channel in range(texels.shape[1]):
        total = float(0.0)
        for y in range(side):
            for x in range(side):
                total += texels[begin + y * from_columns + x, channel]
        texels[target, channel] = weight * total


@wp.kernel
def average_levels_adjoint(
    start: int,
    height: int,
    width: int,
    levels: int,
    gradient: wp.array2d[float],
    texture_gradient: wp.array2d[float],
) -> None:
    """Each texel of level 0 is part of one texel of every level."""
    i = start + wp.tid()
    row = i // width
    column = i % width
    for channel in range(gradient.shape[1]):
        total = float(0.0)
        offset = int(0)
        weight = float(1.0)
        for level in range(levels):
            columns = width >> level
            total += weight * gradient[offset + (row >> level) * columns + (column >> level), channel]
            offset += (height >> level) * columns
            weight = 0.25 * weight
        texture_gradient[i, channel] = total
