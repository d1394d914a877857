"""Small training problems for the stages' tests."""

from __future__ import annotations

import torch

from recon.data.views import Views
from recon.geometry.dmtet import DMTet
from recon.geometry.mesh import Mesh, mesh_from_obj
from recon.geometry.tet_grid import build_tet_grid
from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.losses import BRANCH_LOSSES
from recon.material.channels import ChannelSettings
from recon.material.field import EncoderSettings, JointField, MaterialField, SplitField
from recon.material.texture_maps import TextureMaps, initial_maps
from recon.objectives import Objective, SplitObjective
from recon.render.loss_routes import LossRoutes
from recon.render.render_views import render_views
from recon.render.warp_backend import WarpRasterizer
from recon.stages.coarse_scene import CoarseScene
from recon.stages.fine_scene import FineScene
from recon.stages.regularization import PriorSettings, SmoothnessSettings
from recon.stages.run_stage import TrainingSetup
from tests.recon.render.scenes import orbit_cameras
from tests.shapes import uv_sphere

RASTERIZER = WarpRasterizer(torch.device("cpu"))
RATES = {"geometry": 0.03, "a": 0.02, "b": 0.01, "joint": 0.04, "light": 0.05}
SMOOTHNESS = SmoothnessSettings(albedo=0.03, roughness=0.02, metallic=0.02, ramp=10, jitter=0.01, subset=0.5)
NO_PRIORS = PriorSettings(dark_metal=0.0, normal_offset=0.0)
NO_SMOOTHNESS = SmoothnessSettings(albedo=0.0, roughness=0.0, metallic=0.0, ramp=10, jitter=0.01, subset=0.5)


def known_light() -> EnvironmentLight:
    probe = 0.2 + torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(2))
    return EnvironmentLight.known(probe, 16)


def trainable_light() -> EnvironmentLight:
    probe = 0.2 + torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(2))
    return EnvironmentLight.trainable_from(probe, 16)


def sphere_mesh(device: torch.device | str = "cpu") -> Mesh:
    # Moved first: builds of Warp exist that compile for GPUs only.
    mesh = mesh_from_obj(uv_sphere(8, 12)).to(device)
    return mesh.with_vertices(0.8 * mesh.vertices).with_smooth_normals()


def texture_maps(resolution: int = 16) -> TextureMaps:
    settings = ChannelSettings()
    return TextureMaps(initial_maps(resolution, resolution, settings), settings)


def fine_scene(*, movable: bool = True) -> FineScene:
    return FineScene(sphere_mesh(), texture_maps(), movable=movable)


def coarse_scene(model: str = "split") -> CoarseScene:
    return CoarseScene(DMTet.sphere(build_tet_grid(8, 1.0), 0.6), field(model))


def field(model: str = "split", start: ChannelSettings | None = None) -> MaterialField:
    bounds = torch.tensor([[-1.0] * 3, [1.0] * 3])
    encoder = EncoderSettings(levels=4, table_log2=8, finest=32, width=16)
    generator = torch.Generator().manual_seed(0)
    start = start or ChannelSettings()
    if model == "joint":
        return JointField(bounds, encoder, start, generator=generator)
    return SplitField(bounds, encoder, encoder, start, generator=generator)


def views(count: int = 5, device: torch.device | str = "cpu") -> Views:
    """Pictures of a sphere with striped paint."""
    maps = texture_maps().to(device)
    with torch.no_grad():
        maps.map_a[:, ::4, :3] = torch.tensor([0.9, 0.2, 0.1], device=device)
        maps.map_b[::4, :, 0] = 0.7
        scene = FineScene(sphere_mesh(device), maps, movable=False)
        cameras = orbit_cameras(count, 24, 20).to(device)
        light, fg = known_light().to(device).prefilter(), fg_table(device=device)
        shown = render_views(scene, light, fg, cameras, WarpRasterizer(device), routes=None)
    images = torch.cat([shown.image_a, shown.alpha[..., None]], dim=-1)
    return Views(cameras, images, tuple(f"view{i}" for i in range(count)))


def setup(
    light: EnvironmentLight | None = None,
    *,
    batch: int = 2,
    seed: int = 0,
    objective: Objective | None = None,
    device: torch.device | str = "cpu",
) -> TrainingSetup:
    return TrainingSetup(
        views(device=device),
        (light or known_light()).to(device),
        fg_table(device=device),
        RASTERIZER if torch.device(device).type == "cpu" else WarpRasterizer(device),
        objective or SplitObjective(BRANCH_LOSSES["a"], BRANCH_LOSSES["b"], LossRoutes()),
        batch=batch,
        samples=1,
        seed=seed,
    )
