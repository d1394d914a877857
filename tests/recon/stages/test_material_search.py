"""Trying materials before the fine stage: what training views show is found, and taught to the field."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.color import linear_to_srgb
from recon.data.views import Views
from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.losses import BRANCH_LOSSES
from recon.material.channels import ChannelSettings
from recon.material.texture_maps import TextureMaps, initial_maps
from recon.objectives import SplitObjective
from recon.render.loss_routes import LossRoutes
from recon.render.render_views import render_views
from recon.stages.fine import FineSettings, fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.material_search import search_material, teach
from recon.stages.run_stage import TrainingSetup, run_stage
from tests.recon.render.scenes import orbit_cameras
from tests.recon.stages.scenes import NO_PRIORS, RASTERIZER, RATES, SMOOTHNESS, field, sphere_mesh

GREY, GLOSS = 0.25, 0.2


def studio() -> EnvironmentLight:
    probe = 0.2 * torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(1))
    for row, column in ((3, 4), (6, 14), (5, 25), (10, 9), (11, 20), (8, 30)):
        probe[row, column : column + 2] = 12.0
    return EnvironmentLight.known(probe, 16)


def metal_ball(turned: bool = False) -> TrainingSetup:
    """A sphere of glossy grey metal, as pictures; `turned`: with a light that turns from view to view."""
    settings = ChannelSettings()
    maps = TextureMaps(initial_maps(8, 8, settings), settings)
    with torch.no_grad():
        maps.map_a[..., :3] = linear_to_srgb(torch.tensor(GREY))
        maps.map_b[..., 0], maps.map_b[..., 1] = GLOSS, 1.0
    cameras, light, fg = orbit_cameras(8, 32, 32), studio(), fg_table()
    turns = None
    if turned:
        angles = torch.linspace(0.0, 5.0, 8)
        turns = torch.zeros(8, 3, 3)
        turns[:, 1, 1] = 1.0
        turns[:, 0, 0] = turns[:, 2, 2] = angles.cos()
        turns[:, 0, 2], turns[:, 2, 0] = angles.sin(), -angles.sin()
    scene = FineScene(sphere_mesh(), maps, movable=False)
    with torch.no_grad():
        shown = render_views(
            scene, light.prefilter(), fg, cameras, RASTERIZER, routes=None, light_rotation=turns
        )
    images = torch.cat([shown.image_a, shown.alpha[..., None]], dim=-1)
    views = Views(cameras, images, tuple(f"view{i}" for i in range(8)), turns)
    objective = SplitObjective(BRANCH_LOSSES["a"], BRANCH_LOSSES["b"], LossRoutes())
    return TrainingSetup(views, light, fg, RASTERIZER, objective, batch=3, samples=1, seed=0)


def untrained() -> FineScene:
    start = ChannelSettings(initial_roughness=0.2, initial_metallic=0.1)
    return FineScene(sphere_mesh(), field(start=start), movable=False)


def learnt(scene: FineScene, setup: TrainingSetup, iterations: int) -> tuple[float, float, float]:
    """Mean albedo, roughness and metallic of the surface after fine iterations."""
    settings = FineSettings(iterations, RATES, False, 0.0, SMOOTHNESS, NO_PRIORS, 0.0, 0)
    run_stage(fine_stage(scene, setup, settings), setup, lambda result: None)
    with torch.no_grad():
        channels = scene.vertex_material(RASTERIZER)
    return tuple(float(values.mean()) for values in (channels.albedo, channels.roughness, channels.metallic))


@pytest.mark.parametrize("turned", [False, True])
def test_finds_the_material_of_every_spot(turned):
    setup = metal_ball(turned)
    found = search_material(untrained(), setup)
    assert len(found.position) > 300
    assert found.metallic.mean() > 0.98
    assert (found.roughness - GLOSS).abs().mean() < 0.05
    assert (found.albedo - GREY).abs().median() < 0.1 * GREY


def test_of_large_pictures_some_pixels_are_enough(monkeypatch):
    setup = metal_ball()
    every = search_material(untrained(), setup)
    monkeypatch.setattr("recon.stages.material_search._MOST_PIXELS", 8 * 32 * 32 // 2)
    some = search_material(untrained(), setup)
    assert 0 < len(some.position) < len(every.position)
    assert some.metallic.mean() > 0.95
    assert (some.roughness - GLOSS).abs().mean() < 0.08


def test_the_field_learns_what_was_found_and_keeps_its_normals():
    setup, scene = metal_ball(), untrained()
    found = search_material(scene, setup)
    before = scene.material.sample(found.position).normal.detach()
    teach(scene.material, found, seed=0)
    with torch.no_grad():
        said = scene.material.sample(found.position)
    assert (said.metallic - found.metallic).abs().mean() < 0.05
    assert (said.roughness - found.roughness).abs().mean() < 0.05
    assert (said.normal - before).abs().mean() < 0.01
    assert all(parameter.grad is None for parameter in scene.material.parameters())


def test_a_field_that_has_run_to_the_end_of_its_range_learns_too():
    """Under a learnt light the coarse stage may ask all gloss to be glossier than there is."""
    setup, scene = metal_ball(), untrained()
    found = search_material(scene, setup)
    optimizer = torch.optim.Adam(scene.material.parameters(), lr=0.03)
    for _ in range(200):
        channels = scene.material.sample(found.position)
        optimizer.zero_grad()
        (channels.roughness + channels.metallic).mean().backward()
        optimizer.step()
    teach(scene.material, found, seed=0)
    with torch.no_grad():
        said = scene.material.sample(found.position)
    assert (said.metallic - found.metallic).abs().mean() < 0.05
    assert (said.roughness - found.roughness).abs().mean() < 0.05


def test_the_same_seed_teaches_the_same():
    one, other = untrained(), untrained()
    found = search_material(one, metal_ball())
    teach(one.material, found, seed=3)
    torch.manual_seed(9)  # no matter
    teach(other.material, found, seed=3)
    for first, second in zip(one.material.parameters(), other.material.parameters()):
        assert torch.equal(first, second)


def test_clipped_pixels_of_8_bit_pictures_are_left_out():
    setup = metal_ball()
    clipped = setup.views.images.clone()
    clipped[..., :3] = clipped[..., :3].clamp(max=1.0)
    assert (clipped[..., :3] >= 1.0).any()
    setup.views = replace(setup.views, images=clipped, ldr=True)
    fit = search_material(untrained(), setup)
    setup.views = replace(setup.views, ldr=False)
    blind = search_material(untrained(), setup)
    wrong = [float((found.albedo - GREY).abs().mean()) for found in (fit, blind)]
    assert wrong[0] < wrong[1]


def test_training_ends_nearer_to_the_truth_than_without():
    """Why there is a search: descent from paint takes grey metal for something darker and duller."""
    setup = metal_ball()
    plain = learnt(untrained(), setup, 60)
    scene = untrained()
    teach(scene.material, search_material(scene, setup), seed=0)
    searched = learnt(scene, setup, 60)
    truth = (GREY, GLOSS, 1.0)
    for ours, theirs, true in zip(searched, plain, truth):
        assert abs(ours - true) < abs(theirs - true)
    assert searched[2] > 0.9
