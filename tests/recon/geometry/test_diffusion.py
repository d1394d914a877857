"""Diffusion over a surface: against its dense matrix, and what it is for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recon.geometry.diffusion import Diffusion, defined_diffusion, denoised
from recon.geometry.laplacian import UniformLaplacian
from recon.geometry.mesh import Mesh, mesh_from_obj
from tests.recon.cuda import needs_cuda
from tests.recon.geometry.spheres import degrees_off
from tests.shapes import area_and_volume, uv_sphere


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uneven_mesh() -> Mesh:
    """A sphere with a hole, an edge of three faces, a face without area and a vertex without face."""
    mesh = mesh_from_obj(uv_sphere(6, 8))
    vertices = torch.cat([mesh.vertices, torch.tensor([[2.0, 0.0, 0.0]])])
    a, b, c = mesh.faces[20].tolist()
    return Mesh(vertices, torch.cat([mesh.faces[4:], torch.tensor([[a, b, 30], [c, c, a]])]))


def diffusion(mesh: Mesh, steps: int) -> Diffusion:
    return Diffusion(UniformLaplacian(mesh.faces, len(mesh.vertices)), steps)


@pytest.mark.parametrize("steps", [0, 1, 5, 32])
def test_values_and_gradients_are_those_of_the_matrix(steps):
    mesh = uneven_mesh()
    values = noise(tuple(mesh.vertices.shape), 0)
    own, exact = values.clone().requires_grad_(), values.double().requires_grad_()
    found, expected = diffusion(mesh, steps)(own), defined_diffusion(exact, mesh.faces, steps)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
    upstream = noise(tuple(found.shape), 1)
    found.backward(upstream)
    expected.backward(upstream.double())
    torch.testing.assert_close(own.grad.double(), exact.grad, rtol=1e-4, atol=1e-6)
    assert exact.grad.abs().max() > 0.01


@needs_cuda
def test_a_gpu_gives_the_same():
    mesh = uneven_mesh()
    values, upstream = (noise(tuple(mesh.vertices.shape), seed) for seed in (0, 1))
    results = []
    for device in ("cpu", "cuda"):
        own = values.detach().to(device).requires_grad_()
        moved = diffusion(mesh.to(torch.device(device)), 32)(own)
        moved.backward(upstream.to(device))
        results.append((moved.detach().cpu(), own.grad.cpu()))
    torch.testing.assert_close(*results)


def test_gradient_by_finite_differences():
    mesh = uneven_mesh()
    values = noise(tuple(mesh.vertices.shape), 0).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: defined_diffusion(v, mesh.faces, 3), values)


def test_shifts_and_sums_stay_and_lonely_vertices_do_not_move():
    mesh = uneven_mesh()
    shift = torch.tensor([[0.3, -0.2, 0.1]]).expand(len(mesh.vertices), 3)
    torch.testing.assert_close(diffusion(mesh, 20)(shift), shift)
    values = noise(tuple(mesh.vertices.shape), 2)
    diffused = diffusion(mesh, 20)(values)
    torch.testing.assert_close(diffused.sum(dim=0), values.sum(dim=0), rtol=1e-4, atol=1e-4)
    assert torch.equal(diffused[-1], values[-1])


def test_bumps_spread_as_far_as_is_said():
    """A unit bump's root mean square distance from where it was is about 0.7 sqrt(steps) edges."""
    side, steps = 41, 32
    x, y = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    corner = (side * x + y)[:-1, :-1].reshape(-1)
    faces = torch.cat(
        [
            torch.stack([corner, corner + side, corner + side + 1], dim=1),
            torch.stack([corner, corner + side + 1, corner + 1], dim=1),
        ]
    )
    bump = torch.zeros(side * side, 3)
    bump[side * (side // 2) + side // 2] = 1.0
    share = diffusion(Mesh(bump, faces), steps)(bump)[:, 0]
    squares = ((x - side // 2) ** 2 + (y - side // 2) ** 2).reshape(-1)
    # The edges of this mesh have the lengths 1, 1 and sqrt(2).
    edge = math.sqrt((1.0 + 1.0 + 2.0) / 3.0)
    assert float((share * squares).sum()) ** 0.5 / edge == pytest.approx(0.7 * steps**0.5, rel=0.05)


def test_denoising_takes_noise_from_normals_and_keeps_the_size():
    mesh = mesh_from_obj(uv_sphere(32, 64))
    bumpy = mesh.vertices + 0.005 * noise(tuple(mesh.vertices.shape), 3)
    smooth = denoised(bumpy, mesh.faces, 10)
    assert degrees_off(smooth, mesh.faces) < 0.5 * degrees_off(bumpy, mesh.faces)
    volumes = [area_and_volume(v.double().numpy(), mesh.faces.numpy())[1] for v in (mesh.vertices, smooth)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.01)
    assert torch.equal(denoised(bumpy, mesh.faces, 0), bumpy)
