"""Boxes of cubic cells: the cube, and boxes fitted to bounds with as many cells."""

from __future__ import annotations

import math

import pytest
import torch

from recon.geometry.grid_box import GridBox, cube, fitted_box
from recon.geometry.tet_grid import tet_grid_over

SLIM = torch.tensor([[-0.2, -0.9, 0.1], [0.1, 0.9, 0.4]])


def fitted(bounds: torch.Tensor, resolution: int = 64, margin: float = 2.0, finest: float = 1e-4) -> GridBox:
    return fitted_box(cube(resolution), bounds, margin=margin, finest=finest)


def test_slim_bounds_get_finer_cells_and_no_more_of_them():
    whole, box = cube(64), fitted(SLIM)
    assert 0.85 * math.prod(whole.cells) < math.prod(box.cells) <= math.prod(whole.cells)
    assert box.cell_size < 0.5 * whole.cell_size
    lower, upper = box.bounds()
    for free in (SLIM[0] - lower, upper - SLIM[1]):  # two cells, and up to half a one of rounding up
        assert (free[[0, 2]] > 1.99 * box.cell_size).all() and (free[[0, 2]] < 2.51 * box.cell_size).all()
        assert 1.99 * box.cell_size < free[1] < 2.51 * box.cell_size
    # Vertices and tets, which cost the memory and the time, are about those of the cube, too.
    coarse, fine = tet_grid_over(cube(16)), tet_grid_over(fitted(SLIM, 16))
    assert 0.7 < len(fine.tets) / len(coarse.tets) <= 1
    assert 0.7 < len(fine.vertices) / len(coarse.vertices) < 1.15


@pytest.mark.parametrize("half", [0.97, 1.0, 5.0])
@pytest.mark.parametrize("resolution", [4, 8, 40, 64])
def test_what_fills_the_cube_gets_the_cube(half, resolution):
    box, whole = fitted(torch.tensor([[-half] * 3, [half] * 3]), resolution), cube(resolution)
    assert box.cells == whole.cells
    assert box.cell_size == pytest.approx(whole.cell_size, rel=1e-9)
    assert box.center == pytest.approx((0, 0, 0), abs=1e-9)


def test_margins_end_at_the_cube():
    box = fitted(torch.tensor([[-0.3, -0.9, -0.3], [0.3, 0.99, 0.3]]), 16)
    lower, upper = box.bounds()
    assert (lower >= -1 - 0.51 * box.cell_size).all() and (upper <= 1 + 0.51 * box.cell_size).all()
    assert upper[1] >= 1 - 1e-6


def test_no_cell_is_smaller_than_asked():
    speck = torch.tensor([[0.5, 0.5, 0.5], [0.52, 0.51, 0.5]])
    box = fitted(speck, finest=0.01)
    assert box.cell_size == pytest.approx(0.01, rel=1e-9)
    assert box.cells == (6, 5, 4)
    # Pixels wider than the cells of the cube do not make the grid coarser than the cube is.
    assert fitted(SLIM, finest=0.5).cell_size == pytest.approx(cube(64).cell_size)


def test_box_of_tensors_is_the_same_to_the_bit():
    box = fitted(SLIM, 12)
    again = GridBox.from_tensors(box.tensors())
    assert again == box
    assert torch.equal(tet_grid_over(again).vertices, tet_grid_over(box).vertices)


def test_cell_centers_are_those_of_the_grid():
    box = fitted(SLIM, 8)
    assert torch.equal(box.cell_centers(), tet_grid_over(box).vertices[-math.prod(box.cells) :])


@pytest.mark.parametrize(
    "bounds", [[[0.0, 0.0, 0.0], [1.0, -0.1, 1.0]], [[0.0, 0.0, 0.0], [1.0, math.nan, 1.0]]]
)
def test_impossible_bounds_are_refused(bounds):
    with pytest.raises(ValueError, match="expected finite corners"):
        fitted(torch.tensor(bounds))
    with pytest.raises(ValueError, match="finest"):
        fitted(SLIM, finest=0.0)
