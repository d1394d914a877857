"""Some covered pixels of a batch of views, with the coverage of all: what a step of fixed size learns from.

Shapes depend on the number of pixels that is asked for only, and nothing waits for the device, so that all
that follows visibility can be captured as a CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.light.environment import PrefilteredLight
from recon.render.fused_shading import ShadingFrame, fused_shade
from recon.render.interface import Raster
from recon.render.loss_routes import LossRoutes
from recon.render.pixel_choice import choose_pixels
from recon.render.render_views import RenderedSurface, Scene, constants_of_shading
from recon.render.warp_backend import Visibility, WarpRasterizer


@dataclass(frozen=True)
class RenderedPixels(RenderedSurface):
    """color_a, color_b: (N, 3) of the pixels in `raster`, associated with alpha; gradients as those of
    `Rendered`'s images. alpha: (B, H, W) antialiased coverage.
    """

    color_a: Tensor
    color_b: Tensor
    alpha: Tensor


def render_pixels(
    scene: Scene,
    light: PrefilteredLight,
    fg: Tensor,
    cameras: Cameras,
    visibility: Visibility,
    count: int,
    rasterizer: WarpRasterizer,
    *,
    routes: LossRoutes | None,
    light_rotation: Tensor | None = None,
) -> RenderedPixels:
    """`count` covered pixels of `scene` as `render_views` shows them, but for two differences.

    At silhouettes against other parts of the object colors are not antialiased; against the background they
    are, by `alpha`. Normals' variance knows neighbors that were chosen as well only.

    visibility: of the scene's mesh. count: a multiple of `pixel_choice.RUN`.
    """
    mesh = scene.mesh()
    pixels, covered = choose_pixels(visibility.face_map, cameras, count)
    raster = rasterizer.raster_of(mesh.vertices, mesh.faces, pixels, visibility, cameras)
    positions = rasterizer.interpolate(mesh.vertices, raster, mesh.faces)
    sample = scene.sample(mesh, raster, positions, rasterizer)
    frame = ShadingFrame(
        sample.normal, sample.tangent, positions, raster.views, cameras.origins, light_rotation
    )
    variance, occluded = constants_of_shading(sample, raster, frame, light, scene.occlusion)
    color_a, color_b = fused_shade(
        sample.channels, frame, light, fg, routes=routes, variance=variance, occluded=occluded
    )
    alpha = _coverage(mesh.vertices, raster, visibility, rasterizer)
    at_pixels = alpha.reshape(-1).index_select(0, pixels)[:, None]
    moves = "A+B" if routes is None else routes.geometry
    color_a = color_a * (at_pixels if "A" in moves else at_pixels.detach())
    color_b = color_b * (at_pixels if "B" in moves else at_pixels.detach())
    share = covered / (len(cameras) * cameras.height * cameras.width)
    return RenderedPixels(mesh, raster, positions, sample, share, color_a, color_b, alpha)


def _coverage(vertices: Tensor, raster: Raster, visibility: Visibility, rasterizer: WarpRasterizer) -> Tensor:
    """(B, H, W) antialiased coverage of all pixels; looks for silhouettes at every pixel."""
    cameras, face_map = raster.cameras, visibility.face_map
    everywhere = torch.arange(len(face_map), device=face_map.device)
    whole = rasterizer.raster_of(vertices, raster.faces, everywhere, visibility, cameras, shown=False)
    image = (face_map >= 0).float().view(len(cameras), cameras.height, cameras.width, 1)
    return rasterizer.antialias(image, whole)[..., 0]
