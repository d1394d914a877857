"""Why pixels count by the light that the object leaves them: what it sends itself is known roughly."""

from __future__ import annotations

import torch

from recon.data.views import Views
from recon.geometry.mesh import Mesh
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
from tests.recon.stages.scenes import NO_PRIORS, RASTERIZER, RATES, field, known_light

VIEWS = 6
UNKNOWN_LIGHT = 1.5  # radiance that reaches the camera where the object blocks all light


def two_balls() -> Mesh:
    """Side by side, with a gap in which each sees the other."""
    (left, faces), (right, more) = (sphere(12, 24, 0.42, (x, 0.0, 0.0)) for x in (-0.44, 0.44))
    vertices, faces = torch.cat([left, right]), torch.cat([faces, more + len(left)])
    return Mesh(vertices, faces, uvs=vertices[:, :2] * 0.5 + 0.5, uv_faces=faces).with_smooth_normals()


def scene() -> FineScene:
    mesh = two_balls()
    start = ChannelSettings(initial_roughness=0.2, initial_metallic=0.05)
    occlusion = SelfOcclusion(mesh.faces, len(mesh.vertices))
    return FineScene(mesh, field(start=start), movable=False, occlusion=occlusion)


def pictures(shown: FineScene) -> tuple[Views, torch.Tensor]:
    """Views of `shown` with light between the balls that no model knows; and the vertices' free share."""
    light, fg, cameras = known_light().prefilter(), fg_table(), orbit_cameras(VIEWS, 40, 32)
    shown.occlusion.refresh(shown.mesh(), shown.vertex_material(RASTERIZER), light, fg)
    free = shown.occlusion.free.clone()
    with torch.no_grad():
        rendered = render_views(shown, light, fg, cameras, RASTERIZER, routes=None, occlusion=shown.occlusion)
        share = RASTERIZER.interpolate(free[:, None], rendered.raster, rendered.mesh.faces)
        extra = rendered.raster.scatter(UNKNOWN_LIGHT * (1.0 - share)).expand(-1, -1, -1, 3)
    images = torch.cat([rendered.image_a + extra, rendered.alpha[..., None]], dim=-1)
    return Views(cameras, images, tuple(f"view{i}" for i in range(VIEWS))), free


def drift(free_light: float) -> float:
    """How far roughness in the gap moves from the truth it starts at."""
    torch.manual_seed(0)
    learnt = scene()
    views, free = pictures(learnt)
    with torch.no_grad():
        truth = learnt.vertex_material(RASTERIZER).roughness
    objective = SplitObjective(BRANCH_LOSSES["a"], BRANCH_LOSSES["b"], LossRoutes(free_light=free_light))
    setup = TrainingSetup(views, known_light(), fg_table(), RASTERIZER, objective, batch=3, samples=1, seed=0)
    smooth = SmoothnessSettings(0.03, 0.02, 0.05, ramp=0, jitter=0.02, subset=0.5)
    settings = FineSettings(60, RATES | {"a": 0.05, "b": 0.05}, False, 0.0, smooth, NO_PRIORS, 0.0, 0)
    run_stage(fine_stage(learnt, setup, settings), setup, lambda result: None)
    moved = (learnt.vertex_material(RASTERIZER).roughness - truth).abs()
    return float(moved[free < 0.75].mean())


def test_light_that_no_model_knows_misleads_roughness_less():
    misled = drift(0.0)
    assert misled > 0.01
    assert drift(3.0) < 0.3 * misled
