"""Which prefiltered lobe stands best for what GGX reflects to a camera: where to look, and how blurred.

Light is prefiltered for lobes seen from above (Karis 2013), which are round. Seen from aside a lobe is
narrower: reflecting makes solid angles of microfacet normals 4 v.h times as large (Walter et al. 2007,
equation 14), so alpha^2 shrinks about as n.v does, and the horizon cuts a part off. Of all prefiltered lobes
along the arc from the mirror direction to the lobe's mean, and of all widths, the one is taken that differs
least in square from the true one: under light that is as strong from everywhere in the mean, and independent,
no other explains pictures better.

With lobes as wide as from above, looked up in the mean direction, roughness 0.1 to 0.35 explained path traced
pictures best as 0.7 to 0.8 times itself where n.v was 0.2 to 0.5, and at grazing angles light from behind the
surface made it up to 1.5 times too bright.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_PLACES = 11  # along the arc from the mean (0) to the mirror direction (1)
# Of alpha^2 as looked up over the surface's own, in even steps of their logarithm.
_NARROWEST, _WIDEST, _WIDTHS = 0.12, 2.8, 17
_QUADRATURE = 400
_LEAST = 1e-12


@dataclass(frozen=True)
class ReflectedLobes:
    """Directions that GGX reflects R cameras' rays to, by S samples each, in the frame with the normal on +Z.

    n_dot_v: (R, 1); the camera lies at (sin, 0, n.v). directions: (R, S, 3) unit. weights: (R, S), zero
    below the horizon.
    """

    n_dot_v: Tensor
    directions: Tensor
    weights: Tensor


def best_prefiltered_lobes(lobes: ReflectedLobes, alpha: float) -> Tensor:
    """(R, 2) lean and width of the prefiltered lobe that is nearest to each of `lobes`, of GGX width `alpha`.

    Lean: the share of the mirror direction in the direction to look up, the rest being the normal's. Width:
    by what alpha^2 is to be multiplied.
    """
    weights = lobes.weights / lobes.weights.sum(1, keepdim=True)
    mean = (weights[..., None] * lobes.directions).sum(1)
    cosine = lobes.n_dot_v[:, 0]
    mirror_angle, mean_angle = torch.acos(cosine), torch.atan2(-mean[:, 0], mean[:, 2])
    place = torch.linspace(0.0, 1.0, _PLACES)
    log_width = torch.linspace(math.log(_NARROWEST), math.log(_WIDEST), _WIDTHS)
    angles = torch.lerp(mean_angle[:, None], mirror_angle[:, None], place)  # (R, places) from the normal

    axes = torch.stack([-torch.sin(angles), torch.zeros_like(angles), torch.cos(angles)], dim=-1)
    away = lobes.directions[:, :, None] - axes[:, None]
    quarter = 0.25 * away.square().sum(-1)  # (R, S, places)
    alpha2 = (alpha * alpha * log_width.exp()).clamp_max(1.0)
    norm, own = _norm_and_square(alpha2)
    differences = []
    for k in range(_WIDTHS):
        overlap = torch.einsum("rs,rsp->rp", weights, _lobe(quarter, alpha2[k]))
        differences.append(own[k] - 2.0 * norm[k] * overlap)
    difference = torch.stack(differences, dim=-1)  # (R, places, widths), less a constant

    best = difference.flatten(1).argmin(1)
    at, width = best // _WIDTHS, best % _WIDTHS
    rows = torch.arange(len(best))
    found_place = _between(difference[rows, :, width], at, place)
    found_width = _between(difference[rows, at], width, log_width)
    angle = torch.lerp(mean_angle, mirror_angle, found_place)
    # (1 - t) normal + t mirror lies at `angle` from the normal.
    sideways, upward = torch.sin(angle), torch.cos(angle)
    lean = sideways / (torch.sin(mirror_angle) * upward + (1.0 - cosine) * sideways)
    return torch.stack([lean.clamp(0.0, 1.0), found_width.exp()], dim=-1)


def _lobe(quarter: Tensor, alpha2: Tensor) -> Tensor:
    """The lobe that light is prefiltered by (`recon.light.prefilter`), not normalized.

    quarter: of the squared distance of the directions from the lobe's axis.
    """
    spread = quarter + alpha2 * (1.0 - quarter)
    return (1.0 - 2.0 * quarter).clamp_min(0.0) / (spread * spread)


def _norm_and_square(alpha2: Tensor) -> tuple[Tensor, Tensor]:
    """(K,) factors that give lobes the integral 1, and the integrals of their squares, over directions."""
    quarter = torch.cat([torch.zeros(1), torch.logspace(math.log10(_LEAST), math.log10(0.5), _QUADRATURE)])
    quarter = quarter.double()
    lobe = _lobe(quarter, alpha2.double()[:, None])
    total = 4.0 * math.pi * torch.trapezoid(lobe, quarter)  # the sphere's area grows evenly with `quarter`
    square = 4.0 * math.pi * torch.trapezoid(lobe * lobe, quarter)
    return (1.0 / total).float(), (square / (total * total)).float()


def _between(values: Tensor, lowest: Tensor, at: Tensor) -> Tensor:
    """(R,) where parabolas through the lowest of `values` (R, K) and its neighbors have their minimum.

    lowest: (R,) its index. at: (K,) evenly spaced places of the values.
    """
    rows, middle = torch.arange(len(values)), lowest.clamp(1, len(at) - 2)
    left, center, right = values[rows, middle - 1], values[rows, middle], values[rows, middle + 1]
    bend = (left - 2.0 * center + right).clamp_min(_LEAST)
    step = (0.5 * (left - right) / bend).clamp(-1.0, 1.0)
    return at[middle] + step * (at[1] - at[0])
