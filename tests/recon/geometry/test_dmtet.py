"""DMTet: starts, bounds, closed surfaces, and the sign regularizer by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recon.geometry.dmtet import DMTet, sdf_sign_regularizer
from recon.geometry.grid_box import GridBox
from recon.geometry.tet_grid import build_tet_grid, tet_grid_over
from tests.shapes import area_and_volume, assert_watertight


def test_sphere_start():
    grid = build_tet_grid(24)
    vertices, faces = DMTet.sphere(grid, 0.6).extract()
    _, volume = area_and_volume(vertices.detach().double().numpy(), faces.numpy())
    assert volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.02)


def test_distances_are_stored_in_two_cells_and_clipped():
    grid = build_tet_grid(8)
    distance = torch.linspace(-1, 1, len(grid.vertices))
    sdf = DMTet.from_distance(grid, distance).sdf
    assert torch.allclose(sdf, (distance / (2 * grid.cell_size)).clamp(-1, 1))
    assert sdf.min() == -1 and sdf.max() == 1


def test_random_start_is_repeatable_and_a_tenth_inside():
    grid = build_tet_grid(16)
    one, two = DMTet.random(grid, 7), DMTet.random(grid, 7)
    assert torch.equal(one.sdf, two.sdf)
    assert not torch.equal(one.sdf, DMTet.random(grid, 8).sdf)
    assert 0.07 < (one.sdf < 0).float().mean() < 0.13
    assert_watertight(one.extract()[1].numpy())


def test_no_displacement_turns_a_tet_inside_out():
    grid = build_tet_grid(6)
    geometry = DMTet.random(grid)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        with torch.no_grad():
            geometry.deform.copy_(20 * torch.randn(geometry.deform.shape, generator=generator).sign())
        corners = geometry.deformed_vertices().double()[grid.tets]
        assert torch.linalg.det(corners[:, 1:] - corners[:, :1]).min() > 0
    moved = (geometry.deformed_vertices() - grid.vertices).abs().max()
    assert 0.2 * grid.cell_size < moved < 0.25 * grid.cell_size


def test_surface_closes_at_the_border():
    grid = build_tet_grid(8)
    geometry = DMTet(grid, torch.full((len(grid.vertices),), -1.0))
    vertices, faces = geometry.extract()
    assert_watertight(faces.numpy())
    assert area_and_volume(vertices.detach().double().numpy(), faces.numpy())[1] > 4


def test_surface_closes_in_a_flat_box_away_from_the_origin():
    box = GridBox((2.0, -1.0, 0.0), (3, 8, 5), 0.1)
    geometry = DMTet(tet_grid_over(box), torch.full((4 * 9 * 6 + 3 * 8 * 5,), -1.0))
    assert geometry.box == box and geometry.grid.cell_size == 0.1
    vertices, faces = geometry.extract()
    assert_watertight(faces.numpy())
    lower, upper = box.bounds()
    assert (vertices >= lower).all() and (vertices <= upper).all()
    assert area_and_volume(vertices.detach().double().numpy(), faces.numpy())[1] > 0.1**3 * 3 * 8 * 5 / 2


def test_gradients_reach_both_parameters():
    geometry = DMTet.sphere(build_tet_grid(8), 0.6)
    vertices, _ = geometry.extract()
    sdf, deform = torch.autograd.grad(vertices.square().sum(), [geometry.sdf, geometry.deform])
    assert torch.isfinite(sdf).all() and torch.isfinite(deform).all()
    assert sdf.abs().max() > 1e-3 and deform.abs().max() > 1e-3


def test_training_moves_a_sphere_onto_another():
    grid = build_tet_grid(12)
    geometry = DMTet.sphere(grid, 0.4)
    optimizer = torch.optim.Adam(geometry.parameters(), lr=0.03)
    center = torch.tensor([0.1, 0.0, -0.1])
    for _ in range(150):
        vertices, _ = geometry.extract()
        loss = ((vertices - center).norm(dim=1) - 0.6).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    vertices, faces = geometry.extract()
    assert ((vertices - center).norm(dim=1) - 0.6).abs().mean() < 0.01
    _, volume = area_and_volume(vertices.detach().double().numpy(), faces.numpy())
    assert volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.1)


def test_state_dict_holds_the_parameters_only():
    geometry = DMTet.sphere(build_tet_grid(4), 0.6)
    assert set(geometry.state_dict()) == {"sdf", "deform"}


def test_wrong_number_of_distances_is_refused():
    with pytest.raises(ValueError, match="expected"):
        DMTet(build_tet_grid(4), torch.zeros(3))


def test_sign_regularizer_by_hand():
    sdf = torch.tensor([0.5, -1.0, -2.0], dtype=torch.float64)
    edges = torch.tensor([[0, 1], [1, 2], [2, 0]])  # the middle one keeps its sign

    def cross_entropy(logit, target):
        probability = 1 / (1 + math.exp(-logit))
        return -math.log(probability if target else 1 - probability)

    expected = (
        cross_entropy(0.5, 0) + cross_entropy(-1.0, 1) + cross_entropy(-2.0, 1) + cross_entropy(0.5, 0)
    ) / 2
    assert sdf_sign_regularizer(sdf, edges).item() == pytest.approx(expected, rel=1e-12)


def test_sign_regularizer_gradient_and_uniform_signs():
    generator = torch.Generator().manual_seed(0)
    sdf = torch.randn(30, generator=generator, dtype=torch.float64, requires_grad=True)
    edges = torch.randint(30, (80, 2), generator=generator)
    assert torch.autograd.gradcheck(lambda s: sdf_sign_regularizer(s, edges), sdf)
    flat = torch.ones(30, requires_grad=True)
    value = sdf_sign_regularizer(flat, edges)
    assert value.item() == 0
    assert torch.equal(torch.autograd.grad(value, flat)[0], torch.zeros(30))
