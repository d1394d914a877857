"""Makes the parts of a run from its config; the parts themselves know no config."""

from __future__ import annotations

from pathlib import Path

import torch

from recon.backend import network_factory
from recon.config import Config
from recon.config import EncoderSettings as ConfiguredEncoder
from recon.data.dataset import load_probe
from recon.data.views import Views
from recon.geometry.dmtet import DMTet
from recon.geometry.mesh import Mesh
from recon.geometry.tet_grid import build_tet_grid
from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.losses import CompositeLoss
from recon.material.channels import Channels, ChannelSettings
from recon.material.field import EncoderSettings, JointField, MaterialField, SplitField
from recon.material.texture_maps import TextureMaps, initial_maps
from recon.mesh_views import ReferenceMesh
from recon.objectives import JointObjective, Objective, SplitObjective
from recon.render.interface import Rasterizer
from recon.render.loss_routes import LossRoutes
from recon.stages.coarse import CoarseSettings
from recon.stages.coarse_scene import CoarseScene
from recon.stages.fine import FineSettings
from recon.stages.fine_scene import FineScene
from recon.stages.regularization import SmoothnessSettings
from recon.stages.run_stage import TrainingSetup
from recon.workers import Workers

# The visual hull changes little with more silhouettes; views that are rendered on the fly are thousands.
_HULL_VIEWS = 100
_MESH_RESOLUTION = 512  # of views of a reference mesh, where no resolution is set
_MESH_HELD_OUT = 8
# A sphere start has to lie inside the object's silhouette in most views, and be easy to grow from.
_START_SPHERE = 0.6


def make_light(config: Config, dataset: Path, device: torch.device) -> EnvironmentLight:
    """The known probe (the config's, else the dataset's), or a grey trainable light."""
    if config.light.mode == "learnt":
        return EnvironmentLight.trainable(config.light.resolution, config.light.initial).to(device)
    return _known_light(config, dataset, device)


def make_mesh_views(
    config: Config, dataset: Path, rasterizer: Rasterizer, device: torch.device
) -> tuple[Views, Views]:
    """Training and held-out views of the dataset's ground truth under the known probe, for `data.kind: mesh`.

    As many as there are to be drawn, so that each is new.
    """
    train = config.train
    reference = ReferenceMesh(
        dataset,
        _known_light(config, dataset, device).prefilter(),
        fg_table(device=device),
        rasterizer,
        size=train.resolution or _MESH_RESOLUTION,
        samples=train.samples,
    )
    count = max(_HULL_VIEWS, train.batch * max(train.coarse_iterations, train.fine_iterations))
    return reference.views(count, config.seed), reference.held_out(_MESH_HELD_OUT)


def _known_light(config: Config, dataset: Path, device: torch.device) -> EnvironmentLight:
    settings = config.light
    probe = load_probe(dataset if settings.probe is None else Path(settings.probe))
    return EnvironmentLight.known(probe, settings.resolution).to(device)


def make_objective(config: Config) -> Objective:
    """The split losses with their routes, or the joint baseline's single loss."""
    loss = config.loss
    if config.material.model == "joint":
        return JointObjective(CompositeLoss(loss.joint, loss.joint, 1.0, 0.0, mask_weight=1.0))
    return SplitObjective(
        CompositeLoss(*loss.a, *loss.a_weights, mask_weight=loss.mask_weight),
        CompositeLoss(*loss.b, *loss.b_weights, mask_weight=0.0),
        LossRoutes(loss.geometry, loss.normal, loss.light) if loss.routing == "strict" else None,
    )


def make_setup(
    config: Config,
    dataset: Path,
    views: Views,
    rasterizer: Rasterizer,
    device: torch.device,
    workers: Workers | None = None,
) -> TrainingSetup:
    """What both stages share: the views to learn from, the light, the renderer and the losses."""
    return TrainingSetup(
        views,
        make_light(config, dataset, device),
        fg_table(device=device),
        rasterizer,
        make_objective(config),
        batch=min(config.train.batch, len(views)),
        samples=config.train.samples,
        seed=config.seed,
        workers=workers,
    )


def make_coarse_scene(
    config: Config, views: Views, device: torch.device, networks: str = "warp"
) -> CoarseScene:
    """A DMTet surface started as `geometry.init` says, with an untrained material field around it."""
    geometry, half_extent = config.geometry, config.geometry.half_extent
    grid = build_tet_grid(geometry.grid, half_extent)
    if geometry.init == "hull":
        some = torch.linspace(0, len(views) - 1, min(len(views), _HULL_VIEWS)).round().long()
        seen = views.select(some.to(device))
        tetrahedra = DMTet.hull(grid, seen.images[..., 3].cpu(), seen.cameras.to("cpu"))
    elif geometry.init == "sphere":
        tetrahedra = DMTet.sphere(grid, _START_SPHERE * half_extent)
    else:
        tetrahedra = DMTet.random(grid, config.seed)
    bounds = torch.tensor([[-half_extent] * 3, [half_extent] * 3])
    return CoarseScene(tetrahedra, make_field(config, bounds, networks)).to(device)


def make_field(config: Config, bounds: torch.Tensor, networks: str = "warp") -> MaterialField:
    """The split or the joint material field over `bounds` (2, 3); networks: as in `recon.backend.Backend`."""
    material = config.material
    generator = torch.Generator().manual_seed(config.seed)
    learnt = {"learn_normal": material.normal, "learn_occlusion": material.occlusion}
    make_network = network_factory(networks, material.mixed_precision)
    channels = channel_settings(config)
    if material.model == "joint":
        encoder = _encoder(material.encoder())
        return JointField(bounds, encoder, channels, **learnt, generator=generator, make_network=make_network)
    encoder_a, encoder_b = _encoder(material.encoder("a")), _encoder(material.encoder("b"))
    return SplitField(
        bounds, encoder_a, encoder_b, channels, **learnt, generator=generator, make_network=make_network
    )


def make_fine_scene(config: Config, mesh: Mesh, start: Channels | None, device: torch.device) -> FineScene:
    """An unwrapped `mesh` with the maps `start`, or uniform ones; an artist's mesh stays as it is."""
    resolution, settings = config.textures.resolution, channel_settings(config)
    maps = TextureMaps(
        start or initial_maps(resolution, resolution, settings, device),
        settings,
        learn_normal=config.material.normal,
        learn_occlusion=config.material.occlusion,
    )
    return FineScene(mesh, maps, movable=config.geometry.mesh is None).to(device)


def channel_settings(config: Config) -> ChannelSettings:
    material = config.material
    return ChannelSettings(
        roughness_min=material.roughness_min,
        initial_roughness=material.initial_roughness,
        initial_metallic=material.initial_metallic,
    )


def coarse_settings(config: Config) -> CoarseSettings:
    return CoarseSettings(
        config.train.coarse_iterations,
        _rates(config, config.train.learning_rate_coarse),
        config.geometry.sdf_regularizer,
        config.geometry.normal_smoothness,
        _smoothness(config, config.regularizer.jitter),
        config.regularizer.light_grey,
    )


def fine_settings(config: Config, uv_scale: float) -> FineSettings:
    """uv_scale: uv units per unit of length on the surface, so that the jitter is as far as in 3D."""
    return FineSettings(
        config.train.fine_iterations,
        _rates(config, config.train.learning_rate_fine),
        config.material.model == "joint",
        config.geometry.laplacian,
        config.geometry.normal_smoothness,
        _smoothness(config, config.regularizer.jitter * uv_scale),
        config.regularizer.light_grey,
    )


def _rates(config: Config, base: float) -> dict[str, float]:
    return {
        "geometry": base * config.geometry.learning_rate_scale,
        "a": base * config.material.a.learning_rate_scale,
        "b": base * config.material.b.learning_rate_scale,
        "joint": base,
        "light": config.light.learning_rate,
    }


def _smoothness(config: Config, jitter: float) -> SmoothnessSettings:
    settings = config.regularizer
    return SmoothnessSettings(
        settings.albedo_smoothness,
        settings.material_smoothness,
        settings.smoothness_ramp,
        jitter,
        settings.subset,
    )


def _encoder(sizes: ConfiguredEncoder) -> EncoderSettings:
    return EncoderSettings(
        levels=sizes.hash_levels,
        features=sizes.hash_features,
        table_log2=sizes.hash_table_log2,
        base=sizes.hash_base,
        finest=sizes.hash_finest,
        width=sizes.mlp_width,
        depth=sizes.mlp_layers,
    )
