"""Mesh regularizers by hand, by finite differences, and at rest."""

from __future__ import annotations

import math

import pytest
import torch

from recon.geometry.fused_smoothness import SMALL_BEND
from recon.geometry.laplacian import (
    UniformLaplacian,
    normal_consistency,
)
from recon.geometry.mesh import mesh_from_obj
from recon.render.edge_adjacency import edge_mates
from tests.shapes import uv_sphere

# A square pyramid without its base: apex 4 over the corners 0 to 3.
_PYRAMID = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1]], dtype=torch.float64)
_FACES = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])


def test_laplacian_by_hand():
    laplacian = UniformLaplacian(_FACES, 6)
    vertices = torch.cat([_PYRAMID, torch.tensor([[7.0, 7, 7]], dtype=torch.float64)])
    found = laplacian(vertices)
    assert torch.allclose(found[4], torch.tensor([0, 0, -1.0], dtype=torch.float64))
    # Corner 0 has the neighbors 1, 3 and 4, whose mean is (0, 0, 1/3).
    assert torch.allclose(found[0], torch.tensor([-1, 0, 1 / 3], dtype=torch.float64))
    assert torch.equal(found[5], torch.zeros(3, dtype=torch.float64))  # no face, no neighbor


def test_gradients():
    generator = torch.Generator().manual_seed(1)
    mesh = mesh_from_obj(uv_sphere(4, 5), dtype=torch.float64)
    mates = edge_mates(mesh.faces)
    moved = mesh.vertices + 0.1 * torch.randn(mesh.vertices.shape, generator=generator, dtype=torch.float64)
    moved.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: normal_consistency(v, mesh.faces, mates), moved)
    assert torch.autograd.grad(normal_consistency(moved, mesh.faces, mates), moved)[0].abs().max() > 1e-4


def test_normal_consistency_of_a_fold():
    # Two unit right triangles folded by 60 degrees along their common edge.
    angle = math.radians(60)
    vertices = torch.tensor(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -math.cos(angle), math.sin(angle)]], dtype=torch.float64
    )
    faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
    mates = edge_mates(faces)
    # The chord of 60 degrees on the unit circle is 1.
    expected = math.hypot(1, SMALL_BEND) - SMALL_BEND
    assert normal_consistency(vertices, faces, mates).item() == pytest.approx(expected)
    flat = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=torch.float64)
    assert normal_consistency(flat, faces, mates).item() == pytest.approx(0, abs=1e-15)


def test_a_crease_pulls_hardly_more_than_a_small_bend():
    """A square, which counts all bends alike, would round off creases long before noise is gone."""

    def pull(degrees: float) -> float:
        height = torch.tensor(math.sin(math.radians(degrees)), dtype=torch.float64, requires_grad=True)
        last = torch.stack([torch.zeros_like(height), -(1 - height**2).sqrt(), height])
        corners = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
        faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
        term = normal_consistency(torch.cat([corners, last[None]]), faces, edge_mates(faces))
        return float(torch.autograd.grad(term, height)[0])

    assert pull(1) < 0.5 * pull(10)
    assert pull(10) < pull(40) < 1.5 * pull(10)


def test_faces_without_area_pass_no_gradient():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
    (gradient,) = torch.autograd.grad(normal_consistency(vertices, faces, edge_mates(faces)), vertices)
    assert torch.isfinite(gradient).all()
