"""Makes the parts of a run from its config; the parts themselves know no config."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from recon.backend import network_factory
from recon.config import Config
from recon.config import EncoderSettings as ConfiguredEncoder
from recon.data.dataset import load_probe
from recon.data.views import Views
from recon.geometry.dmtet import DMTet
from recon.geometry.grid_box import GridBox, cube
from recon.geometry.mesh import Mesh
from recon.geometry.tet_grid import tet_grid_over
from recon.geometry.visual_hull import fit_to_hull
from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.losses import CompositeLoss
from recon.material.channels import Channels, ChannelSettings
from recon.material.field import EncoderSettings, JointField, MaterialField, SplitField
from recon.material.hash_grid import as_fine_as_pixels
from recon.material.texture_maps import TextureMaps, initial_maps
from recon.mesh_views import ReferenceMesh
from recon.objectives import JointObjective, Objective, SplitObjective
from recon.render.interface import Rasterizer
from recon.render.loss_routes import LossRoutes
from recon.render.self_occlusion import SelfOcclusion
from recon.render.warp_backend import WarpRasterizer
from recon.stages.coarse import CoarseSettings
from recon.stages.coarse_scene import CoarseScene
from recon.stages.fine import FineSettings
from recon.stages.fine_scene import FineScene
from recon.stages.regularization import PriorSettings, SmoothnessSettings
from recon.stages.run_stage import TrainingSetup
from recon.workers import Workers

_LOG = logging.getLogger(__name__)

# The visual hull changes little with more silhouettes; views that are rendered on the fly are thousands.
_HULL_VIEWS = 100
_MESH_RESOLUTION = 512  # of views of a reference mesh, where no resolution is set
_MESH_HELD_OUT = 8
# Where none is set; the second under a learnt light, if a search follows that leads out of so much gloss.
_INITIAL_ROUGHNESS, _GLOSSIEST_START = 0.2, 0.06
_LEARNT_LIGHT = 128  # pixels along a side of a cubemap face, where no resolution is set
# A sphere start has to lie inside the object's silhouette in most views, and be easy to grow from.
_START_SPHERE = 0.6


def make_light(config: Config, dataset: Path, device: torch.device) -> EnvironmentLight:
    """The known probe (the config's, else the dataset's), or a grey trainable light."""
    if config.light.mode == "learnt":
        resolution = config.light.resolution or _LEARNT_LIGHT
        return EnvironmentLight.trainable(resolution, config.light.initial).to(device)
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


def make_objective(config: Config, *, refine: bool = False) -> Objective:
    """The split losses with their routes, or the joint baseline's single loss.

    refine: for a material that a search has found: branch B's losses are `loss.b_refine`.
    """
    loss = config.loss
    b = loss.b_refine if refine and loss.b_refine is not None else loss.b
    if config.material.model == "joint":
        return JointObjective(CompositeLoss(loss.joint, loss.joint, 1.0, 0.0, mask_weight=1.0))
    return SplitObjective(
        CompositeLoss(*loss.a, *loss.a_weights, mask_weight=loss.mask_weight),
        CompositeLoss(*b, *loss.b_weights, mask_weight=0.0),
        LossRoutes(loss.geometry, loss.normal, loss.light, loss.free_light)
        if loss.routing == "strict"
        else None,
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
    config: Config,
    views: Views,
    device: torch.device,
    networks: str = "warp",
    box: GridBox | None = None,
) -> CoarseScene:
    """A DMTet surface started as `geometry.init` says, with an untrained material field in the grid's box.

    box: the grid's, where a run is resumed; None: the cube of `geometry.half_extent`, or a box around the
    hull as `geometry.fit` says.
    """
    geometry = config.geometry
    whole = cube(geometry.grid, geometry.half_extent)
    if geometry.init == "hull":
        some = torch.linspace(0, len(views) - 1, min(len(views), _HULL_VIEWS)).round().long()
        seen = views.select(some.to(device))
        masks, cameras = seen.images[..., 3].cpu(), seen.cameras.to("cpu")
        if box is None:
            box = fit_to_hull(whole, masks, cameras) if geometry.fit else whole
        tetrahedra = DMTet.hull(tet_grid_over(box), masks, cameras)
    else:
        box = box or whole
        if geometry.init == "sphere":
            tetrahedra = DMTet.sphere(tet_grid_over(box), _START_SPHERE * geometry.half_extent)
        else:
            tetrahedra = DMTet.random(tet_grid_over(box), config.seed)
    _LOG.info("tetrahedral grid: %d x %d x %d cells of %.3g", *box.cells, box.cell_size)
    bounds = box.bounds()
    field = make_field(config, bounds, _pixel_size(views, bounds), networks)
    return CoarseScene(tetrahedra, field).to(device)


def make_field(config: Config, bounds: torch.Tensor, pixel: float, networks: str = "warp") -> MaterialField:
    """The split or the joint material field over `bounds` (2, 3).

    pixel: edge length of a training pixel at the object, which the hash grids are as fine as where no
    `hash_finest` is set. networks: as in `recon.backend.Backend`.
    """
    material = config.material
    fine = as_fine_as_pixels(float((bounds[1] - bounds[0]).max()), pixel)
    generator = torch.Generator().manual_seed(config.seed)
    learnt = {"learn_normal": material.normal, "learn_occlusion": material.occlusion}
    make_network = network_factory(networks, material.mixed_precision)
    channels = channel_settings(config)
    if material.model == "joint":
        encoder = _encoder(material.encoder(), fine)
        _LOG.info("hash grid: up to %d cells along a side", encoder.finest)
        return JointField(bounds, encoder, channels, **learnt, generator=generator, make_network=make_network)
    encoder_a, encoder_b = _encoder(material.encoder("a"), fine), _encoder(material.encoder("b"), fine)
    _LOG.info("hash grids: up to %d (A) and %d (B) cells along a side", encoder_a.finest, encoder_b.finest)
    return SplitField(
        bounds, encoder_a, encoder_b, channels, **learnt, generator=generator, make_network=make_network
    )


def make_known_field(config: Config, mesh: Mesh, views: Views, networks: str = "warp") -> MaterialField:
    """An untrained material field around an artist's `mesh`."""
    bounds = torch.stack([mesh.vertices.amin(dim=0), mesh.vertices.amax(dim=0)]).cpu()
    return make_field(config, bounds, _pixel_size(views, bounds), networks)


def make_texture_maps(config: Config, start: Channels | None, device: torch.device) -> TextureMaps:
    """Maps that begin as `start`, or uniform."""
    resolution, settings = config.textures.resolution, channel_settings(config)
    return TextureMaps(
        start or initial_maps(resolution, resolution, settings, device),
        settings,
        learn_normal=config.material.normal,
        learn_occlusion=config.material.occlusion,
    )


def make_fine_scene(
    config: Config,
    mesh: Mesh,
    material: TextureMaps | MaterialField,
    views: Views,
    rasterizer: Rasterizer,
    *,
    movable: bool,
) -> FineScene:
    """An unwrapped `mesh` on the views' device with `material`; an artist's mesh is not movable."""
    occlusion = None
    # References that are rendered on the fly know no shadows either.
    if config.light.model == "traced" and config.data.kind == "views":
        tree = rasterizer.bvh if isinstance(rasterizer, WarpRasterizer) else None
        # A learnt light is blurred as much as wrong normals blur reflections.
        certain = not movable or config.light.mode == "learnt"
        occlusion = SelfOcclusion(
            mesh.faces,
            len(mesh.vertices),
            bvh=tree,
            light_rotations=views.light_rotation,
            certain_bend=0.0 if certain else config.loss.certain_bend,
        )
    diffusion = config.geometry.diffusion
    scene = FineScene(mesh, material, movable=movable, diffusion=diffusion, occlusion=occlusion)
    return scene.to(mesh.vertices.device)


def _pixel_size(views: Views, bounds: torch.Tensor) -> float:
    """Edge length of a training pixel at the object in `bounds` (2, 3)."""
    return float(views.cameras.to("cpu").pixel_sizes(bounds.mean(dim=0)).median())


def channel_settings(config: Config) -> ChannelSettings:
    material = config.material
    return ChannelSettings(
        roughness_min=material.roughness_min,
        initial_roughness=_initial_roughness(config),
        initial_metallic=material.initial_metallic,
    )


def searches_material(config: Config) -> bool:
    """Whether the fine stage's field is searched for: texture maps and the joint baseline are not."""
    material = config.material
    return material.searches > 0 and material.model == "split" and not config.textures.learnt


def searches_before_fine(config: Config) -> bool:
    """Whether the first search comes before the fine stage, not within it.

    On an artist's mesh nothing is known yet of a light that is to be learnt.
    """
    return searches_material(config) and (config.light.mode == "known" or config.geometry.mesh is None)


def _initial_roughness(config: Config) -> float:
    material = config.material
    if material.initial_roughness is not None:
        return material.initial_roughness
    led_out = config.light.mode == "learnt" and searches_before_fine(config)
    start = _GLOSSIEST_START if led_out else _INITIAL_ROUGHNESS
    # Inside the range, however narrow the config makes it.
    return max(start, 0.98 * material.roughness_min + 0.02)


def coarse_settings(config: Config) -> CoarseSettings:
    iterations, weights = config.train.coarse_iterations, config.regularizer
    return CoarseSettings(
        iterations,
        _rates(config, config.train.learning_rate_coarse),
        config.geometry.sdf_regularizer,
        config.geometry.normal_smoothness,
        _smoothness(config, weights.jitter, weights.smoothness_ramp),
        _priors(config),
        weights.light_grey,
        config.train.b_rise,
        config.train.final_rate,
        config.train.coarse_growth,
    )


def fine_settings(config: Config, scene: FineScene) -> FineSettings:
    """Settings to refine what a coarse stage has found, or to find the material on an artist's mesh."""
    train, weights = config.train, config.regularizer
    maps, starts = isinstance(scene.material, TextureMaps), config.geometry.mesh is not None
    rates = _rates(config, train.learning_rate_fine if maps else train.learning_rate_field)
    rates["geometry"] = train.learning_rate_fine * config.geometry.learning_rate_scale
    # The jitter is as far on the surface in either case.
    jitter = weights.jitter * (scene.uv_per_length() if maps else 1.0)
    return FineSettings(
        train.fine_iterations,
        rates,
        config.material.model == "joint",
        config.geometry.normal_smoothness,
        _smoothness(config, jitter, weights.smoothness_ramp if starts or maps else 0),
        _priors(config),
        weights.light_grey,
        0 if maps else train.fine_pixels,
        (0.0, 0.0) if starts else train.fine_growth,
    )


def _rates(config: Config, base: float) -> dict[str, float]:
    return {
        "geometry": base * config.geometry.learning_rate_scale,
        "a": base * config.material.a.learning_rate_scale,
        "b": base * config.material.b.learning_rate_scale,
        "joint": base,
        "light": config.light.learning_rate,
    }


def _smoothness(config: Config, jitter: float, ramp: int) -> SmoothnessSettings:
    settings = config.regularizer
    return SmoothnessSettings(
        settings.albedo_smoothness,
        settings.roughness_smoothness,
        settings.metallic_smoothness,
        ramp,
        jitter,
        settings.subset,
    )


def _priors(config: Config) -> PriorSettings:
    return PriorSettings(config.regularizer.dark_metal, config.regularizer.normal_offset)


def _encoder(sizes: ConfiguredEncoder, fine: int) -> EncoderSettings:
    """fine: the finest resolution where none is set."""
    return EncoderSettings(
        levels=sizes.hash_levels,
        features=sizes.hash_features,
        table_log2=sizes.hash_table_log2,
        base=sizes.hash_base,
        finest=max(fine, sizes.hash_base) if sizes.hash_finest is None else sizes.hash_finest,
        width=sizes.mlp_width,
        depth=sizes.mlp_layers,
    )
