"""Albedo, roughness and metallic of surface cells by linear fits: a search that cannot get stuck.

Given light, normals and a roughness, what a pixel shows is linear in the diffuse and in the specular
reflectance of its surface. So for each of some roughnesses both explanations have closed forms: a dielectric,
whose specular reflectance is known, and a metal, whose diffuse one is zero. The pixels that show a cell from
all sides say which of them it is. Gradient descent cannot: on the way from dark paint to metal the error
first grows, for a metal whose base color has become dark reflects less than paint does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.light.cubemap import lookup
from recon.light.environment import PrefilteredLight
from recon.light.fg_table import lookup_fg
from recon.render.brdf import DIELECTRIC_F0
from recon.render.shade import LEAST_LIGHT

ROUGHNESSES = (0.05, 0.08, 0.11, 0.15, 0.2, 0.27, 0.36, 0.48, 0.62, 0.8, 0.95)
"""Candidates; finer where lobes are narrow, since a change there is seen best."""

# A metal has to explain a cell better than paint by this share of the error left: rough ones look alike.
_METAL_MARGIN = 0.05
# There are no black metals: least mean reflectance of one, and the factor on the error of others.
_LEAST_METAL, _BLACK_METAL = 0.1, 1e3
# Squared radiance at which errors begin to count relative to what is seen.
_DARK = 0.05
# Weight of the pixels of the cell twice as long: one that few pixels show has its neighbors' reflectance.
_POOLING = 0.02
# Weight of what is likely in the cells twice, four times and eight times as long: roughness and class differ
# at edges only, while reflectance may differ everywhere.
_AGREEMENT = (0.5, 0.2, 0.05)
_LEAST_ERROR = 1e-6  # mean squared, of a pixel: nothing is explained better than so
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear Rec.709
_KEY_BITS = 20  # of a cell's index along one axis


@dataclass(frozen=True)
class Observations:
    """What N pixels show of a surface: all float32.

    position: (N, 3). color: (N, 3), scene-linear radiance. irradiance: (N, 3), divided by pi, of what reaches
    the point. n_dot_v: (N, 1). normal, reflected: (N, 3) unit normals and mirror directions, in the light's
    frame. variance: (N, 1) of the normals within each pixel. blocked: (N, K, 3), for each of `ROUGHNESSES`
    what the object keeps from the lobe (`OccludedLight.reflected`); K is 0 where that is nothing. weight:
    (N, 1), how much a pixel's error counts.
    """

    position: Tensor
    color: Tensor
    irradiance: Tensor
    n_dot_v: Tensor
    normal: Tensor
    reflected: Tensor
    variance: Tensor
    blocked: Tensor
    weight: Tensor


@dataclass(frozen=True)
class CellMaterials:
    """The material of M cells.

    position: (M, 3), mean of what was seen there. albedo: (M, 3), linear. roughness, metallic: (M, 1);
    metallic is 0 or 1.
    """

    position: Tensor
    albedo: Tensor
    roughness: Tensor
    metallic: Tensor


@torch.no_grad()
def fit_reflectance(
    batches: Sequence[Observations], light: PrefilteredLight, fg: Tensor, cell: float
) -> CellMaterials:
    """The material that explains the observations best, in each cell of a grid that they touch.

    batches: not empty; together they are what is known. fg: `recon.light.fg_table.fg_table`'s table. cell:
    side of a cell, in the positions' unit; best about a pixel's footprint.

    The reflectance model is `recon.render.shade`'s. Errors are squared, relative to the color but for dark
    ones. Roughness and class are those that are likely in a cell and in those around it.
    """
    positions = torch.cat([batch.position for batch in batches])
    cells, rows, counts = _cells(positions, cell)
    means = positions.new_zeros(len(cells), 3).index_add_(0, rows, positions) / counts[:, None]
    parts = rows.split([len(batch.position) for batch in batches])
    around = _ancestors(cells, len(_AGREEMENT))

    paints, metals = [], []
    for number in range(len(ROUGHNESSES)):
        sums = positions.new_zeros(len(cells), 18)
        for batch, part in zip(batches, parts, strict=True):
            sums.index_add_(0, part, _products(batch, light, fg, number))
        paint, metal = _explained(sums + _POOLING * around[0].of_all(sums), counts)
        paints.append(paint)
        metals.append(metal)
    return _likeliest(means, paints, metals, counts, around)


@dataclass(frozen=True)
class _Explanation:
    """Of M cells by one roughness: reflectance (M, 3); cost (M,), minus twice the log of the likelihood."""

    reflectance: Tensor
    cost: Tensor


def _explained(sums: Tensor, counts: Tensor) -> tuple[_Explanation, _Explanation]:
    """The best paint and the best metal by the normal equations' `sums` (M, 18) over `counts` (M,) pixels.

    How exactly pixels can be explained differs from place to place (by wrong normals, by reflections of the
    object itself), so the noise is estimated with the material: the likelihood of N pixels with the mean
    squared error e is then e^(-N / 2).
    """
    dd, ds, ss, dy, sy, yy = sums.split(3, dim=1)
    dielectric = torch.full_like(dd, DIELECTRIC_F0)
    paint = ((dy - dielectric * ds) / dd.clamp_min(1e-12)).clamp(0.0, 1.0)
    metal = (sy / ss.clamp_min(1e-12)).clamp(DIELECTRIC_F0, 1.0)

    def cost(diffuse: Tensor, specular: Tensor) -> Tensor:
        explained = diffuse * (diffuse * dd - 2.0 * dy) + specular * (specular * ss - 2.0 * sy)
        error = (yy + explained + 2.0 * diffuse * specular * ds).sum(dim=1)
        return counts * (error / counts).clamp_min(_LEAST_ERROR).log()

    bright = metal @ metal.new_tensor(_LUMINANCE) > _LEAST_METAL
    unlikely = counts * math.log(1.0 / (1.0 - _METAL_MARGIN)) + (~bright) * counts * math.log(_BLACK_METAL)
    return (
        _Explanation(paint, cost(paint, dielectric)),
        _Explanation(metal, cost(torch.zeros_like(metal), metal) + unlikely),
    )


def _likeliest(
    means: Tensor,
    paints: Sequence[_Explanation],
    metals: Sequence[_Explanation],
    counts: Tensor,
    around: Sequence[_Ancestors],
) -> CellMaterials:
    """The roughness and class that cells and those around them agree on, with the cells' own reflectances."""
    costs = torch.stack([explanation.cost for explanation in (*paints, *metals)], dim=1)
    pooled = costs.clone()
    for ancestors, weight in zip(around, _AGREEMENT, strict=True):
        pooled += weight * ancestors.of_all(costs)
    chosen = pooled.argmin(dim=1)
    albedo = torch.zeros_like(means)
    for number, explanation in enumerate((*paints, *metals)):
        albedo = torch.where((chosen == number)[:, None], explanation.reflectance, albedo)
    roughness = means.new_tensor(ROUGHNESSES)[chosen % len(ROUGHNESSES)]
    metallic = (chosen >= len(ROUGHNESSES)).to(means.dtype)
    return CellMaterials(means, albedo, roughness[:, None], metallic[:, None])


def _products(seen: Observations, light: PrefilteredLight, fg: Tensor, number: int) -> Tensor:
    """(N, 18) products of the normal equations: dd, ds, ss, dy, sy, yy per color channel.

    number: of the candidate in `ROUGHNESSES`.

    d and s are what a unit of diffuse and of specular reflectance would send, y the color without the
    specular part that no reflectance scales.
    """
    candidate = torch.full_like(seen.n_dot_v, ROUGHNESSES[number])
    scale, bias, diffuse_albedo, lean = lookup_fg(fg, seen.n_dot_v, candidate).split(1, dim=-1)
    lobe = (candidate**4 + seen.variance).clamp(max=1.0) ** 0.25
    mean = torch.lerp(seen.normal, seen.reflected, lean)
    mirrored = lookup(light.specular, mean, light.level(lobe))
    if seen.blocked.shape[1] > 0:
        mirrored = torch.maximum(mirrored - seen.blocked[:, number], LEAST_LIGHT * mirrored)
    d, s, y = seen.irradiance * diffuse_albedo, mirrored * scale, seen.color - mirrored * bias
    weight = seen.weight / (seen.color.mean(dim=1, keepdim=True) ** 2 + _DARK)
    return torch.cat([weight * product for product in (d * d, d * s, s * s, d * y, s * y, y * y)], dim=1)


def _cells(positions: Tensor, cell: float) -> tuple[Tensor, Tensor, Tensor]:
    """Keys of the cells that `positions` (N, 3) touch, each position's row among them, and their counts."""
    index = ((positions - positions.amin(dim=0)) / cell).long().clamp(max=2**_KEY_BITS - 1)
    x, y, z = index.unbind(dim=1)
    keys, rows, counts = torch.unique(
        (x << 2 * _KEY_BITS) | (y << _KEY_BITS) | z, return_inverse=True, return_counts=True
    )
    return keys, rows, counts


@dataclass(frozen=True)
class _Ancestors:
    """Larger cells that M cells lie in: `rows` (M,) among `count` of them."""

    rows: Tensor
    count: int

    def of_all(self, values: Tensor) -> Tensor:
        """(M, C) sums of `values` (M, C) over all cells within the same larger one."""
        return values.new_zeros(self.count, values.shape[1]).index_add_(0, self.rows, values)[self.rows]


def _ancestors(keys: Tensor, levels: int) -> list[_Ancestors]:
    """The cells twice, four times, ... as long that hold the cells `keys`."""
    found = []
    rows = torch.arange(len(keys), device=keys.device)
    for _ in range(levels):
        keys, parents = torch.unique(_parent(keys), return_inverse=True)
        rows = parents[rows]
        found.append(_Ancestors(rows, len(keys)))
    return found


def _parent(keys: Tensor) -> Tensor:
    """The keys of the cells twice as long that hold the cells `keys`."""
    mask = 2**_KEY_BITS - 1
    x, y, z = keys >> 2 * _KEY_BITS, (keys >> _KEY_BITS) & mask, keys & mask
    return (x >> 1 << 2 * _KEY_BITS) | (y >> 1 << _KEY_BITS) | (z >> 1)
