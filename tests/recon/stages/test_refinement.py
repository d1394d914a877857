"""Why branch B is refined by a robust loss: squares leave alone what errs little, as rough paint does.

Whatever else pulls at such a spot, here the wish for smoothness, then moves it far before the loss answers.
"""

from __future__ import annotations

import torch

from recon.config import load_config
from recon.data.views import Views
from recon.light.fg_table import fg_table
from recon.losses import BRANCH_LOSSES, CompositeLoss
from recon.material.channels import ChannelSettings
from recon.material.texture_maps import TextureMaps, initial_maps
from recon.objectives import SplitObjective
from recon.render.loss_routes import LossRoutes
from recon.render.render_views import render_views
from recon.stages.fine import FineSettings, fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.regularization import SmoothnessSettings
from recon.stages.run_stage import TrainingSetup, run_stage
from tests.recon.render.scenes import orbit_cameras
from tests.recon.stages.scenes import NO_PRIORS, RASTERIZER, RATES, known_light, sphere_mesh

VIEWS, SIZE, EVERY = 6, 32, 8
GLOSS, ROUGH = 0.1, 0.9


def striped_ball() -> FineScene:
    """Gloss with thin meridians of rough paint."""
    settings = ChannelSettings()
    maps = TextureMaps(initial_maps(SIZE, SIZE, settings), settings)
    with torch.no_grad():
        maps.map_b[..., 0], maps.map_b[..., 1] = GLOSS, 0.0
        maps.map_b[:, ::EVERY, 0] = maps.map_b[:, 1::EVERY, 0] = ROUGH
    return FineScene(sphere_mesh(), maps, movable=False)


def roughness_of_the_stripes(losses: tuple[str, str]) -> float:
    """After a refinement that begins at the truth."""
    torch.manual_seed(0)
    scene, cameras, light, fg = striped_ball(), orbit_cameras(VIEWS, 32, 32), known_light(), fg_table()
    with torch.no_grad():
        shown = render_views(scene, light.prefilter(), fg, cameras, RASTERIZER, routes=None)
    images = torch.cat([shown.image_a, shown.alpha[..., None]], dim=-1)
    views = Views(cameras, images, tuple(f"view{i}" for i in range(VIEWS)))
    b = CompositeLoss(*losses, *load_config().loss.b_weights, mask_weight=0.0)
    objective = SplitObjective(BRANCH_LOSSES["a"], b, LossRoutes())
    setup = TrainingSetup(views, light, fg, RASTERIZER, objective, batch=3, samples=1, seed=0)
    smooth = SmoothnessSettings(0.03, 0.003, 0.05, ramp=0, jitter=0.05, subset=0.5)
    settings = FineSettings(120, RATES, False, 0.0, smooth, NO_PRIORS, 0.0, 0)
    run_stage(fine_stage(scene, setup, settings), setup, lambda result: None)
    middle = slice(SIZE // 4, -SIZE // 4)
    return float(scene.material.map_b.detach()[middle, ::EVERY, 0].mean())


def test_rough_paint_stays_rough_under_the_default_and_not_under_squares():
    loss = load_config().loss
    assert loss.b_refine is not None
    assert roughness_of_the_stripes(loss.b_refine) > 0.7
    assert roughness_of_the_stripes(loss.b) < 0.5
