"""What the defaults of a learnt light are there for: material and light found together."""

from __future__ import annotations

from bisect import bisect

import pytest
import torch

from recon.assemble import channel_settings, make_objective
from recon.color import linear_to_srgb
from recon.config import Config, load_config
from recon.data.views import Views
from recon.light import latlong
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

GLOSS = 0.15
TINT = (1.0, 0.8, 0.55)


def studio() -> EnvironmentLight:
    """Warm lamps in a dim room."""
    probe = 0.2 * torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(1))
    for row, column in ((3, 4), (6, 14), (5, 25), (10, 9), (11, 20), (8, 30)):
        probe[row, column : column + 2] = 12.0
    return EnvironmentLight.known(probe * torch.tensor(TINT), 16)


def blurred_studio() -> EnvironmentLight:
    """What a coarse stage makes of the studio: a light that is still too soft."""
    light = studio().prefilter()
    soft = light.specular[bisect(light.roughness, 0.25) - 1][:, 1:-1, 1:-1].contiguous()
    return EnvironmentLight.trainable_from(latlong.to_latlong(soft, 32, 64), 16)


def glossy_ball(paint: float, light: EnvironmentLight, other_half: float = GLOSS) -> TrainingSetup:
    """A sphere of glossy paint in the studio, as pictures; `light` is to be learnt.

    other_half: roughness of the southern half.
    """
    settings = ChannelSettings()
    maps = TextureMaps(initial_maps(8, 8, settings), settings)
    with torch.no_grad():
        maps.map_a[..., :3] = linear_to_srgb(torch.tensor(paint))
        maps.map_b[..., 0], maps.map_b[..., 1] = GLOSS, 0.0
        maps.map_b[4:, :, 0] = other_half
    cameras, fg = orbit_cameras(8, 32, 32), fg_table()
    scene = FineScene(sphere_mesh(), maps, movable=False)
    with torch.no_grad():
        shown = render_views(scene, studio().prefilter(), fg, cameras, RASTERIZER, routes=None)
    images = torch.cat([shown.image_a, shown.alpha[..., None]], dim=-1)
    views = Views(cameras, images, tuple(f"view{i}" for i in range(8)), None)
    objective = SplitObjective(BRANCH_LOSSES["a"], BRANCH_LOSSES["b"], LossRoutes())
    return TrainingSetup(views, light, fg, RASTERIZER, objective, batch=4, samples=1, seed=0)


def untrained(initial_roughness: float = 0.2) -> FineScene:
    start = ChannelSettings(initial_roughness=initial_roughness, initial_metallic=0.1)
    return FineScene(sphere_mesh(), field(start=start), movable=False)


def learn(scene: FineScene, setup: TrainingSetup, iterations: int, light_grey: float = 0.0) -> None:
    settings = FineSettings(iterations, RATES, False, 0.0, SMOOTHNESS, NO_PRIORS, light_grey, 0)
    run_stage(fine_stage(scene, setup, settings), setup, lambda result: None)


@pytest.mark.parametrize("paint", [0.03, 0.6])
def test_a_search_under_a_learnt_light_finds_what_descent_does_not(paint):
    """Descent takes black gloss for metal, and bright gloss for something duller."""
    plain, searched = untrained(), untrained()
    learn(plain, glossy_ball(paint, blurred_studio()), 100)
    setup = glossy_ball(paint, blurred_studio())
    teach(searched.material, search_material(searched, setup), seed=0)
    learn(searched, setup.with_objective(make_objective(Config(), refine=True)), 100)
    ours, theirs = (scene.vertex_material(RASTERIZER) for scene in (searched, plain))
    assert ours.metallic.mean() < 0.05
    if paint < 0.5:
        assert ours.metallic.mean() < 0.5 * theirs.metallic.mean()
    else:
        # Only duller counts: of one roughness, the ball could as well be glossier in a light more blurred.
        ours_off, theirs_off = ((found.roughness - GLOSS).clamp_min(0.0).mean() for found in (ours, theirs))
        assert ours_off < 0.8 * theirs_off


def test_lamps_get_no_more_power_than_they_have():
    """Where some paint is rough, gloss that begins dull becomes rough too, and the light too strong."""

    def mean_radiance(initial_roughness: float) -> float:
        setup = glossy_ball(0.5, EnvironmentLight.trainable(16), other_half=0.7)
        learn(untrained(initial_roughness), setup, 100)
        return float(setup.light.cubemap().detach().mean())

    true = float(studio().cubemap().mean())
    learnt = load_config(None, ["light.mode=learnt"])
    ours = mean_radiance(channel_settings(learnt).initial_roughness)
    dull = mean_radiance(channel_settings(load_config()).initial_roughness)
    assert abs(ours - true) < 0.75 * abs(dull - true)


def test_the_light_keeps_its_color():
    """A strong wish for grey light would paint the surface in the light's color."""

    def tint(light_grey: float) -> float:
        setup = glossy_ball(0.6, EnvironmentLight.trainable(16))
        learn(untrained(), setup, 100, light_grey)
        red, _, blue = setup.light.cubemap().detach().mean(dim=(0, 1, 2))
        return float(blue / red)

    default = Config().regularizer.light_grey
    true = TINT[2] / TINT[0]
    assert abs(tint(default) - true) < 0.6 * abs(tint(10.0 * default) - true)
