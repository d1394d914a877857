"""The environment BRDF: directional albedos of both lobes, and where the specular one leans, as a table.

Specular: `F0 * FG[..., 0] + FG[..., 1]`, the second factor of the split sum (Karis 2013, "Real Shading in
Unreal Engine 4") for GGX with height-correlated Smith shadowing. Diffuse: `FG[..., 2]`, for Burley's lobe
(2012, "Physically Based Shading at Disney", section 5.3), which path tracers' principled shaders have: about
1 seen from above, darker at grazing angles of smooth surfaces, brighter on rough ones.

Lean: `FG[..., 3]` is the share of the mirror direction in the specular lobe's mean direction, the rest being
the normal's. Prefiltered light is looked up there, since a rough lobe leans to the normal (Lagarde and de
Rousiers 2014, "Moving Frostbite to Physically Based Rendering", on the dominant direction; here the mean is
integrated). Looked up in the mirror direction, a rough metal under a workshop's lamps came out 1.8 times as
bright at grazing angles as path traced, and training explained it as dark paint.

Integrated numerically at start, so that no table is shipped.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from recon.render.brdf import sample_visible_normals, smith_masking, smith_shadowing

_GRAZING = 1e-4
# Seen from above, mirror direction, normal and mean are one; their limit is taken from the side.
_LEAST_SIDEWAYS = 0.98


def _low_discrepancy(count: int) -> Tensor:
    """(count, 2) points of the R2 sequence (Roberts 2018), a two-dimensional golden ratio."""
    plastic = 1.32471795724474602596
    index = torch.arange(1, count + 1, dtype=torch.float64)[:, None]
    return (0.5 + index * torch.tensor([1 / plastic, 1 / plastic**2], dtype=torch.float64)) % 1.0


@lru_cache(maxsize=8)
def _integrate(resolution: int, samples: int) -> Tensor:
    grid = torch.linspace(0.0, 1.0, resolution)
    n_dot_v = grid.clamp_min(_GRAZING)[:, None]
    uniform = _low_discrepancy(samples).float()
    rows = []
    for roughness in grid:
        alpha = roughness * roughness
        weight, v_dot_h, _, _ = _lobe(n_dot_v, alpha, uniform)
        fresnel = (1.0 - v_dot_h) ** 5
        scale, bias = (weight * (1.0 - fresnel)).mean(1), (weight * fresnel).mean(1)
        diffuse, lean = _diffuse_albedo(n_dot_v, roughness, uniform), _mirror_share(n_dot_v, alpha, uniform)
        rows.append(torch.stack([scale, bias, diffuse, lean], dim=-1))
    return torch.stack(rows, dim=1)


def _lobe(n_dot_v: Tensor, alpha: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Directions (R, S) that GGX reflects (sin, 0, n.v) to: weight, v.h, x and n.l. n_dot_v: (R, 1)."""
    half = sample_visible_normals(n_dot_v, alpha, uniform)
    sine = torch.sqrt(1.0 - n_dot_v * n_dot_v)
    v_dot_h = (sine * half[..., 0] + n_dot_v * half[..., 2]).clamp(0.0, 1.0)
    n_dot_l = 2.0 * v_dot_h * half[..., 2] - n_dot_v
    # Sampling by visible normals leaves the weight F G2 / G1.
    weight = smith_shadowing(n_dot_l.clamp_min(_GRAZING), n_dot_v, alpha) / smith_masking(n_dot_v, alpha)
    return torch.where(n_dot_l > 0, weight, 0.0), v_dot_h, 2.0 * v_dot_h * half[..., 0] - sine, n_dot_l


def _mirror_share(n_dot_v: Tensor, alpha: Tensor, uniform: Tensor) -> Tensor:
    """(R,) t with the lobe's mean direction along (1 - t) normal + t mirror. n_dot_v: (R, 1)."""
    n_dot_v = n_dot_v.clamp_max(_LEAST_SIDEWAYS)
    weight, _, x, n_dot_l = _lobe(n_dot_v, alpha, uniform)
    sideways, upward = -(weight * x).mean(1), (weight * n_dot_l).mean(1)
    cosine = n_dot_v[:, 0]
    sine = torch.sqrt(1.0 - cosine * cosine)
    return (sideways / (sine * upward + (1.0 - cosine) * sideways)).clamp(0.0, 1.0)


def _diffuse_albedo(n_dot_v: Tensor, roughness: Tensor, uniform: Tensor) -> Tensor:
    """(R,) mean of Burley's diffuse lobe over light directions drawn by their cosine. n_dot_v: (R, 1)."""
    radius, azimuth = uniform[:, 0].sqrt(), 2.0 * math.pi * uniform[:, 1]
    n_dot_l = (1.0 - uniform[:, 0]).sqrt()
    sine = torch.sqrt(1.0 - n_dot_v * n_dot_v)
    l_dot_v = sine * radius * torch.cos(azimuth) + n_dot_v * n_dot_l
    l_dot_h_squared = 0.5 * (1.0 + l_dot_v)  # the half vector halves the angle between light and view
    light, view = (1.0 - n_dot_l) ** 5, (1.0 - n_dot_v) ** 5
    retro = 2.0 * roughness * l_dot_h_squared
    base = (1.0 - 0.5 * light) * (1.0 - 0.5 * view)
    return (base + retro * (light + view + light * view * (retro - 1.0))).mean(1)


def fg_table(resolution: int = 64, samples: int = 512, device: torch.device | str = "cpu") -> Tensor:
    """(R, R, 4): scale and bias of F0, the diffuse lobe's albedo, and the specular one's lean.

    By n.v (rows) and roughness (columns).

    Both coordinates run from 0 (first) to 1 (last entry). Computed on the CPU with a fixed point set, so it
    is the same everywhere; kept for the life of the process.
    """
    return _integrate(resolution, samples).to(device)


def lookup_fg(table: Tensor, n_dot_v: Tensor, roughness: Tensor) -> Tensor:
    """(P, 4) bilinear lookup in `fg_table`'s result.

    n_dot_v, roughness: (P, 1), clamped to [0, 1] (the gradient is zero outside). Differentiable in both
    coordinates.
    """
    resolution = table.shape[0]
    y = n_dot_v.clamp(0.0, 1.0) * (resolution - 1)
    x = roughness.clamp(0.0, 1.0) * (resolution - 1)
    row = y.detach().long().clamp_max(resolution - 2)
    column = x.detach().long().clamp_max(resolution - 2)
    corner = (row * resolution + column)[:, 0]
    entries = table.reshape(-1, table.shape[-1])
    upper = torch.lerp(entries[corner], entries[corner + 1], x - column)
    lower = torch.lerp(entries[corner + resolution], entries[corner + resolution + 1], x - column)
    return torch.lerp(upper, lower, y - row)
