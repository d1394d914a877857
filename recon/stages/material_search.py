"""Before the fine stage: what the pictures say of each spot of the surface, as the start of its material.

The coarse stage's material follows gradients while the surface still moves, and may end in a valley from
which none lead out: gloss that has become rough, metal that has become dark paint. Here the surface stands
still, so every spot can be tried with many materials, see `recon.material.reflectance_fit`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recon.color import linear_to_srgb
from recon.light.cubemap import lookup
from recon.material.field import MaterialField
from recon.material.reflectance_fit import ROUGHNESSES, CellMaterials, Observations, fit_reflectance
from recon.render.fused_shading import shading_normals
from recon.render.normal_variance import normal_variance
from recon.render.shade import LEAST_LIGHT
from recon.stages.fine_scene import FineScene
from recon.stages.run_stage import TrainingSetup

_MOST_VIEWS = 64
# Of larger pictures only every k-th pixel is kept, for all that is kept of them lies in memory at once.
_MOST_PIXELS = 2**25
# Side of a cell, in pixels of a picture that the object fills.
_CELL_PIXELS = 1.25
# Pixels that are partly background, or seen at a grazing angle, tell little of the material.
_COVERED, _LEAST_COSINE = 0.99, 0.25
# Rays per pixel and candidate that find what the object reflects of itself.
_RAYS = 4
# Pixels tell more the less of their light the object blocks: power of the share left, and its least.
_TRUST, _LEAST_WEIGHT = 2.0, 1e-3
_CLIPPED = 0.99  # 8-bit pictures: such a pixel only says "at least this bright"

_STEPS = 300
_POINTS = 16384  # of the surface, per step, or
_SHARE = 0.125  #   this share of all, if that is less
_RATE, _LAST_RATE = 0.01, 0.001
_LEAST_METALLIC = 0.01  # a sigmoid never reaches 0 or 1, and would have no gradient there


def search_material(scene: FineScene, setup: TrainingSetup) -> CellMaterials:
    """Fits materials to what the training views show of `scene`, spot by spot, under the light as it is."""
    setup.trace_occlusion(scene)
    views = torch.linspace(0, len(setup.views) - 1, min(len(setup.views), _MOST_VIEWS)).round().long()
    cameras = setup.views.cameras
    stride = -(-len(views) * cameras.width * cameras.height // _MOST_PIXELS)
    batches = [_observe(scene, setup, chosen, stride) for chosen in views.split(setup.batch)]
    vertices = scene.start.vertices
    extent = float((vertices.amax(dim=0) - vertices.amin(dim=0)).max())
    cell = _CELL_PIXELS * extent / max(cameras.width, cameras.height)
    return fit_reflectance(batches, setup.prefiltered_light(), setup.fg, cell)


@torch.no_grad()
def _observe(scene: FineScene, setup: TrainingSetup, chosen: Tensor, stride: int) -> Observations:
    """What every `stride`-th pixel of the training views of indices `chosen` shows of the surface."""
    light, rasterizer = setup.prefiltered_light(), setup.rasterizer
    mesh = scene.mesh()
    chosen = chosen.to(mesh.vertices.device)
    cameras = setup.views.cameras[chosen]
    raster = rasterizer.rasterize(mesh.vertices, mesh.faces, cameras)
    positions = rasterizer.interpolate(mesh.vertices, raster, mesh.faces)
    sample = scene.sample(mesh, raster, positions, rasterizer)
    to_camera = normalize(cameras.origins[raster.views] - positions, dim=-1)
    normal = shading_normals(sample.normal, sample.channels.normal, sample.tangent, to_camera)
    n_dot_v = (normal * to_camera).sum(dim=1, keepdim=True)
    reflected = 2.0 * n_dot_v * normal - to_camera

    turns = setup.views.light_rotation
    turn = None if turns is None else turns[chosen][raster.views]
    turned = _in_light(normal, turn)
    irradiance = lookup((light.diffuse,), turned)
    weight, blocked = torch.ones_like(n_dot_v), positions.new_zeros(len(positions), 0, 3)
    if scene.occlusion is not None:
        in_lobes, trust = [], torch.zeros_like(n_dot_v)
        for roughness in ROUGHNESSES:
            channels = replace(sample.channels, roughness=torch.full_like(n_dot_v, roughness))
            candidate = replace(sample, channels=channels)
            occluded = scene.occlusion(candidate, raster, positions, to_camera, light, turn, _RAYS)
            in_lobes.append(occluded.reflected)
            trust += occluded.trust / len(ROUGHNESSES)
        blocked = torch.stack(in_lobes, dim=1)
        irradiance = torch.maximum(irradiance - occluded.irradiance, LEAST_LIGHT * irradiance)
        weight = (trust**_TRUST).clamp_min(_LEAST_WEIGHT)

    pictures = setup.views.images[chosen]
    color, alpha = pictures.reshape(-1, 4)[raster.pixels].split((3, 1), dim=1)
    used = (alpha >= _COVERED) & (n_dot_v >= _LEAST_COSINE)
    diagonal = raster.pixels + raster.pixels // cameras.width  # a step of one from row to row
    used = used & (diagonal % stride == 0)[:, None]
    if setup.views.ldr:
        used = used & (color.amax(dim=1, keepdim=True) < _CLIPPED)
    variance = normal_variance(normal, raster)
    mirrored = _in_light(reflected, turn)
    seen = (positions, color, irradiance, n_dot_v, turned, mirrored, variance, blocked, weight)
    return Observations(*(values[used[:, 0]] for values in seen))


def _in_light(directions: Tensor, turn: Tensor | None) -> Tensor:
    """Directions (P, 3) in the frame of the light that `turn` (P, 3, 3) turns: R^T d."""
    return directions if turn is None else torch.einsum("pji,pj->pi", turn, directions)


def teach(field: MaterialField, materials: CellMaterials, seed: int) -> None:
    """Trains `field` to say `materials` where they lie; its normals stay as they are."""
    if len(materials.position) == 0:
        return
    parameters: list[nn.Parameter] = [p for group in field.parameter_groups().values() for p in group]
    device = materials.position.device
    with torch.no_grad():
        normals = torch.cat([field.sample(points).normal for points in materials.position.split(2**20)])
        albedo = linear_to_srgb(materials.albedo)
        metallic = materials.metallic.clamp(_LEAST_METALLIC, 1.0 - _LEAST_METALLIC)
    optimizer = torch.optim.Adam(parameters, lr=_RATE, betas=(0.9, 0.99))
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, _LAST_RATE / _RATE, total_iters=_STEPS)
    points = min(_POINTS, max(1, round(_SHARE * len(albedo))))
    generator = torch.Generator(device).manual_seed(seed)
    for _ in range(_STEPS):
        chosen = torch.randint(len(albedo), (points,), generator=generator, device=device)
        said = field.sample(materials.position[chosen])
        loss = (linear_to_srgb(said.albedo) - albedo[chosen]).abs().mean()
        loss = loss + (said.roughness - materials.roughness[chosen]).abs().mean()
        loss = loss + (said.metallic - metallic[chosen]).abs().mean()
        loss = loss + (said.normal - normals[chosen]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
    optimizer.zero_grad()
