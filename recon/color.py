"""The sRGB transfer curve in torch, with gradients that stay finite at zero (IEC 61966-2-1)."""

from __future__ import annotations

from torch import Tensor, where

_LINEAR_KNEE = 0.0031308
_CODED_KNEE = 0.04045


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Encodes linear values, any shape. Not clipped: above 1 the power law goes on, below 0 the line does."""
    # The clamp keeps the branch that `where` discards away from pow's infinite slope at 0, which would
    # otherwise come back as 0 * inf = NaN.
    power = 1.055 * linear.clamp(min=_LINEAR_KNEE) ** (1.0 / 2.4) - 0.055
    return where(linear <= _LINEAR_KNEE, 12.92 * linear, power)


def srgb_to_linear(coded: Tensor) -> Tensor:
    """Decodes sRGB-coded values, any shape; the inverse of `linear_to_srgb` everywhere."""
    power = ((coded.clamp(min=_CODED_KNEE) + 0.055) / 1.055) ** 2.4
    return where(coded <= _CODED_KNEE, coded / 12.92, power)
