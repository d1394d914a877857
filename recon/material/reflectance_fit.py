"""Albedo, roughness and metallic of surface cells by linear fits: a search that cannot get stuck.

Given light, normals and a roughness, what a pixel shows is linear in the diffuse and in the specular
reflectance of its surface. So for each of some roughnesses both explanations have closed forms: a dielectric,
whose specular reflectance is known, and a metal, whose diffuse one is zero. The pixels that show a cell from
all sides say which of them it is. Gradient descent cannot: on the way from dark paint to metal the error
first grows, for a metal whose base color has become dark reflects less than paint does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.light.cubemap import lookup
from recon.light.environment import PrefilteredLight
from recon.light.fg_table import lookup_fg
from recon.render.brdf import DIELECTRIC_F0
from recon.render.shade import LEAST_LIGHT, blur_of_lobe

ROUGHNESSES = (0.05, 0.08, 0.11, 0.15, 0.2, 0.27, 0.36, 0.48, 0.62, 0.8, 0.95)
"""Candidates; finer where lobes are narrow, since a change there is seen best."""

# A metal has to explain a cell better than paint by this share of the error left: rough ones look alike.
_METAL_MARGIN = 0.05
# There are no black metals: least mean reflectance of one.
_LEAST_METAL = 0.1
# Squared radiance, about that of lit white paint, at which errors begin to count relative to what is seen.
# Were that far darker, a lamp's reflection a degree beside its place, bright where a dark pixel was seen,
# would outweigh all that speaks for gloss.
_DARK = 1.0
# Weight of what the cell eight times as large says: a cell that few pixels show follows its neighbors.
_POOLING = 0.05
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

    The reflectance model is `recon.render.shade`'s. Errors are squared, and relative to the color where it is
    bright.
    """
    positions = torch.cat([batch.position for batch in batches])
    cells, rows, counts = _cells(positions, cell)
    means = positions.new_zeros(len(cells), 3).index_add_(0, rows, positions) / counts[:, None]
    parts = rows.split([len(batch.position) for batch in batches])
    parents, parent = torch.unique(_parent(cells), return_inverse=True)

    found: _Best | None = None
    for number, roughness in enumerate(ROUGHNESSES):
        sums = positions.new_zeros(len(cells), 18)
        for batch, part in zip(batches, parts, strict=True):
            sums.index_add_(0, part, _products(batch, light, fg, number))
        pooled = sums.new_zeros(len(parents), 18).index_add_(0, parent, sums)
        best = _Best.of(sums + _POOLING * pooled[parent], roughness)
        found = best if found is None else found.or_better(best)
    assert found is not None
    return found.materials(means)


@dataclass(frozen=True)
class _Best:
    """Both explanations of M cells: errors (M,), reflectances (M, 3) and roughnesses (M,)."""

    paint_error: Tensor
    paint: Tensor
    paint_roughness: Tensor
    metal_error: Tensor
    metal: Tensor
    metal_roughness: Tensor

    @staticmethod
    def of(sums: Tensor, roughness: float) -> _Best:
        """The best reflectances at one roughness, of the normal equations' `sums` (M, 18)."""
        dd, dp, pp, ss, sm, mm = sums.split(3, dim=1)
        paint = (dp / dd.clamp_min(1e-12)).clamp(0.0, 1.0)
        metal = (sm / ss.clamp_min(1e-12)).clamp(DIELECTRIC_F0, 1.0)
        paint_error = (pp + paint * (paint * dd - 2.0 * dp)).sum(dim=1)
        metal_error = (mm + metal * (metal * ss - 2.0 * sm)).sum(dim=1)
        candidate = sums.new_full((len(sums),), roughness)
        return _Best(paint_error, paint, candidate, metal_error, metal, candidate)

    def or_better(self, other: _Best) -> _Best:
        """Of each explanation the better one, cell by cell."""
        paint, metal = other.paint_error < self.paint_error, other.metal_error < self.metal_error
        return _Best(
            torch.where(paint, other.paint_error, self.paint_error),
            torch.where(paint[:, None], other.paint, self.paint),
            torch.where(paint, other.paint_roughness, self.paint_roughness),
            torch.where(metal, other.metal_error, self.metal_error),
            torch.where(metal[:, None], other.metal, self.metal),
            torch.where(metal, other.metal_roughness, self.metal_roughness),
        )

    def materials(self, positions: Tensor) -> CellMaterials:
        bright = self.metal @ self.metal.new_tensor(_LUMINANCE) > _LEAST_METAL
        is_metal = (self.metal_error < (1.0 - _METAL_MARGIN) * self.paint_error) & bright
        return CellMaterials(
            positions,
            torch.where(is_metal[:, None], self.metal, self.paint),
            torch.where(is_metal, self.metal_roughness, self.paint_roughness)[:, None],
            is_metal.to(positions.dtype)[:, None],
        )


def _products(seen: Observations, light: PrefilteredLight, fg: Tensor, number: int) -> Tensor:
    """(N, 18) products of both normal equations, dd, dp, pp, ss, sm, mm, per color channel.

    number: of the candidate in `ROUGHNESSES`.

    d and s are what a unit of diffuse reflectance would send and a unit of a metal's. p and m are the color
    without what paint and metal reflect whatever these are.
    """
    candidate = torch.full_like(seen.n_dot_v, ROUGHNESSES[number])
    response = lookup_fg(fg, seen.n_dot_v, candidate)
    scale, bias, dielectric, diffuse_albedo, lean, width = response.split(1, dim=-1)
    blur = blur_of_lobe(candidate, width, seen.variance)
    mirrored = lookup(light.specular, torch.lerp(seen.normal, seen.reflected, lean), light.level(blur))
    if seen.blocked.shape[1] > 0:
        mirrored = torch.maximum(mirrored - seen.blocked[:, number], LEAST_LIGHT * mirrored)
    d, p = seen.irradiance * diffuse_albedo, seen.color - mirrored * dielectric
    s, m = mirrored * scale, seen.color - mirrored * bias
    weight = seen.weight / (seen.color.mean(dim=1, keepdim=True) ** 2 + _DARK)
    return torch.cat([weight * product for product in (d * d, d * p, p * p, s * s, s * m, m * m)], dim=1)


def _cells(positions: Tensor, cell: float) -> tuple[Tensor, Tensor, Tensor]:
    """Keys of the cells that `positions` (N, 3) touch, each position's row among them, and their counts."""
    index = ((positions - positions.amin(dim=0)) / cell).long().clamp(max=2**_KEY_BITS - 1)
    x, y, z = index.unbind(dim=1)
    keys, rows, counts = torch.unique(
        (x << 2 * _KEY_BITS) | (y << _KEY_BITS) | z, return_inverse=True, return_counts=True
    )
    return keys, rows, counts


def _parent(keys: Tensor) -> Tensor:
    """The keys of the cells twice as long that hold the cells `keys`."""
    mask = 2**_KEY_BITS - 1
    x, y, z = keys >> 2 * _KEY_BITS, (keys >> _KEY_BITS) & mask, keys & mask
    return (x >> 1 << 2 * _KEY_BITS) | (y >> 1 << _KEY_BITS) | (z >> 1)
