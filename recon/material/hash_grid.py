"""Multiresolution hash encoding of points (Müller et al. 2022, "Instant NGP", section 3)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from recon.material.hash_grid_kernels import hash_grid_kernels
from recon.warp_runtime import launch
from usd_tools.errors import UserError

# 32 levels of this size still count their entries in 31 bits.
_MAX_TABLE_LOG2 = 25
_MAX_LEVELS = 32


class HashGrid(nn.Module):
    """Features of 3D points, interpolated in a pyramid of grids whose fine levels share slots by hashing.

    levels: L, the number of grids. features: F, floats per entry. table_log2: log2 of the largest number of
    entries of a level. base, finest: cells per axis of the coarsest and the finest grid; those between grow
    geometrically. A level whose (N + 1)^3 vertices fit is indexed densely and takes just these entries.

    The table, (entries, F), starts uniform in +-1e-4 (from `generator`, or torch's global one).
    """

    resolutions: Tensor
    offsets: Tensor
    masks: Tensor

    def __init__(
        self,
        levels: int = 16,
        features: int = 2,
        table_log2: int = 19,
        base: int = 16,
        finest: int = 4096,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if levels < 1 or features < 1:
            raise UserError(f"hash grid: expected 1 level and 1 feature or more, got {levels} and {features}")
        if levels > _MAX_LEVELS:
            raise UserError(f"hash grid: expected at most {_MAX_LEVELS} levels, got {levels}")
        if not 1 <= table_log2 <= _MAX_TABLE_LOG2:
            raise UserError(f"hash grid: expected table_log2 from 1 to {_MAX_TABLE_LOG2}, got {table_log2}")
        if not 1 <= base <= finest:
            raise UserError(f"hash grid: expected 1 <= base <= finest, got {base} and {finest}")
        self.levels, self.features = levels, features
        resolutions = level_resolutions(levels, base, finest)
        slots = 1 << table_log2
        dense = [(n + 1) ** 3 <= slots for n in resolutions]
        sizes = [(n + 1) ** 3 if fits else slots for n, fits in zip(resolutions, dense)]
        offsets = [sum(sizes[:level]) for level in range(levels)]
        masks = [0 if fits else slots - 1 for fits in dense]
        for name, values in (("resolutions", resolutions), ("offsets", offsets), ("masks", masks)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.int32), persistent=False)
        table = torch.rand(sum(sizes), features, generator=generator)
        self.table = nn.Parameter((2.0 * table - 1.0) * 1e-4)

    @property
    def width(self) -> int:
        """Number of values per point: levels * features."""
        return self.levels * self.features

    def forward(self, points: Tensor) -> Tensor:
        """(P, levels * features), level by level from coarse to fine, at points (P, 3), clamped to [0, 1]^3.

        float32. Differentiable once: in the table, and in the points if they require a gradient (trilinear
        within a cell; zero outside the cube).
        """
        if points.dim() != 2 or points.shape[1] != 3 or points.dtype != torch.float32:
            raise ValueError(f"expected float32 points (P, 3), got {points.dtype} {tuple(points.shape)}")
        return _Encode.apply(points, self.table, self.resolutions, self.offsets, self.masks)


def level_resolutions(levels: int, base: int, finest: int) -> list[int]:
    """Cells per axis of every level: floor(base * b^level), where b leads to `finest` (equations 2 and 3)."""
    growth = math.exp(math.log(finest / base) / (levels - 1)) if levels > 1 else 1.0
    # The margin keeps an exact power from being floored to one less.
    return [math.floor(base * growth**level + 1e-6) for level in range(levels)]


def as_fine_as_pixels(extent: float, pixel: float) -> int:
    """Cells along `extent`, a power of two, so that one to two of them lie along a `pixel` (both lengths).

    Much finer cells learn from a single pixel each, and so fit its noise; coarser ones blur the pictures.
    """
    if not (extent > 0 and pixel > 0):
        raise ValueError(f"expected positive lengths, got an extent of {extent} and a pixel of {pixel}")
    return 1 << max(0, math.ceil(math.log2(extent / pixel)))


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, points: Tensor, table: Tensor, resolutions: Tensor, offsets: Tensor, masks: Tensor
    ) -> Tensor:
        points = points.detach().contiguous()
        ctx.save_for_backward(points, table, resolutions, offsets, masks)
        count, levels, features = points.shape[0], len(resolutions), table.shape[1]
        kernels = hash_grid_kernels(features)
        encoded = table.new_empty(count, levels * features)
        if count > 0:
            by_level = encoded.view(count, levels, features)
            inputs = (points, table.detach(), resolutions, offsets, masks, by_level)
            launch(kernels.forward, levels * count, inputs, points.device)
        return encoded

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        points, table, resolutions, offsets, masks = ctx.saved_tensors
        count, levels, features = points.shape[0], len(resolutions), table.shape[1]
        kernels = hash_grid_kernels(features)
        points_gradient = torch.zeros_like(points) if ctx.needs_input_grad[0] else None
        table_gradient = torch.zeros_like(table) if ctx.needs_input_grad[1] else None
        if count == 0:
            return points_gradient, table_gradient, None, None, None
        layout = resolutions, offsets, masks
        upstream = gradient.contiguous().view(count, levels, features)
        if table_gradient is not None:
            # A level's slice of the table is its own: nothing races, and the order of additions stays.
            into_table = (points, *layout, upstream, table_gradient)
            launch(kernels.backward_table, levels * count, into_table, points.device, together=count)
        if points_gradient is not None:
            into_points = (points, table.detach(), *layout, upstream, points_gradient)
            launch(kernels.backward_points, count, into_points, points.device)
        return points_gradient, table_gradient, None, None, None
