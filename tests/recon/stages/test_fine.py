"""The fine stage: a known mesh stays, a recovered one moves; parts, rates and regularizers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.geometry.laplacian import normal_consistency
from recon.geometry.mesh import Mesh, mesh_from_obj, smooth_normals
from recon.render.edge_adjacency import edge_mates
from recon.render.self_occlusion import SelfOcclusion
from recon.stages.fine import FineSettings, fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.run_stage import run_stage
from tests.recon.stages.scenes import (
    NO_PRIORS,
    NO_SMOOTHNESS,
    RASTERIZER,
    RATES,
    SMOOTHNESS,
    field,
    fine_scene,
    known_light,
    setup,
    sphere_mesh,
    texture_maps,
    trainable_light,
)
from tests.shapes import uv_sphere


def settings(iterations: int = 1000, *, joint: bool = False, smoothness=NO_SMOOTHNESS) -> FineSettings:
    return FineSettings(iterations, RATES, joint, 0.0, smoothness, NO_PRIORS, 0.005)


def artists_mesh() -> Mesh:
    """With authored normals, one per corner, that are not the smooth ones."""
    mesh = mesh_from_obj(uv_sphere(6, 8))
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    facets = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    rows = torch.arange(len(facets))[:, None].expand(-1, 3).contiguous()
    return Mesh(mesh.vertices, mesh.faces, mesh.uvs, mesh.uv_faces, facets, rows)


def quad(width: float, height: float, uv: float = 1.0) -> Mesh:
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    vertices = torch.nn.functional.pad(corners * torch.tensor([width, height]), (0, 1))
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return Mesh(vertices, faces, uv * corners, faces)


def test_known_mesh_stays_with_its_authored_normals():
    given = artists_mesh()
    scene = FineScene(given, texture_maps(), movable=False)
    mesh = scene.mesh()
    for name in ("vertices", "faces", "uvs", "uv_faces", "normals", "normal_faces"):
        assert torch.equal(getattr(mesh, name), getattr(given, name)), name
    assert mesh.tangents is not None and not scene.offsets.requires_grad
    # Even offsets that something put there are none of its business.
    with torch.no_grad():
        scene.offsets += 1.0
    assert torch.equal(scene.mesh().vertices, given.vertices)


def test_known_mesh_without_normals_gets_smooth_ones():
    given = artists_mesh()
    scene = FineScene(
        Mesh(given.vertices, given.faces, given.uvs, given.uv_faces), texture_maps(), movable=False
    )
    torch.testing.assert_close(scene.mesh().normals, smooth_normals(given.vertices, given.faces))


def test_movable_mesh_follows_its_offsets():
    scene = fine_scene()
    moved = sphere_mesh().vertices * torch.tensor([1.3, 0.8, 1.0])
    with torch.no_grad():
        scene.offsets += moved - sphere_mesh().vertices
    mesh = scene.mesh()
    torch.testing.assert_close(mesh.vertices, moved)
    torch.testing.assert_close(mesh.normals, smooth_normals(moved, mesh.faces))
    # Tangents belong to the new normals; the start is remembered as it was.
    tangents, normals = mesh.tangents[mesh.tangent_faces], mesh.normals[mesh.normal_faces]
    assert (tangents[..., :3] * normals).sum(-1).abs().max() < 1e-5
    assert torch.equal(scene.start.vertices, sphere_mesh().vertices)
    for name in ("uvs", "uv_faces", "faces"):
        assert torch.equal(getattr(mesh, name), getattr(sphere_mesh(), name))


def test_gradient_reaches_offsets_through_vertices_and_normals_not_tangents():
    scene = fine_scene()
    mesh = scene.mesh()
    assert not mesh.tangents.requires_grad
    (from_vertices,) = torch.autograd.grad(mesh.vertices.sum(), scene.offsets, retain_graph=True)
    assert torch.equal(from_vertices, torch.ones_like(scene.offsets))
    weights = torch.rand(mesh.normals.shape, generator=torch.Generator().manual_seed(0))
    (from_normals,) = torch.autograd.grad((weights * mesh.normals).sum(), scene.offsets)
    assert from_normals.abs().max() > 0.01


def test_start_tensors_make_the_same_scene():
    for movable in (True, False):
        scene = FineScene(artists_mesh(), texture_maps(), movable=movable)
        again = FineScene(Mesh(**scene.start_tensors()), texture_maps(), movable=movable)
        for name in ("vertices", "faces", "uvs", "uv_faces", "normals", "normal_faces", "tangents"):
            assert torch.equal(getattr(again.mesh(), name), getattr(scene.mesh(), name)), name


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (quad(1.0, 1.0), 1.0),
        (quad(2.0, 2.0), 0.5),
        (quad(4.0, 1.0), 0.5),
        (quad(1.0, 1.0, uv=0.25), 0.25),
    ],
    ids=["unit", "twice the side", "four times the area", "a quarter of the layout"],
)
def test_uv_per_length(mesh, expected):
    assert FineScene(mesh, texture_maps(), movable=False).uv_per_length() == pytest.approx(expected)


@pytest.mark.parametrize("movable", [True, False])
def test_sample_looks_maps_up_by_uv(movable):
    scene, problem = fine_scene(movable=movable), setup()
    with torch.no_grad():  # roughness says where u is
        ramp = (torch.arange(16) + 0.5) / 16
        scene.material.map_b[..., 0] = ramp
    mesh = scene.mesh()
    raster = RASTERIZER.rasterize(mesh.vertices, mesh.faces, problem.views.cameras[:2])
    positions = RASTERIZER.interpolate(mesh.vertices, raster, mesh.faces)
    sample = scene.sample(mesh, raster, positions, RASTERIZER)
    u = sample.coordinates[:, 0]
    inside = (u > 0.2) & (u < 0.8)
    assert inside.sum() > 20
    assert (sample.channels.roughness[inside, 0] - u[inside]).abs().max() < 0.06  # a texel: mips blur
    azimuth = torch.atan2(positions[:, 0], positions[:, 2]) / (2 * torch.pi) % 1.0
    assert (azimuth[inside] - u[inside]).abs().max() < 0.03
    assert not sample.coordinates.requires_grad and not sample.tangent.requires_grad
    assert sample.normal.requires_grad == movable
    rows = torch.arange(0, len(u), 3)
    again = sample.lookup(sample.coordinates[rows], rows)
    torch.testing.assert_close(again.roughness, sample.channels.roughness[rows])
    (gradient,) = torch.autograd.grad(again.roughness.sum(), scene.material.map_b)
    assert gradient[..., 0].sum() == pytest.approx(len(rows), rel=1e-4)


def test_rates_follow_method():
    rates = fine_stage(fine_scene(), setup(trainable_light()), settings()).optimizers.learning_rates
    assert rates(0) == pytest.approx({"geometry": 0.0, "a": 0.0, "b": 0.01 * 0.01, "light": 0.0})
    assert rates(50)["a"] == pytest.approx(0.02 * 0.5)
    middle = {"geometry": 0.03 * 10**-0.08, "a": 0.02 * 10**-0.08, "light": 0.05 * 10**-0.08}
    assert rates(500) == pytest.approx(middle | {"b": 0.01 * (1 - 0.9 / 6)})
    assert rates(200)["b"] == rates(400)["b"] == pytest.approx(0.01)
    last = {"geometry": 0.03 * 10**-0.1798, "a": 0.02 * 10**-0.1798, "light": 0.05 * 10**-0.1798}
    assert rates(999) == pytest.approx(last | {"b": 0.01 * (1 - 0.9 * 599 / 600)})


def test_joint_follows_the_mesh():
    rates = fine_stage(fine_scene(), setup(known_light()), settings(joint=True)).optimizers.learning_rates
    for iteration in (0, 60, 500, 999):
        share = iteration / 100 if iteration < 100 else 10 ** (-0.0002 * (iteration - 100))
        assert rates(iteration) == pytest.approx(
            {"geometry": 0.03 * share, "a": 0.02 * share, "b": 0.01 * share}
        )


def test_known_mesh_has_no_geometry_to_learn():
    stage = fine_stage(fine_scene(movable=False), setup(known_light()), settings())
    assert list(stage.optimizers.adams) == ["a", "b"]
    rendered = setup().render(stage.scene, torch.tensor([0]))
    assert stage.regularize(rendered, 10) == {}


def test_regularizers_are_weighted():
    scene, light, problem = fine_scene(), trainable_light(), setup()
    stage = fine_stage(scene, setup(light), settings(smoothness=SMOOTHNESS))
    with torch.no_grad():
        scene.material.map_a[::2, :, :3] = 0.9
        terms = stage.regularize(problem.render(scene, torch.tensor([0, 1])), 10)
        assert set(terms) == {
            "albedo_smoothness",
            "roughness_smoothness",
            "metallic_smoothness",
            "light_grey",
        }
    assert terms["albedo_smoothness"] > 0.0
    # Roughness and metallic are uniform: nothing to smooth.
    assert float(terms["roughness_smoothness"]) < 1e-6 and float(terms["metallic_smoothness"]) < 1e-6


@pytest.mark.parametrize("movable", [True, False])
def test_stage_keeps_maps_in_range(movable):
    problem, scene = setup(), fine_scene(movable=movable)
    rates = RATES | {"a": 5.0, "b": 50.0, "geometry": 0.001}
    before = scene.material.map_a.detach().clone()
    stage = fine_stage(scene, problem, FineSettings(4, rates, False, 0.0, NO_SMOOTHNESS, NO_PRIORS, 0.0))
    run_stage(stage, problem, lambda result: None)
    a, b = scene.material.map_a.detach(), scene.material.map_b.detach()
    assert not torch.equal(a, before)
    assert a[..., :3].min() >= 0.0 and a[..., :3].max() <= 1.0
    torch.testing.assert_close(a[..., 3:].norm(dim=-1), torch.ones(a.shape[:2]))
    assert b[..., 0].min() >= 0.03 and b.max() <= 1.0 and b.min() >= 0.0
    assert bool((scene.offsets != 0.0).any()) == movable


def test_normal_smoothness_of_a_movable_mesh():
    scene, problem = fine_scene(), setup()
    stage = fine_stage(scene, setup(known_light()), replace(settings(), normal_smoothness=2.0))
    with torch.no_grad():
        scene.offsets += 0.01 * torch.randn(scene.offsets.shape, generator=torch.Generator().manual_seed(3))
        mesh = scene.mesh()
        terms = stage.regularize(problem.render(scene, torch.tensor([0])), 0)
    expected = 2.0 * normal_consistency(mesh.vertices, mesh.faces, edge_mates(mesh.faces))
    torch.testing.assert_close(terms["normal_smoothness"], expected)
    assert float(expected) > 0.0


@pytest.mark.parametrize("model", ["split", "joint"])
def test_a_field_is_refined_in_3d(model):
    problem = setup()
    scene = FineScene(sphere_mesh(), field(model), movable=True)
    stage = fine_stage(scene, problem, settings(4))
    names = {"geometry", *scene.material.parameter_groups()}
    rates = stage.optimizers.learning_rates
    # Warm-up over 50 steps, full rate until 30 %, then down to a fiftieth.
    longer = fine_stage(scene, problem, settings(1000)).optimizers.learning_rates
    for name in names:
        assert longer(24)[name] == pytest.approx(0.5 * RATES[name])
        assert longer(300)[name] == pytest.approx(RATES[name])
        assert longer(1000)[name] == pytest.approx(0.02 * RATES[name])
    assert set(rates(0)) == names
    before = {name: value.detach().clone() for name, value in scene.named_parameters()}
    run_stage(stage, problem, lambda result: None)
    assert all(not torch.equal(value, before[name]) for name, value in scene.named_parameters())
    mesh = scene.mesh()
    raster = RASTERIZER.rasterize(mesh.vertices, mesh.faces, problem.views.cameras[:1])
    positions = RASTERIZER.interpolate(mesh.vertices, raster, mesh.faces)
    sample = scene.sample(mesh, raster, positions, RASTERIZER)
    assert sample.tangent is None and mesh.tangents is None
    torch.testing.assert_close(sample.channels.albedo, scene.material.sample(positions).albedo)


def test_occlusion_is_traced_now_and_then_and_changes_the_picture():
    mesh = sphere_mesh()
    under = replace(mesh, vertices=mesh.vertices * torch.tensor([3.0, 0.05, 3.0]) - torch.tensor([0, 0.9, 0]))
    both = Mesh(
        torch.cat([mesh.vertices, under.vertices]),
        torch.cat([mesh.faces, under.faces + len(mesh.vertices)]),
        torch.cat([mesh.uvs, mesh.uvs]),
        torch.cat([mesh.uv_faces, mesh.uv_faces + len(mesh.uvs)]),
    )
    problem, occlusion = setup(), SelfOcclusion(both.faces, len(both.vertices), bvh=RASTERIZER.bvh)
    scene = FineScene(both, texture_maps(), movable=True, occlusion=occlusion)
    stage = fine_stage(scene, problem, settings(40))
    for iteration in range(33):
        stage.before_step(iteration)
    assert int(occlusion.refreshes) == 3  # before steps 0, 16 and 32
    with torch.no_grad():
        shadowed = problem.render(scene, torch.tensor([0])).image_a
        scene.occlusion = None
        lit = problem.render(scene, torch.tensor([0])).image_a
    assert shadowed.mean() < 0.97 * lit.mean()


@pytest.mark.parametrize("material", [texture_maps, field])
def test_material_at_the_vertices(material):
    scene = FineScene(sphere_mesh(), material(), movable=True)
    found = scene.vertex_material(RASTERIZER)
    assert found.albedo.shape == (len(sphere_mesh().vertices), 3) and not found.albedo.requires_grad
