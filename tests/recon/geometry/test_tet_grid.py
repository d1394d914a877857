"""The tetrahedral grid: it fills the cube, its tables agree, and its tets fit together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.geometry.grid_box import GridBox, cells_per_axis, cube
from recon.geometry.tet_grid import build_tet_grid, tet_grid_over

_PAIRS = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
BOXES = [
    cube(4),
    cube(9),
    GridBox((0.0, 0.0, 0.0), (2, 3, 5), 0.5),
    GridBox((0.25, -1.0, 0.5), (7, 4, 2), 0.125),
    GridBox((0.0, 0.0, 0.0), (1, 6, 3), 1.0),
    GridBox((0.0, 0.0, 0.0), (1, 1, 1), 1.0),
]
in_boxes = pytest.mark.parametrize("box", BOXES, ids=lambda box: "x".join(map(str, box.cells)))


@pytest.mark.parametrize("resolution", [4, 5, 6, 7, 12])
def test_fills_the_cube_with_positive_tets(resolution):
    grid = build_tet_grid(resolution, 0.75)
    corners = grid.vertices.double()[grid.tets]
    volumes = torch.linalg.det(corners[:, 1:] - corners[:, :1]) / 6
    n = cells_per_axis(resolution)
    # All tets have one volume: an octahedron over two cells' common face, cut in four.
    assert torch.allclose(volumes, torch.full_like(volumes, (1.5 / n) ** 3 / 12), rtol=1e-5)
    assert volumes.sum().item() == pytest.approx(1.5**3, rel=1e-6)
    assert grid.vertices.abs().max() == 0.75
    assert grid.cell_size == pytest.approx(1.5 / n)
    assert len(grid.vertices) == (n + 1) ** 3 + n**3 and len(grid.tets) == 12 * n**3
    assert torch.equal(grid.border, (grid.vertices.abs() == 0.75).any(dim=1))


@in_boxes
def test_fills_a_box_with_positive_tets(box):
    grid = tet_grid_over(box)
    x, y, z = box.cells
    corners = grid.vertices.double()[grid.tets]
    volumes = torch.linalg.det(corners[:, 1:] - corners[:, :1]) / 6
    assert torch.allclose(volumes, torch.full_like(volumes, box.cell_size**3 / 12), rtol=1e-5)
    assert volumes.sum().item() == pytest.approx(x * y * z * box.cell_size**3, rel=1e-6)
    assert len(grid.vertices) == (x + 1) * (y + 1) * (z + 1) + x * y * z and len(grid.tets) == 12 * x * y * z
    lower, upper = box.bounds()
    assert torch.equal(grid.vertices.amin(0), lower) and torch.equal(grid.vertices.amax(0), upper)
    half = 0.5 * box.cell_size * torch.tensor(box.cells)
    assert torch.allclose(torch.stack([lower, upper]), torch.tensor(box.center) + torch.stack([-half, half]))
    assert torch.equal(grid.border, ((grid.vertices == lower) | (grid.vertices == upper)).any(dim=1))
    lengths = (grid.vertices[grid.edges[:, 0]] - grid.vertices[grid.edges[:, 1]]).norm(dim=1)
    assert lengths[~grid.border[grid.edges].all(dim=1)].max() <= box.cell_size * (1 + 1e-6)


@in_boxes
def test_conforming(box):
    grid = tet_grid_over(box)
    triples = torch.tensor([(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)])
    faces = grid.tets[:, triples].reshape(-1, 3).sort(dim=1).values
    unique, counts = torch.unique(faces, dim=0, return_counts=True)
    assert counts.max() == 2
    # A face of one tet only lies in one of the box's sides.
    lonely = grid.vertices[unique[counts == 1]]
    assert (lonely[..., None, :] == box.bounds()).all(dim=1).flatten(1).any(dim=1).all()
    area = torch.linalg.cross(lonely[:, 1] - lonely[:, 0], lonely[:, 2] - lonely[:, 0]).norm(dim=1).sum() / 2
    x, y, z = box.cells
    assert area.item() == pytest.approx(2 * (x * y + y * z + z * x) * box.cell_size**2, rel=1e-5)


@in_boxes
def test_edge_tables(box):
    grid = tet_grid_over(box)
    expected = grid.tets[:, torch.tensor(_PAIRS)].sort(dim=-1).values
    assert torch.equal(grid.edges[grid.tet_edges].sort(dim=-1).values, expected)
    unique = torch.unique(expected.reshape(-1, 2), dim=0)
    assert len(unique) == len(grid.edges)
    assert torch.equal(torch.unique(grid.edges.sort(dim=1).values, dim=0), unique)


def test_size_follows_the_resolution():
    # nvdiffrec's grid "64" has 277,410 vertices.
    n = cells_per_axis(64)
    assert abs((n + 1) ** 3 + n**3 - 277_410) < 0.02 * 277_410
    for resolution in (16, 32):
        vertices = len(build_tet_grid(resolution).vertices)
        assert 0.85 < vertices / (resolution + 1) ** 3 < 1.15


def test_tets_cannot_be_flattened_by_less_than_half_a_cell():
    # What DMTet's bound on displacements rests on: for every tet that does not lie with a face on the
    # border the least, over directions d, of (extent along d) / (L1 norm of d) is half a cell. The extremes
    # are at face normals and at the directions perpendicular to two opposite edges.
    grid = build_tet_grid(5)
    tets = grid.tets[grid.border[grid.tets].sum(dim=1) < 3]
    a, b, c, d = grid.vertices.double()[tets].unbind(1)
    crosses = [(b - a, c - a), (b - a, d - a), (c - a, d - a), (c - b, d - b)]
    crosses += [(b - a, d - c), (c - a, d - b), (d - a, c - b)]
    widths = []
    for one, two in crosses:
        normal = torch.linalg.cross(one, two)
        normal = normal / normal.abs().sum(dim=1, keepdim=True)
        along = torch.stack([(p * normal).sum(1) for p in (a, b, c, d)])
        widths.append(along.amax(0) - along.amin(0))
    assert torch.stack(widths).min().item() == pytest.approx(grid.cell_size / 2, rel=1e-5)


@pytest.mark.parametrize(("resolution", "half_extent"), [(3, 1.0), (8, 0.0), (8, float("nan"))])
def test_impossible_grids_are_refused(resolution, half_extent):
    with pytest.raises(ValueError, match="expected"):
        build_tet_grid(resolution, half_extent)


def test_numbers_are_plain_tensors():
    grid = build_tet_grid(4).to("cpu")
    assert grid.vertices.dtype == torch.float32
    assert grid.tets.dtype == grid.edges.dtype == grid.tet_edges.dtype == torch.int64
    assert np.isclose(grid.to("cpu").cell_size, grid.cell_size)
