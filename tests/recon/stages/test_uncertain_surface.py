"""Why pixels count by how certain the surface is: wrong normals make gloss look rough."""

from __future__ import annotations

import torch

from recon.config import Config
from recon.data.views import Views
from recon.geometry.mesh import Mesh
from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.losses import BRANCH_LOSSES
from recon.material.channels import ChannelSettings
from recon.objectives import SplitObjective
from recon.render.loss_routes import LossRoutes
from recon.render.render_views import render_views
from recon.render.self_occlusion import SelfOcclusion
from recon.stages.fine import FineSettings, fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.regularization import SmoothnessSettings
from recon.stages.run_stage import TrainingSetup, run_stage
from tests.recon.render.scenes import orbit_cameras, sphere
from tests.recon.stages.scenes import NO_PRIORS, RASTERIZER, RATES, field

VIEWS = 6
GLOSS = 0.2
_RIPPLE = 0.03


def lamps() -> EnvironmentLight:
    probe = torch.full((32, 64, 3), 0.2)
    for row, column in ((8, 5), (12, 20), (18, 33), (10, 46), (22, 58), (14, 12), (16, 52), (20, 26)):
        probe[row : row + 2, column : column + 3] = 30.0
    return EnvironmentLight.known(probe, 32)


def rippled_ball(phase: float) -> Mesh:
    """A ball whose middle has ripples around it; the rest is smooth."""
    vertices, faces = sphere(48, 48, 0.8)
    height = vertices[:, 1] / 0.8
    inside = (height.abs() < 0.3).float()
    ripples = 1.0 + _RIPPLE * inside * torch.sin(40.0 * height + phase)
    vertices = vertices * ripples[:, None]
    return Mesh(vertices, faces, uvs=vertices[:, :2] * 0.5 + 0.5, uv_faces=faces).with_smooth_normals()


def errors_of_roughness(certain_bend: float) -> tuple[float, float]:
    """Where recovered ripples are not the true ones, and elsewhere; of gloss 0.2, learnt from 0.3."""
    torch.manual_seed(0)
    light, fg, cameras = lamps().prefilter(), fg_table(), orbit_cameras(VIEWS, 48, 48)
    glossy = ChannelSettings(initial_roughness=GLOSS, initial_metallic=0.05)
    true = FineScene(rippled_ball(0.0), field(start=glossy), movable=False)
    with torch.no_grad():
        shown = render_views(true, light, fg, cameras, RASTERIZER, routes=None)
    images = torch.cat([shown.image_a, shown.alpha[..., None]], dim=-1)
    views = Views(cameras, images, tuple(f"view{i}" for i in range(VIEWS)))

    mesh = rippled_ball(2.0)
    occlusion = SelfOcclusion(mesh.faces, len(mesh.vertices), certain_bend=certain_bend)
    start = ChannelSettings(initial_roughness=0.3, initial_metallic=0.05)
    learnt = FineScene(mesh, field(start=start), movable=False, occlusion=occlusion)
    objective = SplitObjective(BRANCH_LOSSES["a"], BRANCH_LOSSES["b"], LossRoutes(free_light=3.0))
    setup = TrainingSetup(views, lamps(), fg, RASTERIZER, objective, batch=3, samples=1, seed=0)
    smooth = SmoothnessSettings(0.03, 0.02, 0.05, ramp=0, jitter=0.02, subset=0.5)
    settings = FineSettings(60, RATES | {"a": 0.05, "b": 0.05}, False, 0.0, smooth, NO_PRIORS, 0.0, 0)
    run_stage(fine_stage(learnt, setup, settings), setup, lambda result: None)
    error = (learnt.vertex_material(RASTERIZER).roughness[:, 0] - GLOSS).abs()
    height = mesh.vertices[:, 1].abs()
    return float(error[height < 0.2].mean()), float(error[height > 0.35].mean())


def test_wrong_normals_make_gloss_less_rough():
    theirs, _ = errors_of_roughness(0.0)
    ours, elsewhere = errors_of_roughness(Config().loss.certain_bend)
    assert theirs > 0.05
    assert ours < 0.5 * theirs
    assert elsewhere < 0.03
