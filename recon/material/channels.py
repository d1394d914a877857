"""What a material model predicts at a point, and how raw network outputs become physical values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recon.color import srgb_to_linear
from usd_tools.errors import UserError

# A sigmoid's argument beyond which nothing changes that 8 bits could show. Adam steps on at full length where
# gradients vanish, so without a bound a whole branch can run so far out that no gradient brings it back.
_FARTHEST = 8.0


@dataclass(frozen=True)
class Channels:
    """The material at P points.

    albedo: (P, 3) linear Rec.709, 0 to 1.
    normal: (P, 3). From a 3D field: an offset in world space, n = normalize(n_geometry + normal). From a
        texture: a unit vector in tangent space (MikkTSpace, OpenGL +Y).
    roughness: (P, 1) perceptual (GGX alpha = roughness squared).
    metallic: (P, 1), 0 to 1.
    occlusion: (P, 1), 0 to 1, 1 = unoccluded.
    """

    albedo: Tensor
    normal: Tensor
    roughness: Tensor
    metallic: Tensor
    occlusion: Tensor


@dataclass(frozen=True)
class ChannelSettings:
    """Ranges and starting values of the predicted channels.

    roughness_min, roughness_max: perceptual. The lower bound keeps the GGX lobe wider than a probe's texel.
    normal_max: largest component of the world-space normal offset; 0.25 turns a normal by up to 14 degrees
        per axis, more than a coarse mesh is off, less than what would let shading replace shape.
    initial_roughness: branch B starts glossy, since robust losses slope away from gloss when seen from
        rough, and even sensitive ones are flat there.
    initial_metallic: dielectric, yet not so saturated a sigmoid that its gradient vanishes.
    """

    roughness_min: float = 0.03
    roughness_max: float = 1.0
    normal_max: float = 0.25
    initial_roughness: float = 0.25
    initial_metallic: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 <= self.roughness_min < self.roughness_max <= 1.0:
            raise UserError(
                f"roughness range: expected 0 <= min < max <= 1, "
                f"got {self.roughness_min} to {self.roughness_max}"
            )
        if not self.roughness_min < self.initial_roughness < self.roughness_max:
            raise UserError(
                f"initial_roughness {self.initial_roughness}: expected inside the roughness range, "
                f"{self.roughness_min} to {self.roughness_max}, ends excluded"
            )
        if not 0.0 < self.initial_metallic < 1.0:
            raise UserError(
                f"initial_metallic {self.initial_metallic}: expected between 0 and 1, ends excluded"
            )
        if self.normal_max < 0.0:
            raise UserError(f"normal_max {self.normal_max}: expected 0 (no perturbation) or more")


def decode_albedo(raw: Tensor) -> Tensor:
    """Linear albedo from raw outputs (P, 3).

    The sigmoid spans *sRGB-coded* values, decoded to linear afterwards: half of the sigmoid's travel then
    covers linear albedo below 0.21, so black paint gets as much resolution as white.
    """
    return srgb_to_linear(_sigmoid(raw))


def decode_normal_offset(raw: Tensor, settings: ChannelSettings) -> Tensor:
    """World-space normal offset from raw outputs (P, 3): zero at zero, each component within `normal_max`."""
    return settings.normal_max * torch.tanh(raw)


def decode_roughness(raw: Tensor, settings: ChannelSettings) -> Tensor:
    """Roughness from raw outputs (P, 1); `initial_roughness` at zero."""
    low, high = settings.roughness_min, settings.roughness_max
    start = (settings.initial_roughness - low) / (high - low)
    return low + (high - low) * _sigmoid(raw + _logit(start))


def decode_metallic(raw: Tensor, settings: ChannelSettings) -> Tensor:
    """Metallic from raw outputs (P, 1); `initial_metallic` at zero."""
    return _sigmoid(raw + _logit(settings.initial_metallic))


def decode_occlusion(raw: Tensor) -> Tensor:
    """Occlusion from raw outputs (P, 1): nearly unoccluded (0.95) at zero."""
    return _sigmoid(raw + _logit(0.95))


def _sigmoid(raw: Tensor) -> Tensor:
    """The sigmoid, at most `_FARTHEST` out; beyond, only a gradient that leads back arrives."""
    bounded: Tensor = _Bounded.apply(raw)
    return torch.sigmoid(bounded)


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor) -> Tensor:
        ctx.save_for_backward(raw)
        return raw.clamp(-_FARTHEST, _FARTHEST)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (raw,) = ctx.saved_tensors
        # Descent goes against the gradient.
        onward = (raw.abs() >= _FARTHEST) & (raw * gradient < 0.0)
        return gradient.masked_fill(onward, 0.0)


def _logit(value: float) -> float:
    return math.log(value / (1.0 - value))
