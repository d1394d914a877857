"""Mesh conversions, smooth normals and differentiable tangents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.geometry.mesh import (
    Mesh,
    MeshTangentGroups,
    mesh_from_obj,
    mesh_to_obj,
    smooth_normals,
    tangent_frames,
)
from tests.shapes import uv_sphere
from usd_tools.obj import ObjMesh
from usd_tools.tangents import mikk_tangents


def test_conversion_round_trip():
    source = uv_sphere(5, 7)
    back = mesh_to_obj(mesh_from_obj(source, dtype=torch.float64))
    for name in ("vertices", "faces", "uvs", "uv_faces", "normals", "normal_faces"):
        assert np.allclose(getattr(back, name), getattr(source, name)), name
    bare = mesh_from_obj(ObjMesh(source.vertices, source.faces))
    assert bare.uvs is None and bare.normals is None and bare.faces.dtype == torch.int64
    assert bare.vertices.dtype == torch.float32


def test_conversion_scales_normals_to_unit_length():
    source = uv_sphere(5, 7)
    scaled = source.normals * 3.0
    scaled[0] = 0
    mesh = mesh_from_obj(ObjMesh(source.vertices, source.faces, None, None, scaled, source.normal_faces))
    assert torch.allclose(mesh.normals.norm(dim=1), torch.ones(len(scaled)))
    assert mesh.normals[0].tolist() == [0, 0, 1]


def test_smooth_normals_of_a_sphere():
    sphere = mesh_from_obj(uv_sphere(48, 96))
    cosine = (smooth_normals(sphere.vertices, sphere.faces) * sphere.vertices).sum(1)
    # The mesh's cells span 3.75 degrees; a vertex normal is off by a part of that, for the cells' diagonals
    # all run one way.
    assert cosine.min() > np.cos(np.radians(1.0))


def test_smooth_normals_are_area_weighted():
    # At vertex 0 a face of area 2 faces +z and one of area 0.5 faces +x.
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 1, 0], [0, 0, 1]])
    normals = smooth_normals(vertices, torch.tensor([[0, 1, 2], [0, 3, 4]]))
    assert torch.allclose(normals[0], torch.tensor([0.5, 0, 2.0]) / np.hypot(0.5, 2))


def test_smooth_normals_gradient():
    torch.manual_seed(0)
    mesh = mesh_from_obj(uv_sphere(4, 6), dtype=torch.float64)
    vertices = (mesh.vertices + 0.1 * torch.randn_like(mesh.vertices)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: smooth_normals(v, mesh.faces), vertices)
    gradient = torch.autograd.grad(smooth_normals(vertices, mesh.faces)[:, 0].sum(), vertices)[0]
    assert gradient.abs().max() > 1e-3


def test_degenerate_faces_and_isolated_vertices_are_safe():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]], requires_grad=True)
    normals = smooth_normals(vertices, torch.tensor([[0, 1, 2], [0, 0, 1]]))
    assert normals.tolist() == [[0, 0, 1]] * 4
    (gradient,) = torch.autograd.grad(normals.sum(), vertices)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def _distorted_sphere(seed: int = 0) -> ObjMesh:
    rng = np.random.default_rng(seed)
    sphere = uv_sphere(6, 8)
    vertices = sphere.vertices + 0.05 * rng.standard_normal(sphere.vertices.shape)
    return ObjMesh(vertices, sphere.faces, sphere.uvs, sphere.uv_faces)


def test_tangents_equal_the_numpy_ones():
    source = _distorted_sphere()
    mesh = mesh_from_obj(source, dtype=torch.float64).with_smooth_normals()
    groups = MeshTangentGroups.of(mesh)
    expected, index = mikk_tangents(source)
    assert np.array_equal(groups.corners.numpy(), index)
    assert np.allclose(tangent_frames(mesh, groups).numpy(), expected, atol=1e-9)


def test_authored_normals_can_be_welded_by_value():
    source = uv_sphere(6, 8)
    # One normal row per corner, as many exporters write.
    loose = ObjMesh(
        source.vertices,
        source.faces,
        source.uvs,
        source.uv_faces,
        source.normals[source.normal_faces.ravel()],
        np.arange(source.faces.size).reshape(-1, 3),
    )
    mesh = mesh_from_obj(loose, dtype=torch.float64)
    welded = MeshTangentGroups.of(mesh, weld_normals=True)
    assert len(welded.signs) == len(MeshTangentGroups.of(mesh_from_obj(source)).signs)
    assert len(MeshTangentGroups.of(mesh).signs) == source.faces.size
    expected, _ = mikk_tangents(loose)
    assert np.allclose(mesh.with_tangents(welded).tangents.numpy(), expected, atol=1e-9)


def test_tangent_gradient():
    mesh = mesh_from_obj(_distorted_sphere(1), dtype=torch.float64).with_smooth_normals()
    groups = MeshTangentGroups.of(mesh)

    def frames(vertices):
        return mesh.with_vertices(vertices).with_smooth_normals().with_tangents(groups).tangents

    vertices = mesh.vertices.clone().requires_grad_()
    assert torch.autograd.gradcheck(frames, vertices)
    (gradient,) = torch.autograd.grad(frames(vertices)[:, 1].sum(), vertices)
    assert gradient.abs().max() > 1e-3


def test_degenerate_uvs_give_finite_tangents_and_gradients():
    source = uv_sphere(4, 6)
    mesh = mesh_from_obj(source)
    flat = Mesh(mesh.vertices.requires_grad_(), mesh.faces, torch.zeros_like(mesh.uvs), mesh.uv_faces)
    flat = flat.with_smooth_normals()
    frames = tangent_frames(flat, MeshTangentGroups.of(flat))
    assert torch.allclose(frames[:, :3].norm(dim=1), torch.ones(len(frames)))
    (gradient,) = torch.autograd.grad(frames.sum(), mesh.vertices)
    assert torch.isfinite(gradient).all()


def test_with_vertices_drops_what_no_longer_fits():
    mesh = mesh_from_obj(uv_sphere(4, 6))
    moved = mesh.with_vertices(mesh.vertices * 2)
    assert moved.normals is None and moved.tangents is None and moved.uvs is mesh.uvs


def test_missing_attributes_are_named():
    mesh = mesh_from_obj(uv_sphere(4, 6))
    with pytest.raises(ValueError, match="uvs"):
        MeshTangentGroups.of(Mesh(mesh.vertices, mesh.faces))
    with pytest.raises(ValueError, match="normals"):
        MeshTangentGroups.of(Mesh(mesh.vertices, mesh.faces, mesh.uvs, mesh.uv_faces))
