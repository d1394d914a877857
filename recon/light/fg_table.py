"""The environment BRDF: directional albedos of both lobes, and the prefiltered light of the specular one.

The second factor of the split sum (Karis 2013, "Real Shading in Unreal Engine 4"), for GGX with
separable Smith shadowing. Entries, by their last index:

0, 1. Metals, whose Fresnel is Schlick's: they reflect `F0 * FG[..., 0] + FG[..., 1]`.
2. What dielectrics reflect, by `recon.render.brdf.dielectric_fresnel`.
3. What of the light Burley's diffuse lobe sends on (2012, "Physically Based Shading at Disney", section 5.3),
   which path tracers' principled shaders have: about 1 seen from above, darker at grazing angles of smooth
   surfaces, brighter on rough ones.
4. Lean: the share of the mirror direction in the direction where prefiltered light is looked up, the rest
   being the normal's, for a rough lobe leans to the normal. Looked up in the mirror direction, a rough metal
   under a workshop's lamps came out 1.8 times as bright at grazing angles as path traced, and training
   explained it as dark paint.
5. Width: what alpha^2 is multiplied with for that lookup. See `recon.light.isotropic_lobe` for both.

Integrated numerically at start, so that no table is shipped.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from recon.light.isotropic_lobe import ReflectedLobes, best_prefiltered_lobes
from recon.render.brdf import dielectric_fresnel, sample_visible_normals, smith_masking, smith_shadowing

_GRAZING = 1e-4
# Seen from above, mirror direction, normal and mean are one; their limit is taken from the side.
_LEAST_SIDEWAYS = 0.98
# The nearest prefiltered lobe varies slowly: it is found on so many entries along a side. Below the least
# roughness its proportions stay, and floats would get too coarse.
_LOBE_ENTRIES = 33
_LEAST_ROUGHNESS = 0.05


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
        lobes, v_dot_h = _reflected(n_dot_v, roughness * roughness, uniform)
        fresnel = (1.0 - v_dot_h) ** 5
        shares = (1.0 - fresnel, fresnel, dielectric_fresnel(v_dot_h))
        reflected = [(lobes.weights * share).mean(1) for share in shares]
        rows.append(torch.stack([*reflected, _diffuse_albedo(n_dot_v, roughness, uniform)], dim=-1))
    entries = _lean_and_width(uniform).permute(2, 0, 1)[None]
    finer = interpolate(entries, (resolution, resolution), mode="bilinear", align_corners=True)
    return torch.cat([torch.stack(rows, dim=1), finer[0].permute(1, 2, 0)], dim=-1)


def _lean_and_width(uniform: Tensor) -> Tensor:
    """(_LOBE_ENTRIES, _LOBE_ENTRIES, 2) by n.v and roughness."""
    grid = torch.linspace(0.0, 1.0, _LOBE_ENTRIES)
    n_dot_v = grid.clamp(_GRAZING, _LEAST_SIDEWAYS)[:, None]
    columns = []
    for alpha in grid.clamp_min(_LEAST_ROUGHNESS).square().tolist():
        columns.append(best_prefiltered_lobes(_reflected(n_dot_v, torch.tensor(alpha), uniform)[0], alpha))
    return torch.stack(columns, dim=1)


def _reflected(n_dot_v: Tensor, alpha: Tensor, uniform: Tensor) -> tuple[ReflectedLobes, Tensor]:
    """What GGX reflects cameras' rays to, and v.h (R, S) of the samples. n_dot_v: (R, 1)."""
    half = sample_visible_normals(n_dot_v, alpha, uniform)
    sine = torch.sqrt(1.0 - n_dot_v * n_dot_v)
    v_dot_h = (sine * half[..., 0] + n_dot_v * half[..., 2]).clamp(0.0, 1.0)
    view = torch.stack([sine, torch.zeros_like(sine), n_dot_v], dim=-1)
    directions = 2.0 * v_dot_h[..., None] * half - view
    n_dot_l = directions[..., 2]
    # Sampling by visible normals leaves the weight F G2 / G1.
    weight = smith_shadowing(n_dot_l.clamp_min(_GRAZING), n_dot_v, alpha) / smith_masking(n_dot_v, alpha)
    return ReflectedLobes(n_dot_v, directions, torch.where(n_dot_l > 0, weight, 0.0)), v_dot_h


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
    """(R, R, 6) by n.v (rows) and roughness (columns): the entries that the module's docstring lists.

    Both coordinates run from 0 (first) to 1 (last entry). Computed on the CPU with a fixed point set, so it
    is the same everywhere; kept for the life of the process.
    """
    return _integrate(resolution, samples).to(device)


def lookup_fg(table: Tensor, n_dot_v: Tensor, roughness: Tensor) -> Tensor:
    """(P, 6) bilinear lookup in `fg_table`'s result.

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
