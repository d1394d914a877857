"""From a scene and cameras to images: rasterize, sample the material, shade, antialias.

Material and shading see covered pixels only. The image comes back twice: both copies have the same values,
and each carries the gradient of one loss (see `recon.render.fused_shading`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from recon.data.cameras import Cameras
from recon.geometry.mesh import Mesh
from recon.light.environment import PrefilteredLight
from recon.material.channels import Channels
from recon.render.fused_shading import ShadingFrame, fused_shade, shading_normals
from recon.render.interface import Raster, Rasterizer
from recon.render.loss_routes import LossRoutes
from recon.render.normal_variance import normal_variance
from recon.render.shade import OccludedLight


@dataclass(frozen=True)
class SurfaceSample:
    """The material at the covered pixels, with what turns its normal perturbation into a world normal.

    channels: see `Channels`. normal: (P, 3), interpolated geometric shading normal, not normalized.
    tangent: (P, 4) interpolated MikkTSpace tangent (xyz, sign) where `channels.normal` is a tangent-space
    normal; None where it is a world-space offset. Carries no gradient.
    coordinates: (P, D) where the material was looked up: points or uvs.
    lookup: (coordinates (K, D), their rows (K,) among the P pixels) -> the material there; what regularizers
    compare neighbors with.
    """

    channels: Channels
    normal: Tensor
    tangent: Tensor | None
    coordinates: Tensor
    lookup: Callable[[Tensor, Tensor], Channels]


class Scene(Protocol):
    """A surface with a material on it: what both training stages render."""

    @property
    def occlusion(self) -> Occlusion | None:
        """What of the light the object keeps from itself; None where nothing is in the light's way."""
        ...

    def mesh(self) -> Mesh:
        """The current surface; carries the gradient of what is learnt about it."""
        ...

    def sample(self, mesh: Mesh, raster: Raster, positions: Tensor, rasterizer: Rasterizer) -> SurfaceSample:
        """The material at the covered pixels, whose surface points are `positions` (P, 3)."""
        ...


class Occlusion(Protocol):
    """Tells what light the object itself keeps from its surface."""

    def __call__(
        self,
        sample: SurfaceSample,
        raster: Raster,
        positions: Tensor,
        to_camera: Tensor,
        light: PrefilteredLight,
        light_rotation: Tensor | None,
        samples: int | None = None,
    ) -> OccludedLight:
        """At the P covered pixels. positions, to_camera: (P, 3). light_rotation: (P, 3, 3) or None.

        samples: rays per pixel; None for as many as training takes.
        """
        ...


@dataclass(frozen=True)
class RenderedSurface:
    """What was rendered: `mesh`, and at the P pixels of `raster` surface points (P, 3) and material.

    covered_share: of the batch's pixels, a number or a scalar on the device. Image losses average over all
        pixels; terms of the covered ones have to be weighed likewise.
    """

    mesh: Mesh
    raster: Raster
    positions: Tensor
    sample: SurfaceSample
    covered_share: float | Tensor


@dataclass(frozen=True)
class Rendered(RenderedSurface):
    """One batch of rendered views, in `raster` at the supersampled resolution where that is used.

    image_a, image_b: (B, H, W, 3) scene-linear, associated with `alpha`; equal values, gradients routed to
    A's and B's parameters. Without routing either one carries the whole gradient.
    alpha: (B, H, W) antialiased coverage.
    """

    image_a: Tensor
    image_b: Tensor
    alpha: Tensor


def render_views(
    scene: Scene,
    light: PrefilteredLight,
    fg: Tensor,
    cameras: Cameras,
    rasterizer: Rasterizer,
    *,
    routes: LossRoutes | None,
    samples: int = 1,
    light_rotation: Tensor | None = None,
    occlusion: Occlusion | None = None,
) -> Rendered:
    """Renders `scene` through `cameras`.

    fg: the (R, R, 3) table of `recon.light.fg_table`.
    routes: how gradients split between A's and B's loss; None for one image that reaches everything.
    samples: per pixel, a square number; samples > 1 render larger and average.
    light_rotation: (B, 3, 3) R per view with radiance L_t(d) = L_0(R^T d); None where the light stands still.
    occlusion: None lights every point as if the object were not in the light's way.
    """
    side = round(samples**0.5)
    if side * side != samples:
        raise ValueError(f"samples per pixel must be a square number (1, 4, 9), got {samples}")
    mesh = scene.mesh()
    fine_cameras = cameras.resized(cameras.width * side, cameras.height * side)
    raster = rasterizer.rasterize(mesh.vertices, mesh.faces, fine_cameras)
    positions = rasterizer.interpolate(mesh.vertices, raster, mesh.faces)
    sample = scene.sample(mesh, raster, positions, rasterizer)
    frame = ShadingFrame(
        sample.normal, sample.tangent, positions, raster.views, fine_cameras.origins, light_rotation
    )
    variance, occluded = constants_of_shading(sample, raster, frame, light, occlusion)
    color_a, color_b = fused_shade(
        sample.channels, frame, light, fg, routes=routes, variance=variance, occluded=occluded
    )
    image_a, image_b, alpha = _compose(color_a, color_b, raster, rasterizer, routes)
    if side > 1:
        image_a, image_b, alpha = (_average(image, side) for image in (image_a, image_b, alpha))
    share = len(raster.pixels) / (len(fine_cameras) * fine_cameras.height * fine_cameras.width)
    return Rendered(mesh, raster, positions, sample, share, image_a, image_b, alpha[..., 0])


@torch.no_grad()
def constants_of_shading(
    sample: SurfaceSample,
    raster: Raster,
    frame: ShadingFrame,
    light: PrefilteredLight,
    occlusion: Occlusion | None,
) -> tuple[Tensor, OccludedLight | None]:
    """What shading takes beside material and frame, without gradient: normals' variance, blocked light."""
    shaded = shading_normals(sample.normal, sample.channels.normal, sample.tangent)
    variance = normal_variance(shaded, raster)
    return variance, None if occlusion is None else _occluded(occlusion, sample, raster, frame, light)


def _occluded(
    occlusion: Occlusion, sample: SurfaceSample, raster: Raster, frame: ShadingFrame, light: PrefilteredLight
) -> OccludedLight:
    to_camera = normalize(frame.origins[frame.views] - frame.positions, dim=-1)
    rotation = None if frame.light_rotation is None else frame.light_rotation[frame.views]
    return occlusion(sample, raster, frame.positions, to_camera, light, rotation)


def _compose(
    color_a: Tensor, color_b: Tensor, raster: Raster, rasterizer: Rasterizer, routes: LossRoutes | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Covered colors to antialiased images (a, b, alpha), each (B, H, W, 3 or 1)."""
    coverage = color_a.new_ones(color_a.shape[0], 1)
    if routes is None:
        image = rasterizer.antialias(raster.scatter(torch.cat([color_a, coverage], dim=1)), raster)
        color, alpha = image.split((3, 1), dim=-1)
        return color, color, alpha
    if routes.geometry == "A+B":
        values = torch.cat([color_a, color_b, coverage], dim=1)
        image = rasterizer.antialias(raster.scatter(values), raster)
        return image.split((3, 3, 1), dim=-1)
    # Silhouettes move under one of the losses only; the other sees them fixed.
    still = replace(raster, vertices=raster.vertices.detach())
    raster_a, raster_b = (raster, still) if routes.geometry == "A" else (still, raster)
    image_a = rasterizer.antialias(raster.scatter(color_a), raster_a)
    image_b = rasterizer.antialias(raster.scatter(color_b), raster_b)
    return image_a, image_b, rasterizer.antialias(raster.scatter(coverage), raster)


def _average(image: Tensor, side: int) -> Tensor:
    return avg_pool2d(image.permute(0, 3, 1, 2), side).permute(0, 2, 3, 1)
