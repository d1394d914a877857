"""Boxes of cubic cells: where a tetrahedral grid is, and how fine it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MINIMUM_RESOLUTION = 4
# Bisections of the cell size: to the last bit of a double.
_BISECTIONS = 60


@dataclass(frozen=True)
class GridBox:
    """cells: how many cubic cells of edge length `cell_size` there are along x, y and z around `center`."""

    center: tuple[float, float, float]
    cells: tuple[int, int, int]
    cell_size: float

    def bounds(self) -> Tensor:
        """(2, 3) float32 lower and upper corner."""
        half = 0.5 * self.cell_size * np.array(self.cells)
        return torch.from_numpy(np.stack([self.center - half, self.center + half]).astype(np.float32))

    def cell_centers(self) -> Tensor:
        """(l * m * n, 3) float32."""
        axes = [
            center + self.cell_size * (np.arange(n) - 0.5 * (n - 1))
            for center, n in zip(self.center, self.cells)
        ]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return torch.from_numpy(grid.astype(np.float32))

    def tensors(self) -> dict[str, Tensor]:
        """The same as tensors, exactly, for a checkpoint; `from_tensors` reads them."""
        return {
            "center": torch.tensor(self.center, dtype=torch.float64),
            "cells": torch.tensor(self.cells),
            "cell_size": torch.tensor(self.cell_size, dtype=torch.float64),
        }

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> GridBox:
        x, y, z = tensors["center"].tolist()
        nx, ny, nz = tensors["cells"].tolist()
        return GridBox((x, y, z), (nx, ny, nz), tensors["cell_size"].item())


def cells_per_axis(resolution: int) -> int:
    """Cubic cells along an axis of the cube for a `resolution`: round(resolution / 2^(1/3)), see `cube`."""
    return max(2, round(resolution / 2 ** (1 / 3)))


def cube(resolution: int, half_extent: float = 1.0) -> GridBox:
    """The cube [-half_extent, half_extent]^3, with cells for a tetrahedral grid of `resolution`.

    A body-centered tetrahedral grid of n^3 cells has (n + 1)^3 + n^3 vertices and 12 n^3 tets. So that a
    resolution means what users of nvdiffrec expect (its grid "64" has 277,410 vertices and 1.5 M tets), n is
    round(resolution / 2^(1/3)).

    resolution: at least 4. half_extent: half the cube's edge.
    """
    if resolution < MINIMUM_RESOLUTION:
        raise ValueError(f"resolution: expected at least {MINIMUM_RESOLUTION}, got {resolution}")
    if not half_extent > 0:
        raise ValueError(f"half_extent: expected a positive length, got {half_extent}")
    n = cells_per_axis(resolution)
    return GridBox((0.0, 0.0, 0.0), (n, n, n), 2 * half_extent / n)


def fitted_box(within: GridBox, bounds: Tensor, *, margin: float, finest: float) -> GridBox:
    """A box around `bounds` with about as many cells as the box `within` has, hence finer ones.

    bounds: (2, 3) lower and upper corner of what has to be inside; what is out of `within` is left out.
    margin: cells to keep free around it, as far as `within` has room for them. finest: the least cell size.

    The cells are the smallest that fill the box without being more than those of `within`; rounding up to
    whole cells may take the box up to half a cell out of `within`.
    """
    if not finest > 0:
        raise ValueError(f"finest: expected a positive length, got {finest}")
    inner = bounds.double().numpy()
    if not (np.isfinite(inner).all() and (inner[0] <= inner[1]).all()):
        raise ValueError(f"bounds: expected finite corners with lower <= upper, got {bounds.tolist()}")
    half = 0.5 * within.cell_size * np.array(within.cells)
    outer = np.stack([within.center - half, within.center + half])
    inner = inner.clip(*outer)
    budget = math.prod(within.cells)

    def around(cell_size: float) -> tuple[np.ndarray, list[int]]:
        free = margin * cell_size
        box = np.stack([inner[0] - free, inner[1] + free]).clip(*outer)
        # The tolerance keeps rounding errors from adding a cell.
        counts = np.ceil((box[1] - box[0]) / cell_size - 1e-9).clip(min=1)
        return box, counts.astype(int).tolist()

    # As many cells as `within` has always suffice at its own cell size.
    small, large = min(finest, within.cell_size), within.cell_size
    for _ in range(_BISECTIONS):
        middle = 0.5 * (small + large)
        if math.prod(around(middle)[1]) <= budget:
            large = middle
        else:
            small = middle
    box, (nx, ny, nz) = around(large)
    x, y, z = box.mean(axis=0).tolist()
    return GridBox((x, y, z), (nx, ny, nz), large)
