"""The composite losses of both branches in one pass over the pixels, and their gradients in another.

`recon.losses` defines what is computed here; written out in torch operations it takes some 150 launches.
"""

# ruff: noqa: UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.losses import CompositeLoss
from recon.warp_runtime import launch

wp.set_module_options({"enable_backward": False})

_NUMBERS = {"log_l1": 0, "smape": 1, "mse": 2, "rel_mse": 3, "l1": 4}
_LOG_L1 = wp.constant(_NUMBERS["log_l1"])
_SMAPE = wp.constant(_NUMBERS["smape"])
_MSE = wp.constant(_NUMBERS["mse"])
_REL_MSE = wp.constant(_NUMBERS["rel_mse"])


def composite_losses(
    losses: tuple[CompositeLoss, CompositeLoss | None],
    images: tuple[Tensor, Tensor],
    coverage: Tensor,
    reference: Tensor,
) -> tuple[Tensor, Tensor]:
    """Scalars: the first loss of the first image, and the second of the second; zero where a loss is None.

    images: (..., 3) each. coverage: (...). reference: (..., 4). All float32, scene-linear, associated alpha.
    Differentiable once, in the images and the coverage.
    """
    shape = reference.shape[:-1]
    if reference.shape[-1] != 4 or any(image.shape != (*shape, 3) for image in images):
        raise ValueError(
            f"expected images (..., 3) and reference (..., 4) of equal leading shape, "
            f"got {[tuple(image.shape) for image in images]} and {tuple(reference.shape)}"
        )
    flat = (image.reshape(-1, 3) for image in images)
    first, second = (_settings(loss, coverage.numel()) for loss in losses)
    return _CompositeLosses.apply(*flat, coverage.reshape(-1), reference.reshape(-1, 4), first, second)


_Settings = tuple[int, int, float, float, float]


def _settings(loss: CompositeLoss | None, pixels: int) -> _Settings:
    """(first, second, their weights per value, the mask's weight per pixel)."""
    if loss is None or pixels == 0:
        return 0, 0, 0.0, 0.0, 0.0
    per_value = 1.0 / (3 * pixels)
    numbers = _NUMBERS[loss.first], _NUMBERS[loss.second]
    return (
        *numbers,
        loss.first_weight * per_value,
        loss.second_weight * per_value,
        loss.mask_weight / pixels,
    )


class _CompositeLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        image_a: Tensor,
        image_b: Tensor,
        coverage: Tensor,
        reference: Tensor,
        first: _Settings,
        second: _Settings,
    ) -> tuple[Tensor, Tensor]:
        inputs = tuple(tensor.detach() for tensor in (image_a, image_b, coverage, reference))
        values = torch.empty(2, len(reference), device=reference.device)
        launch(measure_pixels, len(reference), (*inputs, *first, *second, values), reference.device)
        ctx.save_for_backward(*inputs)
        ctx.settings = first, second
        ctx.set_materialize_grads(False)
        total_a, total_b = values.sum(dim=1).unbind(0)
        return total_a, total_b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        count, device = len(inputs[0]), inputs[0].device
        absent = inputs[0].new_zeros(1) if None in upstream else None
        scales = tuple(absent if scale is None else scale.reshape(1).contiguous() for scale in upstream)
        gradients = tuple(torch.empty(tensor.shape, device=device) for tensor in inputs[:3])
        first, second = ctx.settings
        launch(differentiate_pixels, count, (*inputs, *first, *second, *scales, *gradients), device)
        reached = (
            upstream[0] is not None and sum(first[2:4]) > 0.0,
            upstream[1] is not None and sum(second[2:4]) > 0.0,
            any(scale is not None and part[4] > 0.0 for scale, part in zip(upstream, ctx.settings)),
        )
        found = (gradient if reaches else None for gradient, reaches in zip(gradients, reached))
        return (*found, None, None, None)


@wp.func
def log_one_plus(x: float) -> float:
    """log(1 + x), with the digits that 1 + x loses put back (Goldberg 1991, theorem 4)."""
    one_plus = 1.0 + x
    if one_plus == 1.0:
        return x
    return wp.log(one_plus) * (x / (one_plus - 1.0))


@wp.func
def log_coded(x: float) -> float:
    """sRGB curve of log(1 + x); black for negative values, NaN for NaN."""
    linear = float(0.0)
    if not x < 0.0:
        linear = log_one_plus(x)
    coded = 12.92 * linear
    if not linear <= 0.0031308:
        coded = 1.055 * wp.pow(linear, 1.0 / 2.4) - 0.055
    return coded


@wp.func
def log_coded_slope(x: float) -> float:
    if x < 0.0:
        return 0.0
    linear = log_one_plus(x)
    slope = float(12.92)
    if not linear <= 0.0031308:
        slope = 1.055 / 2.4 * wp.pow(linear, 1.0 / 2.4 - 1.0)
    return slope / (1.0 + x)


@wp.func
def direction(x: float) -> float:
    """Sign, 0 at 0: the slope of |x|."""
    if x > 0.0:
        return 1.0
    if x < 0.0:
        return -1.0
    return 0.0


@wp.func
def color_value(number: int, p: float, r: float) -> float:
    if number == _LOG_L1:
        return wp.abs(log_coded(p) - log_coded(r))
    if number == _SMAPE:
        return wp.abs(p - r) / (wp.abs(p) + wp.abs(r) + 0.01)
    if number == _MSE:
        return (p - r) * (p - r)
    if number == _REL_MSE:
        return (p - r) * (p - r) / (p * p + r * r + 0.1)
    return wp.abs(p - r)


@wp.func
def color_slope(number: int, p: float, r: float) -> float:
    """d color_value / d p."""
    if number == _LOG_L1:
        return direction(log_coded(p) - log_coded(r)) * log_coded_slope(p)
    if number == _SMAPE:
        size = wp.abs(p) + wp.abs(r) + 0.01
        return (direction(p - r) - wp.abs(p - r) / size * direction(p)) / size
    if number == _MSE:
        return 2.0 * (p - r)
    if number == _REL_MSE:
        size = p * p + r * r + 0.1
        difference = p - r
        return (2.0 * difference - difference * (difference / size) * 2.0 * p) / size
    return direction(p - r)


@wp.func
def pixel_value(
    image: wp.array2d[float],
    coverage: wp.array[float],
    reference: wp.array2d[float],
    first: int,
    second: int,
    first_weight: float,
    second_weight: float,
    mask_weight: float,
    i: int,
) -> float:
    alpha = reference[i, 3]
    total = float(0.0)
    for channel in range(3):
        if first_weight > 0.0 or second_weight > 0.0:
            p = image[i, channel] * alpha
            r = reference[i, channel] * alpha
            if first_weight > 0.0:
                total += first_weight * color_value(first, p, r)
            if second_weight > 0.0:
                total += second_weight * color_value(second, p, r)
    if mask_weight > 0.0:
        total += mask_weight * (coverage[i] - alpha) * (coverage[i] - alpha)
    return total


@wp.func
def pixel_slope(
    image: wp.array2d[float],
    reference: wp.array2d[float],
    first: int,
    second: int,
    first_weight: float,
    second_weight: float,
    scale: float,
    gradient: wp.array2d[float],
    i: int,
) -> float:
    """Writes the image's gradient."""
    alpha = reference[i, 3]
    for channel in range(3):
        total = float(0.0)
        if first_weight > 0.0 or second_weight > 0.0:
            p = image[i, channel] * alpha
            r = reference[i, channel] * alpha
            if first_weight > 0.0:
                total += first_weight * color_slope(first, p, r)
            if second_weight > 0.0:
                total += second_weight * color_slope(second, p, r)
        gradient[i, channel] = scale * alpha * total
    return alpha


@wp.kernel
def measure_pixels(
    start: int,
    image_a: wp.array2d[float],
    image_b: wp.array2d[float],
    coverage: wp.array[float],
    reference: wp.array2d[float],
    first_a: int,
    second_a: int,
    first_weight_a: float,
    second_weight_a: float,
    mask_weight_a: float,
    first_b: int,
    second_b: int,
    first_weight_b: float,
    second_weight_b: float,
    mask_weight_b: float,
    values: wp.array2d[float],
) -> None:
    """values: (2, N), each pixel's share of either loss."""
    i = start + wp.tid()
    values[0, i] = pixel_value(
        image_a, coverage, reference, first_a, second_a, first_weight_a, second_weight_a, mask_weight_a, i
    )
    values[1, i] = pixel_value(
        image_b, coverage, reference, first_b, second_b, first_weight_b, second_weight_b, mask_weight_b, i
    )


@wp.kernel
def differentiate_pixels(
    start: int,
    image_a: wp.array2d[float],
    image_b: wp.array2d[float],
    coverage: wp.array[float],
    reference: wp.array2d[float],
    first_a: int,
    second_a: int,
    first_weight_a: float,
    second_weight_a: float,
    mask_weight_a: float,
    first_b: int,
    second_b: int,
    first_weight_b: float,
    second_weight_b: float,
    mask_weight_b: float,
    upstream_a: wp.array[float],
    upstream_b: wp.array[float],
    gradient_a: wp.array2d[float],
    gradient_b: wp.array2d[float],
    coverage_gradient: wp.array[float],
) -> None:
    i = start + wp.tid()
    scale_a = upstream_a[0]
    scale_b = upstream_b[0]
    alpha = pixel_slope(
        image_a, reference, first_a, second_a, first_weight_a, second_weight_a, scale_a, gradient_a, i
    )
    alpha = pixel_slope(
        image_b, reference, first_b, second_b, first_weight_b, second_weight_b, scale_b, gradient_b, i
    )
    mask_weight = scale_a * mask_weight_a + scale_b * mask_weight_b
    coverage_gradient[i] = 2.0 * mask_weight * (coverage[i] - alpha)
