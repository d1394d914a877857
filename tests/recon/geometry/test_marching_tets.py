"""Marching tetrahedra against analytic shapes, a tet-by-tet reference, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.geometry.marching_tets import EmptySurfaceError, marching_tets
from recon.geometry.tet_grid import build_tet_grid
from tests.recon.geometry.reference_marching_tets import enclosed_volume
from tests.shapes import area_and_volume, assert_watertight, euler_characteristic
from usd_tools.errors import UserError


def _volume(vertices, faces):
    a, b, c = vertices[faces].unbind(1)
    return (a * torch.linalg.cross(b, c)).sum() / 6


def test_sphere_is_watertight_with_the_right_area_and_volume():
    grid = build_tet_grid(32)
    radius = 0.7
    vertices, faces = marching_tets(grid.vertices, grid.vertices.norm(dim=1) - radius, grid)
    points, triangles = vertices.double().numpy(), faces.numpy()
    assert_watertight(triangles)
    area, volume = area_and_volume(points, triangles)
    assert area == pytest.approx(4 * np.pi * radius**2, rel=0.01)
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)  # positive: turned outward
    assert euler_characteristic(points, triangles) == 2
    assert len(np.unique(triangles)) == len(points)


def test_torus_has_euler_characteristic_zero():
    grid = build_tet_grid(24)
    x, y, z = grid.vertices.unbind(1)
    sdf = torch.hypot(torch.hypot(x, z) - 0.55, y) - 0.25
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    assert_watertight(faces.numpy())
    assert euler_characteristic(vertices.numpy(), faces.numpy()) == 0
    assert _volume(vertices, faces).item() == pytest.approx(2 * np.pi**2 * 0.55 * 0.25**2, rel=0.03)


def test_noise_is_watertight_and_has_the_reference_volume():
    grid = build_tet_grid(5)
    generator = torch.Generator().manual_seed(3)
    sdf = torch.rand(len(grid.vertices), generator=generator, dtype=torch.float64) - 0.4
    sdf = torch.where(grid.border, sdf.abs() + 0.1, sdf)
    positions = grid.vertices.double()
    vertices, faces = marching_tets(positions, sdf, grid)
    # Components may touch in no point: every edge still has exactly two sides.
    assert_watertight(faces.numpy())
    expected = enclosed_volume(positions.numpy(), sdf.numpy(), grid.tets.numpy())
    # Crossings within 0.1 % of an edge's end are moved, hence the tolerance.
    assert _volume(vertices, faces).item() == pytest.approx(expected, rel=1e-5)


def test_volume_gradient_by_finite_differences():
    grid = build_tet_grid(8)
    generator = torch.Generator().manual_seed(0)
    positions = grid.vertices.double()
    noise = 0.02 * torch.randn(len(positions), generator=generator, dtype=torch.float64)
    sdf = (positions.norm(dim=1) - 0.6 + noise).requires_grad_()
    moved = (positions + 0.01 * torch.randn(positions.shape, generator=generator)).requires_grad_()

    def volume(p, s):
        return _volume(*marching_tets(p, s, grid))

    sdf_gradient, position_gradient = torch.autograd.grad(volume(moved, sdf), [sdf, moved])
    active = (sdf_gradient != 0).nonzero()[:, 0]
    assert len(active) > 50 and position_gradient.abs().max() > 1e-3
    # The probe must not change the topology or meet the nudge near an edge's end.
    step = 1e-6
    safe = active[sdf.detach()[active].abs() > 0.01][::9]
    assert len(safe) > 5
    for index in safe.tolist():
        for tensor, gradient, at in (
            (sdf, sdf_gradient[index], (index,)),
            (moved, position_gradient[index, 1], (index, 1)),
        ):
            with torch.no_grad():
                start = tensor[at].item()
                tensor[at] = start + step
                above = volume(moved, sdf).item()
                tensor[at] = start - step
                below = volume(moved, sdf).item()
                tensor[at] = start
            assert (above - below) / (2 * step) == pytest.approx(gradient.item(), rel=1e-4, abs=1e-7)


def test_exact_zeros_leave_no_double_points_or_flat_faces():
    grid = build_tet_grid(8)
    # The plane y = 0 passes exactly through grid vertices.
    sdf = torch.maximum(grid.vertices[:, 1], grid.vertices.abs().amax(dim=1) - 0.75).requires_grad_()
    assert (sdf == 0).any()
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    assert_watertight(faces.numpy())
    assert len(torch.unique(vertices, dim=0)) == len(vertices)
    a, b, c = vertices[faces].unbind(1)
    assert torch.linalg.cross(b - a, c - a).norm(dim=1).min() > 0
    (gradient,) = torch.autograd.grad(vertices.sum(), sdf)
    assert torch.isfinite(gradient).all()


def test_all_zero_but_one_stays_finite():
    grid = build_tet_grid(4)
    sdf = torch.zeros(len(grid.vertices))
    sdf[len(grid.vertices) // 2] = -1e-30
    sdf.requires_grad_()
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    (gradient,) = torch.autograd.grad(vertices.square().sum(), sdf)
    assert len(faces) > 0 and torch.isfinite(vertices).all() and torch.isfinite(gradient).all()


def test_every_vertex_is_used_and_lies_on_the_zero_level():
    grid = build_tet_grid(10)
    direction = torch.tensor([0.3, 0.5, -0.2])
    sdf = grid.vertices @ direction - 0.05  # linear, so that crossings are exact
    vertices, faces = marching_tets(grid.vertices, sdf, grid)
    assert torch.equal(torch.unique(faces), torch.arange(len(vertices)))
    cell = grid.cell_size
    assert (vertices @ direction - 0.05).abs().max() < 1e-3 * cell
    # All faces look along the gradient.
    a, b, c = vertices[faces].unbind(1)
    assert (torch.linalg.cross(b - a, c - a) @ direction > 0).all()


@pytest.mark.parametrize(("value", "where"), [(1.0, "outside"), (-1.0, "inside")])
def test_no_surface_is_an_error_that_says_why(value, where):
    grid = build_tet_grid(4)
    with pytest.raises(EmptySurfaceError, match=where) as caught:
        marching_tets(grid.vertices, torch.full((len(grid.vertices),), value), grid)
    assert isinstance(caught.value, UserError)
