"""Regularizers of material and light, and the ramps that weigh them.

The geometric ones (SDF sign entropy, consistency of normals) live with the geometry; only the weight of the
former is scheduled here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.fused_jitter import jittered_subset, mean_change
from recon.material.channels import Channels

_DARKEST_METAL = 0.15


@dataclass(frozen=True)
class Smoothness:
    """Mean absolute change of the material under a small jitter, scalars.

    albedo reaches branch A, the others branch B. roughness: of its logarithm. A lobe that is a tenth wider
    looks as different on gloss as on satin; and where lobes are wide, pictures tell little of their width, so
    that a term as strong there as on gloss would decide in their place.
    """

    albedo: Tensor
    roughness: Tensor
    metallic: Tensor


def jittered_smoothness(
    sample: Callable[[Tensor, Tensor], Channels],
    positions: Tensor,
    channels: Channels,
    *,
    sigma: float = 0.01,
    fraction: float = 0.25,
    coverage: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
) -> Smoothness:
    """Compares the material at `positions` with a second lookup a small random step away.

    sample: (jittered positions (K, D), their rows (K,) in `positions`) -> Channels.
    positions: (P, D) float32 where `channels` were looked up: points in the dataset frame, or uvs.
    sigma: standard deviation of the jitter, in the positions' unit.
    fraction: share of the points looked up again, drawn anew at random: an unbiased estimate, at less cost.
    generator: on the positions' device; the global one if None.
    coverage: P / number of pixels of the batch. Image losses average over all pixels; scaling by the
        coverage makes a weight here commensurate with theirs.

    Differentiable with respect to both lookups, not to the positions.
    """
    count = positions.shape[0]
    if count == 0:
        zero = channels.albedo.sum() * 0.0
        return Smoothness(zero, channels.roughness.sum() * 0.0, channels.metallic.sum() * 0.0)
    moved, chosen = jittered_subset(positions, max(1, round(fraction * count)), sigma, generator)
    albedo, roughness, metallic = mean_change(sample(moved, chosen), channels, chosen)
    return Smoothness(coverage * albedo, coverage * roughness, coverage * metallic)


def dark_metal(metallic: Tensor, albedo: Tensor) -> Tensor:
    """Mean of m (1 - Y / 0.15) where the albedo's luminance Y is below 0.15: there are no black metals.

    Dark gloss can be had as black paint or as a metal that hardly reflects; but clean metals reflect a third
    of the light and more. metallic: (P, 1). albedo: (P, 3) linear, a constant here: it must not brighten to
    please the prior.
    """
    red, green, blue = albedo.detach().unbind(dim=1)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # of linear Rec.709
    return (metallic[:, 0] * (1.0 - luminance / _DARKEST_METAL).clamp_min(0.0)).mean()


def grey_world(radiance: Tensor) -> Tensor:
    """Mean absolute deviation of light color (..., 3), linear, from its own grey (the mean of R, G and B)."""
    return (radiance - radiance.mean(dim=-1, keepdim=True)).abs().mean()


def ramp(step: int | Tensor, length: float = 500) -> float | Tensor:
    """From 0 at step 0, rising linearly, to 1 after `length` steps. A tensor where `step` is one."""
    if isinstance(step, Tensor):
        return (step / max(length, 1e-9)).clamp(0.0, 1.0)
    return min(step / length, 1.0) if length > 0 else 1.0


def sdf_weight(step: int, total: int, start: float = 0.2, end: float = 0.01, share: float = 0.25) -> float:
    """SDF sign entropy's weight: linear from `start` to `end` over the first `share` of the run, then `end`.

    A quarter, as in nvdiffrec: floaters must go early, later the surface has to be free to move.
    """
    length = share * total
    return start + (end - start) * (min(1.0, step / length) if length > 0 else 1.0)
