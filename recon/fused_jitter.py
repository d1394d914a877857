"""A random subset of points a small step away, and how much the material changes on the way."""

# ruff: noqa: UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.material.channels import Channels
from recon.warp_runtime import launch

wp.set_module_options({"enable_backward": False})

# Added to roughness, so that its logarithm exists.
LEAST_ROUGHNESS = wp.constant(1e-3)


def jittered_subset(
    positions: Tensor, count: int, sigma: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """`count` of the points (P, D), each another one, moved by normal noise; and their rows (count,) int64.

    Every P-th part of the points is as likely as any other: rows are evenly spaced, from a random start on
    (systematic sampling), which takes no sorting. generator: on the points' device; torch's own if None.
    """
    total, dimensions = positions.shape
    drawn = torch.randint(2**31 - 1, (2,), generator=generator, device=positions.device)
    rows = torch.empty(count, dtype=torch.int64, device=positions.device)
    moved = torch.empty(count, dimensions, device=positions.device)
    inputs = (positions.detach(), total, count, drawn, sigma, rows, moved)
    launch(choose_and_jitter, count, inputs, positions.device)
    return moved, rows


def mean_change(there: Channels, here: Channels, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean absolute difference of albedo, of the logarithm of roughness, and of metallic.

    there: at K points. here: at P points, of which `rows` (K,) are the same ones; none comes twice.
    """
    names = ("albedo", "roughness", "metallic")
    return _MeanChange.apply(*(getattr(side, name) for side in (there, here) for name in names), rows)


class _MeanChange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tensors = tuple(tensor.detach() for tensor in tensors)
        rows = tensors[-1]
        values = torch.empty(3, len(rows), device=rows.device)
        launch(measure_change, len(rows), (*tensors, 1.0 / max(len(rows), 1), values), rows.device)
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        albedo, roughness, metallic = values.sum(dim=1).unbind(0)
        return albedo, roughness, metallic

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        rows, here = tensors[-1], tensors[3]
        there_gradients = torch.empty(5 * len(rows), device=rows.device)
        here_gradients = torch.zeros(5 * len(here), device=rows.device)
        gradients = (*_parts(there_gradients, len(rows)), *_parts(here_gradients, len(here)))
        absent = torch.zeros(1, device=rows.device) if None in upstream else None
        scales = tuple(absent if scale is None else scale.reshape(1) for scale in upstream)
        inputs = (*tensors, 1.0 / max(len(rows), 1), *scales, *gradients)
        launch(measure_change_adjoint, len(rows), inputs, rows.device)
        found = (
            gradient if upstream[number % 3] is not None else None
            for number, gradient in enumerate(gradients)
        )
        return (*found, None)


def _parts(buffer: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(count, 3), (count, 1) and (count, 1)."""
    albedo, roughness, metallic = buffer.split((3 * count, count, count))
    return albedo.view(count, 3), roughness.view(count, 1), metallic.view(count, 1)


@wp.kernel
def choose_and_jitter(
    start: int,
    positions: wp.array2d[float],
    total: wp.int64,
    count: wp.int64,
    drawn: wp.array[wp.int64],
    sigma: float,
    rows: wp.array[wp.int64],
    moved: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    row = (wp.int64(i) * total + drawn[0] % total) / count
    state = wp.rand_init(int(drawn[1]), i)
    rows[i] = row
    for axis in range(positions.shape[1]):
        moved[i, axis] = positions[int(row), axis] + sigma * wp.randn(state)


@wp.kernel
def measure_change(
    start: int,
    albedo_there: wp.array2d[float],
    roughness_there: wp.array2d[float],
    metallic_there: wp.array2d[float],
    albedo_here: wp.array2d[float],
    roughness_here: wp.array2d[float],
    metallic_here: wp.array2d[float],
    rows: wp.array[wp.int64],
    weight: float,
    values: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    row = int(rows[i])
    total = float(0.0)
    for channel in range(3):
        total += wp.abs(albedo_there[i, channel] - albedo_here[row, channel])
    values[0, i] = weight / 3.0 * total
    ratio = (roughness_there[i, 0] + LEAST_ROUGHNESS) / (roughness_here[row, 0] + LEAST_ROUGHNESS)
    values[1, i] = weight * wp.abs(wp.log(ratio))
    values[2, i] = weight * wp.abs(metallic_there[i, 0] - metallic_here[row, 0])


@wp.func
def direction(x: float) -> float:
    """Sign, 0 at 0: the slope of |x|."""
    if x > 0.0:
        return 1.0
    if x < 0.0:
        return -1.0
    return 0.0


@wp.kernel
def measure_change_adjoint(
    start: int,
    albedo_there: wp.array2d[float],
    roughness_there: wp.array2d[float],
    metallic_there: wp.array2d[float],
    albedo_here: wp.array2d[float],
    roughness_here: wp.array2d[float],
    metallic_here: wp.array2d[float],
    rows: wp.array[wp.int64],
    weight: float,
    on_albedo: wp.array[float],
    on_roughness: wp.array[float],
    on_metallic: wp.array[float],
    albedo_gradient_there: wp.array2d[float],
    roughness_gradient_there: wp.array2d[float],
    metallic_gradient_there: wp.array2d[float],
    albedo_gradient_here: wp.array2d[float],
    roughness_gradient_here: wp.array2d[float],
    metallic_gradient_here: wp.array2d[float],
) -> None:
    i = start + wp.tid()
    row = int(rows[i])
    for channel in range(3):
        slope = direction(albedo_there[i, channel] - albedo_here[row, channel]) * weight / 3.0 * on_albedo[0]
        albedo_gradient_there[i, channel] = slope
        albedo_gradient_here[row, channel] = -slope
    there = roughness_there[i, 0] + LEAST_ROUGHNESS
    here = roughness_here[row, 0] + LEAST_ROUGHNESS
    roughness = weight * on_roughness[0] * direction(there - here)
    roughness_gradient_there[i, 0] = roughness / there
    roughness_gradient_here[row, 0] = -roughness / here
    metallic = weight * on_metallic[0] * direction(metallic_there[i, 0] - metallic_here[row, 0])
    metallic_gradient_there[i, 0] = metallic
    metallic_gradient_here[row, 0] = -metallic
