"""Values whose gradient arrives larger or smaller than it was sent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def scale_gradient(values: Tensor, factor: float | Tensor) -> Tensor:
    """`values` as they are; on its way back their gradient is multiplied by `factor`, a constant.

    factor: a number, or a tensor that broadcasts to `values`' shape.
    """
    scaled: Tensor = _ScaleGradient.apply(values, factor)
    return scaled


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float | Tensor) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None
