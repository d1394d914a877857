"""The fused geometry operations against their definitions in torch, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recon.geometry.dmtet import defined_sign_regularizer, sdf_sign_regularizer
from recon.geometry.laplacian import (
    defined_normal_consistency,
    normal_consistency,
)
from recon.geometry.marching_tets import defined_marching_tets, marching_tets
from recon.geometry.mesh import (
    Mesh,
    MeshTangentGroups,
    defined_smooth_normals,
    mesh_from_obj,
    smooth_normals,
    tangent_frames,
)
from recon.geometry.tet_grid import build_tet_grid
from recon.render.edge_adjacency import edge_mates
from tests.shapes import uv_sphere


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bumpy_mesh() -> Mesh:
    """A noisy sphere with a hole, an edge of three faces, a face without area and a vertex without face."""
    mesh = mesh_from_obj(uv_sphere(7, 9))
    lonely = torch.tensor([[2.0, 0.0, 0.0]])
    vertices = torch.cat([mesh.vertices + 0.05 * noise(tuple(mesh.vertices.shape), 0), lonely])
    a, b, c = mesh.faces[20].tolist()
    extra = torch.tensor([[a, b, 40], [c, c, a]])
    return Mesh(vertices, torch.cat([mesh.faces[4:], extra]))


def check(
    fused: Callable[..., Tensor], defined: Callable[..., Tensor], *inputs: Tensor, atol: float = 1e-5
) -> None:
    """Values and gradients of `fused` in float32 against `defined` in float64."""
    own = [tensor.clone().requires_grad_() for tensor in inputs]
    exact = [tensor.double().requires_grad_() for tensor in inputs]
    found, expected = fused(*own), defined(*exact)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=atol)
    upstream = noise(tuple(found.shape), 5)
    found.backward(upstream)
    expected.backward(upstream.double())
    for mine, other in zip(own, exact):
        assert mine.grad is not None and other.grad is not None
        scale = other.grad.abs().max()
        assert scale > 1e-6
        assert (mine.grad - other.grad).abs().max() < 2e-4 * scale


def test_smooth_normals() -> None:
    mesh = bumpy_mesh()
    check(
        lambda v: smooth_normals(v, mesh.faces),
        lambda v: defined_smooth_normals(v, mesh.faces),
        mesh.vertices,
    )


def test_normal_consistency() -> None:
    mesh = bumpy_mesh()
    mates = edge_mates(mesh.faces)
    assert (mates == -1).any() and (mates == -2).any()
    check(
        lambda v: normal_consistency(v, mesh.faces, mates),
        lambda v: defined_normal_consistency(v, mesh.faces, mates),
        mesh.vertices,
    )


@pytest.mark.parametrize("flat_uvs", [False, True])
def test_tangent_frames(flat_uvs: bool) -> None:
    sphere = mesh_from_obj(uv_sphere(7, 9))
    uvs = torch.zeros_like(sphere.uvs) if flat_uvs else sphere.uvs
    vertices = sphere.vertices + 0.05 * noise(tuple(sphere.vertices.shape), 0)
    mesh = Mesh(vertices, sphere.faces, uvs, sphere.uv_faces).with_smooth_normals()
    groups = MeshTangentGroups.of(mesh)
    exact = Mesh(vertices.double().requires_grad_(), sphere.faces, uvs.double(), sphere.uv_faces)
    expected = tangent_frames(exact.with_smooth_normals(), groups)
    torch.testing.assert_close(tangent_frames(mesh, groups).double(), expected, rtol=1e-4, atol=1e-4)


def test_sign_regularizer() -> None:
    grid = build_tet_grid(6)
    sdf = noise((len(grid.vertices),), 2)
    sdf[::7] = 0.0
    sdf[1::7] *= 50.0
    check(
        lambda s: sdf_sign_regularizer(s, grid.edges),
        lambda s: defined_sign_regularizer(s, grid.edges),
        sdf,
    )


def marching_inputs() -> tuple[Tensor, Tensor]:
    grid = build_tet_grid(6)
    sdf = noise((len(grid.vertices),), 3)
    sdf[::11] *= 1e-9  # nudged away from zero
    sdf[5::11] *= 30.0  # crossings close to an end
    positions = grid.vertices + 0.02 * noise(tuple(grid.vertices.shape), 4)
    return positions, sdf


def test_marching_tets_vertices() -> None:
    grid = build_tet_grid(6)
    check(
        lambda p, s: marching_tets(p, s, grid)[0],
        lambda p, s: defined_marching_tets(p, s, grid)[0],
        *marching_inputs(),
    )


def test_marching_tets_faces_but_for_their_order() -> None:
    grid = build_tet_grid(6)
    positions, sdf = marching_inputs()
    found = marching_tets(positions, sdf, grid)[1]
    expected = defined_marching_tets(positions, sdf, grid)[1]
    assert len(found) > 1000
    assert sorted(found.tolist()) == sorted(expected.tolist())


def test_the_number_of_threads_does_not_show() -> None:
    grid = build_tet_grid(24)

    def run() -> list[Tensor]:
        sdf = (grid.vertices.norm(dim=1) - 0.6).requires_grad_()
        positions = grid.vertices.clone().requires_grad_()
        vertices, faces = marching_tets(positions, sdf, grid)
        normals = smooth_normals(vertices, faces)
        terms = [
            normal_consistency(vertices, faces, edge_mates(faces)),
            sdf_sign_regularizer(sdf, grid.edges),
            normals[:, 0].square().sum(),
        ]
        torch.stack(terms).sum().backward()
        assert sdf.grad is not None and positions.grad is not None
        return [vertices, faces, *terms, sdf.grad, positions.grad]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = run()
        torch.set_num_threads(4)
        together = run()
    finally:
        torch.set_num_threads(threads)
    assert [torch.equal(first, second) for first, second in zip(alone, together)] == [True] * len(alone)
