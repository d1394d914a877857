"""Cubemaps: face conventions, seamless borders, and differentiable lookup across levels.

A cubemap is (6, N, N, C), faces +X, -X, +Y, -Y, +Z, -Z. The point (s, t) in [-1, 1]^2 of a face, s to the
right and t down (row 0 is t = -1), looks along `forward + s * right + t * down`; these are OpenGL's faces:

| face | forward | right | down |
| --- | --- | --- | --- |
| +X, -X | (+-1, 0, 0) | (0, 0, -+1) | (0, -1, 0) |
| +Y, -Y | (0, +-1, 0) | (1, 0, 0) | (0, 0, +-1) |
| +Z, -Z | (0, 0, +-1) | (+-1, 0, 0) | (0, -1, 0) |

A *bordered* cubemap (6, N + 2, N + 2, C) carries a rim of the neighbours' texels, so that bilinear lookup
needs no special case at an edge and is continuous across it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import warp as wp
from torch import Tensor
from torch.nn.functional import interpolate

from recon.warp_runtime import launch

_AXES = np.array(
    [
        [[1, 0, 0], [0, 0, -1], [0, -1, 0]],
        [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
        [[0, -1, 0], [1, 0, 0], [0, 0, -1]],
        [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
        [[0, 0, -1], [-1, 0, 0], [0, -1, 0]],
    ],
    dtype=np.float64,
)


def face_axes(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """(6, 3, 3): per face the vectors forward, right and down."""
    return torch.as_tensor(_AXES, dtype=dtype, device=device)


def face_points(
    resolution: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """(6, N, N, 3): the texel centres on the cube [-1, 1]^3 (directions that are not normalised)."""
    axes = face_axes(device, dtype)
    s = (torch.arange(resolution, device=device, dtype=dtype) + 0.5) * (2.0 / resolution) - 1.0
    forward, right, down = axes[:, None, None, 0], axes[:, None, None, 1], axes[:, None, None, 2]
    return forward + s[None, None, :, None] * right + s[None, :, None, None] * down


def texel_directions(
    resolution: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """(6, N, N, 3): unit directions through the texel centres."""
    return torch.nn.functional.normalize(face_points(resolution, device, dtype), dim=-1)


@lru_cache(maxsize=32)
def texel_solid_angles(
    resolution: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """(N, N): exact solid angles in steradians of one face's texels; six faces sum to 4 pi.

    The rectangle from the face's centre to (s, t) subtends atan(s t / sqrt(s^2 + t^2 + 1)).
    """
    edge = torch.linspace(-1.0, 1.0, resolution + 1, dtype=torch.float64)
    s, t = edge[None, :], edge[:, None]
    area = torch.atan2(s * t, torch.sqrt(s * s + t * t + 1.0))
    return (area[1:, 1:] - area[1:, :-1] - area[:-1, 1:] + area[:-1, :-1]).to(device, dtype)


def locate(directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Face (...,) int64 and face coordinates s, t (...,) in [-1, 1] that `directions` (..., 3) point at."""
    magnitude = directions.abs()
    axis = magnitude.argmax(dim=-1)
    major = torch.gather(directions, -1, axis[..., None])[..., 0]
    face = 2 * axis + (major < 0).long()
    axes = face_axes(directions.device, directions.dtype)[face]
    projected = (axes[..., 1:, :] @ directions[..., None])[..., 0] / major.abs().clamp_min(1e-30)[..., None]
    return face, projected[..., 0], projected[..., 1]


@lru_cache(maxsize=32)
def _border_index(resolution: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each bordered texel comes from: (8, 3) texels that meet at a corner, (6 (N+2)^2,) rows.

    Rows index the 6 N^2 texels followed by the 8 corner averages.
    """
    n = resolution
    # One texel outside the face, but only just beyond the edge: the nearest texel there is the neighbour's
    # edge texel at the same place along the edge.
    inside = (np.arange(n) + 0.5) * (2.0 / n) - 1.0
    coordinate = np.concatenate([[-1.0 - 1e-6], inside, [1.0 + 1e-6]])
    forward, right, down = (_AXES[:, None, None, i] for i in range(3))
    points = forward + coordinate[None, None, :, None] * right + coordinate[None, :, None, None] * down
    face, s, t = (value.numpy() for value in locate(torch.from_numpy(points)))
    column = np.clip(((s + 1.0) * 0.5 * n).astype(np.int64), 0, n - 1)
    row = np.clip(((t + 1.0) * 0.5 * n).astype(np.int64), 0, n - 1)
    source = (face * n + row) * n + column

    rim = np.zeros((n + 2, n + 2), dtype=bool)
    rim[:: n + 1, :: n + 1] = True
    octant = ((points > 0) @ np.array([1, 2, 4])).astype(np.int64)
    source[:, rim] = 6 * n * n + octant[:, rim]
    # The corner texels of the three faces that meet in an octant.
    last = np.array([0, n - 1])
    texel = (np.arange(6)[:, None, None] * n + last[:, None]) * n + last
    order = np.argsort(octant[:, :: n + 1, :: n + 1].reshape(-1), kind="stable")
    corner = texel.reshape(-1)[order].reshape(8, 3)
    return torch.as_tensor(corner, device=device), torch.as_tensor(source.reshape(-1), device=device)


def add_border(faces: Tensor) -> Tensor:
    """(6, N, N, C) -> (6, N + 2, N + 2, C): copies the neighbours' edge texels around each face.

    A rim corner is the mean of the three texels that meet at that corner of the cube. Copies (rather than
    resampled extensions) are what makes bilinear lookup exactly continuous across an edge. Differentiable.
    """
    n, channels = faces.shape[1], faces.shape[3]
    corner, source = _border_index(n, faces.device)
    texels = faces.reshape(-1, channels)
    corners = texels.index_select(0, corner.reshape(-1)).view(8, 3, channels).mean(dim=1)
    return torch.cat([texels, corners]).index_select(0, source).view(6, n + 2, n + 2, channels)


def upsample(faces: Tensor) -> Tensor:
    """(6, N, N, C) -> (6, 2 N, 2 N, C): bilinear between texel centres, and without seams. Differentiable."""
    n = faces.shape[1]
    images = add_border(faces).permute(0, 3, 1, 2)
    finer = interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    return finer[:, :, 2 : 2 * n + 2, 2 : 2 * n + 2].permute(0, 2, 3, 1)


@wp.struct
class Place:
    """A bilinear footprint: index of its top-left texel, row stride, fractions, and d(x, y)/d direction."""

    corner: wp.int32
    stride: wp.int32
    fx: wp.float32
    fy: wp.float32
    dx: wp.vec3
    dy: wp.vec3


@wp.func
def place(direction: wp.vec3, offset: wp.int32, resolution: wp.int32) -> Place:
    ax = wp.abs(direction[0])
    ay = wp.abs(direction[1])
    az = wp.abs(direction[2])
    sign = wp.float32(1.0)
    face = wp.int32(0)
    forward = wp.vec3(1.0, 0.0, 0.0)
    right = wp.vec3(0.0, 0.0, -1.0)
    down = wp.vec3(0.0, -1.0, 0.0)
    if ax >= ay and ax >= az:
        if direction[0] < 0.0:
            sign = -1.0
        forward = wp.vec3(sign, 0.0, 0.0)
        right = wp.vec3(0.0, 0.0, -sign)
    elif ay >= az:
        face = wp.int32(2)
        if direction[1] < 0.0:
            sign = -1.0
        forward = wp.vec3(0.0, sign, 0.0)
        right = wp.vec3(1.0, 0.0, 0.0)
        down = wp.vec3(0.0, 0.0, sign)
    else:
        face = wp.int32(4)
        if direction[2] < 0.0:
            sign = -1.0
        forward = wp.vec3(0.0, 0.0, sign)
        right = wp.vec3(sign, 0.0, 0.0)
    if sign < 0.0:
        face = face + 1
    inverse = 1.0 / wp.max(wp.dot(forward, direction), 1.0e-30)
    s = wp.clamp(wp.dot(right, direction) * inverse, -1.0, 1.0)
    t = wp.clamp(wp.dot(down, direction) * inverse, -1.0, 1.0)
    half = 0.5 * float(resolution)
    x = (s + 1.0) * half + 0.5
    y = (t + 1.0) * half + 0.5
    column = wp.min(wp.int32(x), resolution)
    row = wp.min(wp.int32(y), resolution)
    result = Place()
    result.stride = resolution + 2
    result.corner = offset + (face * (resolution + 2) + row) * (resolution + 2) + column
    result.fx = x - float(column)
    result.fy = y - float(row)
    result.dx = (right - forward * s) * (inverse * half)
    result.dy = (down - forward * t) * (inverse * half)
    return result


@wp.struct
class Bilinear:
    """A bilinear function at one place: its value and its slopes along the texel grid."""

    value: wp.vec3
    along_x: wp.vec3
    along_y: wp.vec3


@wp.func
def bilinear(texels: wp.array[wp.vec3], at: Place) -> Bilinear:
    a = texels[at.corner]
    b = texels[at.corner + 1]
    c = texels[at.corner + at.stride]
    d = texels[at.corner + at.stride + 1]
    top = a * (1.0 - at.fx) + b * at.fx
    bottom = c * (1.0 - at.fx) + d * at.fx
    result = Bilinear()
    result.value = top * (1.0 - at.fy) + bottom * at.fy
    result.along_x = (b - a) * (1.0 - at.fy) + (d - c) * at.fy
    result.along_y = bottom - top
    return result


@wp.func
def bilinear_to_direction(at: Place, found: Bilinear, gradient: wp.vec3) -> wp.vec3:
    """Gradient with respect to the direction, for the output gradient `gradient`."""
    return at.dx * wp.dot(found.along_x, gradient) + at.dy * wp.dot(found.along_y, gradient)


@wp.func
def bilinear_to_texels(out: wp.array[wp.vec3], at: Place, gradient: wp.vec3) -> None:
    wp.atomic_add(out, at.corner, gradient * ((1.0 - at.fx) * (1.0 - at.fy)))
    wp.atomic_add(out, at.corner + 1, gradient * (at.fx * (1.0 - at.fy)))
    wp.atomic_add(out, at.corner + at.stride, gradient * ((1.0 - at.fx) * at.fy))
    wp.atomic_add(out, at.corner + at.stride + 1, gradient * (at.fx * at.fy))


@wp.func
def _lower_level(level: wp.float32, count: wp.int32) -> wp.int32:
    return wp.clamp(wp.int32(level), wp.int32(0), wp.max(count - 2, wp.int32(0)))


@wp.kernel(enable_backward=False)
def _lookup_kernel(
    start: wp.int32,
    texels: wp.array[wp.vec3],
    table: wp.array2d[wp.int32],
    count: wp.int32,
    directions: wp.array[wp.vec3],
    levels: wp.array[wp.float32],
    out: wp.array[wp.vec3],
) -> None:
    i = start + wp.tid()
    level = wp.clamp(levels[i], 0.0, float(count - 1))
    lower = _lower_level(level, count)
    fraction = level - float(lower)
    below = bilinear(texels, place(directions[i], table[lower, 0], table[lower, 1]))
    value = below.value
    if fraction > 0.0:
        above = bilinear(texels, place(directions[i], table[lower + 1, 0], table[lower + 1, 1]))
        value = value * (1.0 - fraction) + above.value * fraction
    out[i] = value


@wp.kernel(enable_backward=False)
def _lookup_coordinates_kernel(
    start: wp.int32,
    texels: wp.array[wp.vec3],
    table: wp.array2d[wp.int32],
    count: wp.int32,
    directions: wp.array[wp.vec3],
    levels: wp.array[wp.float32],
    gradient: wp.array[wp.vec3],
    to_directions: wp.array[wp.vec3],
    to_levels: wp.array[wp.float32],
) -> None:
    i = start + wp.tid()
    level = wp.clamp(levels[i], 0.0, float(count - 1))
    lower = _lower_level(level, count)
    fraction = level - float(lower)
    at = place(directions[i], table[lower, 0], table[lower, 1])
    below = bilinear(texels, at)
    slope = bilinear_to_direction(at, below, gradient[i])
    if count > 1:
        higher = place(directions[i], table[lower + 1, 0], table[lower + 1, 1])
        above = bilinear(texels, higher)
        slope = slope * (1.0 - fraction) + bilinear_to_direction(higher, above, gradient[i]) * fraction
        if levels[i] >= 0.0 and levels[i] <= float(count - 1):
            to_levels[i] = wp.dot(above.value - below.value, gradient[i])
    to_directions[i] = slope


@wp.kernel(enable_backward=False)
def _lookup_texels_kernel(
    start: wp.int32,
    table: wp.array2d[wp.int32],
    count: wp.int32,
    directions: wp.array[wp.vec3],
    levels: wp.array[wp.float32],
    gradient: wp.array[wp.vec3],
    to_texels: wp.array[wp.vec3],
) -> None:
    i = start + wp.tid()
    level = wp.clamp(levels[i], 0.0, float(count - 1))
    lower = _lower_level(level, count)
    fraction = level - float(lower)
    at = place(directions[i], table[lower, 0], table[lower, 1])
    bilinear_to_texels(to_texels, at, gradient[i] * (1.0 - fraction))
    if fraction > 0.0:
        above = place(directions[i], table[lower + 1, 0], table[lower + 1, 1])
        bilinear_to_texels(to_texels, above, gradient[i] * fraction)


def _vec3(values: Tensor) -> wp.array:
    return wp.from_torch(values, dtype=wp.vec3)


@lru_cache(maxsize=64)
def level_table(resolutions: tuple[int, ...], device: torch.device) -> Tensor:
    """(K, 2) int32: first texel and resolution of each level in the flat buffer."""
    counts = [6 * (n + 2) ** 2 for n in resolutions]
    offsets = [sum(counts[:k]) for k in range(len(counts))]
    return torch.tensor(list(zip(offsets, resolutions)), dtype=torch.int32, device=device)


class _Lookup(torch.autograd.Function):
    """The lookup, differentiable in directions and fractional level."""

    @staticmethod
    def forward(
        ctx: Any, texels: Tensor, directions: Tensor, levels: Tensor, resolutions: tuple[int, ...]
    ) -> Tensor:
        texels, directions, levels = (x.detach().contiguous() for x in (texels, directions, levels))
        table = level_table(resolutions, texels.device)
        out = torch.empty_like(directions)
        inputs = [_vec3(texels), table, len(resolutions), _vec3(directions), levels, _vec3(out)]
        launch(_lookup_kernel, len(directions), inputs, texels.device)
        ctx.save_for_backward(texels, directions, levels)
        ctx.resolutions = resolutions
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        texels, directions, levels = ctx.saved_tensors
        table = level_table(ctx.resolutions, texels.device)
        to_directions, to_levels = torch.empty_like(directions), torch.zeros_like(levels)
        inputs = [_vec3(texels), table, len(ctx.resolutions), _vec3(directions), levels]
        inputs += [_vec3(gradients[0].contiguous()), _vec3(to_directions), to_levels]
        launch(_lookup_coordinates_kernel, len(directions), inputs, texels.device)
        return None, to_directions, to_levels, None


class _TexelGradient(torch.autograd.Function):
    """Zero, with the lookup's derivative with respect to the texels.

    Added to `_Lookup`'s result. As a node of its own it is skipped when `torch.autograd.grad` asks for other
    inputs only; within one node, `needs_input_grad` tells which inputs require a gradient, not which are
    asked for, and the serial scatter would run each time.
    """

    @staticmethod
    def forward(
        ctx: Any, texels: Tensor, directions: Tensor, levels: Tensor, resolutions: tuple[int, ...]
    ) -> Tensor:
        ctx.save_for_backward(directions.detach().contiguous(), levels.detach().contiguous())
        ctx.resolutions, ctx.count = resolutions, len(texels)
        return torch.zeros_like(directions)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        directions, levels = ctx.saved_tensors
        table = level_table(ctx.resolutions, directions.device)
        to_texels = directions.new_zeros(ctx.count, 3)
        inputs = [table, len(ctx.resolutions), _vec3(directions), levels]
        inputs += [_vec3(gradients[0].contiguous()), _vec3(to_texels)]
        launch(_lookup_texels_kernel, len(directions), inputs, directions.device, parallel=False)
        return to_texels, None, None, None


def lookup(levels: tuple[Tensor, ...], directions: Tensor, level: Tensor | None = None) -> Tensor:
    """(P, 3) seamless lookup in bordered cubemaps, bilinear in a level and linear between two levels.

    levels: K bordered cubemaps (6, N_k + 2, N_k + 2, 3); resolutions are free. directions: (P, 3), any
    length above zero. level: (P, 1) fractional level, clamped to [0, K - 1], or None for level 0.
    Differentiable in the levels, the directions and the fractional level. The derivative is that of the
    piecewise bilinear function: it jumps at texel centres and at whole levels (where it is the slope of the
    interval above; at K - 1, of the one below). Outside [0, K - 1] the level's gradient is zero. On CUDA,
    texture gradients are summed by atomics, so their last bits vary from run to run.
    """
    if level is None:
        level = directions.new_zeros(directions.shape[0], 1)
        levels = levels[:1]
    resolutions = tuple(texture.shape[1] - 2 for texture in levels)
    if len(levels) == 1:
        texels = levels[0].reshape(-1, 3)
    else:
        texels = torch.cat([texture.reshape(-1, 3) for texture in levels])
    value = _Lookup.apply(texels.detach(), directions, level[:, 0], resolutions)
    if texels.requires_grad:
        value = value + _TexelGradient.apply(texels, directions.detach(), level.detach()[:, 0], resolutions)
    return value
