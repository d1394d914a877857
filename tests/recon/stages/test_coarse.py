"""The coarse stage: its scene, its parts, rates and regularizers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.geometry.laplacian import normal_consistency
from recon.regularizers import sdf_weight
from recon.render.edge_adjacency import edge_mates
from recon.stages.coarse import CoarseSettings, coarse_stage
from recon.stages.regularization import PriorSettings
from recon.stages.run_stage import run_stage
from tests.recon.stages.scenes import (
    NO_PRIORS,
    NO_SMOOTHNESS,
    RASTERIZER,
    RATES,
    SMOOTHNESS,
    coarse_scene,
    known_light,
    setup,
    trainable_light,
)

SMOOTHED = ("albedo_smoothness", "roughness_smoothness", "metallic_smoothness")


def settings(iterations: int = 1000, smoothness=SMOOTHNESS) -> CoarseSettings:
    """METHOD's schedules, as published."""
    return CoarseSettings(
        iterations, RATES, (0.2, 0.01), 0.0, smoothness, NO_PRIORS, 0.005, b_rise=0.5, final_rate=1.0
    )


def test_rates_follow_method():
    rates = coarse_stage(coarse_scene(), trainable_light(), settings()).optimizers.learning_rates
    first = {"geometry": 0.03, "a": 0.02, "b": 0.0, "light": 0.05}
    middle = {
        "geometry": 0.03 * 10**-0.1,
        "a": 0.02 * 0.68,
        "b": 0.01,
        "light": 0.05 * 10**-0.1,
    }
    last = {
        "geometry": 0.03 * 10**-0.1998,
        "a": 0.02 * 0.68 * 10**-0.0499,
        "b": 0.01 * 10**-0.0998,
        "light": 0.05 * 10**-0.1998,
    }
    for iteration, expected in ((0, first), (500, middle), (999, last)):
        assert rates(iteration) == pytest.approx(expected)
    quarter = rates(250)
    assert quarter["a"] == pytest.approx(0.02 * 0.84) and quarter["b"] == pytest.approx(0.005)


def test_joint_follows_the_mesh():
    rates = coarse_stage(coarse_scene("joint"), known_light(), settings()).optimizers.learning_rates
    for iteration in (0, 300, 999):
        decay = 10 ** (-0.0002 * iteration)
        assert rates(iteration) == pytest.approx({"geometry": 0.03 * decay, "joint": 0.04 * decay})


def test_rates_may_end_low_and_b_may_start_at_once():
    changed = replace(settings(), b_rise=0.0, final_rate=0.1)
    rates = coarse_stage(coarse_scene(), trainable_light(), changed).optimizers.learning_rates
    published = coarse_stage(coarse_scene(), trainable_light(), settings()).optimizers.learning_rates
    assert rates(0)["b"] == 0.01
    assert rates(500)["a"] == pytest.approx(published(500)["a"])
    for name in ("a", "geometry", "light"):
        assert rates(1000)[name] == pytest.approx(0.1 * published(1000)[name])


def test_priors_of_the_material():
    scene, problem = coarse_scene(), setup()
    priors = PriorSettings(dark_metal=4.0, normal_offset=3.0)
    chosen = replace(settings(smoothness=NO_SMOOTHNESS), priors=priors)
    stage = coarse_stage(scene, known_light(), chosen)
    with torch.no_grad():  # offsets are almost zero at first
        scene.field.branch_a.mlp.layers[-1].weight.mul_(1e4)
    rendered = problem.render(scene, torch.tensor([0]))
    channels, pixels = rendered.sample.channels, rendered.alpha.numel()
    terms = stage.regularize(rendered, 125)
    torch.testing.assert_close(terms["normal_offset"], 3.0 * channels.normal.square().sum() / pixels)
    luminance = channels.albedo @ torch.tensor([0.2126, 0.7152, 0.0722])
    dark = (channels.metallic[:, 0] * (1 - luminance / 0.15).clamp(min=0)).sum() / pixels
    torch.testing.assert_close(terms["dark_metal"], 4.0 * dark)
    assert terms["normal_offset"] > 0


@pytest.mark.parametrize("model", ["split", "joint"])
def test_every_parameter_is_learnt_by_one_part(model):
    scene, light = coarse_scene(model), trainable_light()
    stage = coarse_stage(scene, light, settings())
    learnt = [
        id(weight)
        for adam in stage.optimizers.adams.values()
        for group in adam.param_groups
        for weight in group["params"]
    ]
    assert sorted(learnt) == sorted(id(weight) for weight in [*scene.parameters(), *light.parameters()])


def test_known_light_is_no_part():
    stage = coarse_stage(coarse_scene(), known_light(), settings())
    assert list(stage.optimizers.adams) == ["geometry", "a", "b"]
    assert (stage.name, stage.iterations) == ("coarse", 1000)


@pytest.mark.parametrize("iteration", [0, 100, 250, 999])
def test_regularizers_are_weighted_by_iteration(iteration):
    scene, light, problem = coarse_scene(), trainable_light(), setup()
    stage = coarse_stage(scene, light, settings())
    with torch.no_grad():
        rendered = problem.render(scene, torch.tensor([0, 1]))
        terms = stage.regularize(rendered, iteration)
        assert set(terms) == {"sdf_sign", *SMOOTHED, "light_grey"}
        weight = 0.2 + (0.01 - 0.2) * min(1.0, iteration / 250)
        assert sdf_weight(iteration, 1000) == pytest.approx(weight)
        torch.testing.assert_close(terms["sdf_sign"], weight * scene.geometry.sign_regularizer())
        assert float(scene.geometry.sign_regularizer()) > 0.0
        cube = light.cubemap()
        grey = (cube - cube.mean(-1, keepdim=True)).abs().mean()
        torch.testing.assert_close(terms["light_grey"], 0.005 * grey)
    # Ramped from nothing over ten iterations.
    for name in SMOOTHED:
        assert (float(terms[name]) > 0.0) == (iteration > 0)


def test_smoothness_of_weight_zero_is_not_looked_up():
    scene, problem = coarse_scene(), setup()
    stage = coarse_stage(scene, known_light(), settings(smoothness=NO_SMOOTHNESS))
    rendered = problem.render(scene, torch.tensor([0]))
    assert set(stage.regularize(rendered, 500)) == {"sdf_sign"}


def test_normal_smoothness_pulls_a_rough_surface_smooth():
    scene, problem = coarse_scene(), setup()
    plain = settings(smoothness=NO_SMOOTHNESS)
    weighted = replace(plain, normal_smoothness=0.5)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        scene.geometry.sdf += 0.2 * torch.randn(scene.geometry.sdf.shape, generator=generator)
    rendered = problem.render(scene, torch.tensor([0]))
    assert "normal_smoothness" not in coarse_stage(scene, known_light(), plain).regularize(rendered, 0)
    term = coarse_stage(scene, known_light(), weighted).regularize(rendered, 0)["normal_smoothness"]
    mesh = rendered.mesh
    mates = edge_mates(mesh.faces)
    torch.testing.assert_close(term, 0.5 * normal_consistency(mesh.vertices, mesh.faces, mates))
    term.backward()
    with torch.no_grad():
        scene.geometry.sdf -= 0.05 * scene.geometry.sdf.grad / scene.geometry.sdf.grad.abs().max()
        mesh = scene.mesh()
        smoother = normal_consistency(mesh.vertices, mesh.faces, edge_mates(mesh.faces))
    assert float(smoother) < float(term.detach()) / 0.5


def test_scene_samples_the_field_at_the_surface():
    scene, problem = coarse_scene(), setup()
    mesh = scene.mesh()
    raster = RASTERIZER.rasterize(mesh.vertices, mesh.faces, problem.views.cameras[:2])
    positions = RASTERIZER.interpolate(mesh.vertices, raster, mesh.faces)
    sample = scene.sample(mesh, raster, positions, RASTERIZER)
    assert sample.tangent is None
    torch.testing.assert_close(sample.coordinates, positions)
    expected = scene.field.sample(positions)
    for name in ("albedo", "normal", "roughness", "metallic", "occlusion"):
        torch.testing.assert_close(getattr(sample.channels, name), getattr(expected, name))
    rows = torch.tensor([3, 1])
    looked_up = sample.lookup(positions[rows], rows)
    torch.testing.assert_close(looked_up.albedo, sample.channels.albedo[rows])
    # A sphere's normals point outwards, and the grid's coarseness is all that is off.
    outward = torch.nn.functional.normalize(positions, dim=1)
    normal = torch.nn.functional.normalize(sample.normal, dim=1)
    assert (normal * outward).sum(1).min() > 0.8


@pytest.mark.parametrize("model", ["split", "joint"])
def test_stage_learns_geometry_and_material(model):
    problem, scene = setup(trainable_light()), coarse_scene(model)
    before = {name: value.detach().clone() for name, value in scene.named_parameters()}
    stage = coarse_stage(scene, problem.light, settings(4))
    results = []
    run_stage(stage, problem, results.append)
    assert len(results) == 4
    for name, value in scene.named_parameters():
        assert torch.isfinite(value).all(), name
        assert not torch.equal(value, before[name]), name


def test_branch_b_stands_still_at_the_first_step():
    problem, scene = setup(), coarse_scene()
    before = [weight.detach().clone() for weight in scene.field.branch_b.parameters()]
    first_a = [weight.detach().clone() for weight in scene.field.branch_a.parameters()]
    run_stage(coarse_stage(scene, problem.light, settings(1)), problem, lambda result: None)
    assert all(torch.equal(old, new) for old, new in zip(before, scene.field.branch_b.parameters()))
    assert not all(torch.equal(old, new) for old, new in zip(first_a, scene.field.branch_a.parameters()))
