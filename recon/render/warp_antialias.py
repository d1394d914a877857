"""Analytic antialiasing of silhouettes over Warp kernels.

Laine et al., "Modular Primitives for High-Performance Differentiable Rendering" (2020), section 3.5. Two
neighbouring pixels that show different triangles are blended by where the nearer one's silhouette edge
crosses the segment between their centres, as if the edge ran straight through the pixels, parallel to
their common side. Differences from the paper, so that an edge's coverage is counted once:

- an edge is used by horizontal pairs where it is steep and by vertical pairs where it is shallow; for a
  straight edge the sum over a row (or column) is then its exact coverage, and so is the gradient;
- the two kinds of pairs are blended one after the other, each a convex combination, so that a blended
  value never leaves the range of its neighbours;
- the surface is followed over several triangles to reach its silhouette (see the kernel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.data.cameras import Cameras
from recon.render.warp_kernels import blending as blending_kernels
from recon.render.warp_kernels import silhouettes as silhouette_kernels
from recon.render.warp_surface import camera_inputs
from recon.warp_runtime import launch

# Edges with an end nearer to the camera's plane than this have no usable position in the image.
_NEAR = 1e-4
# Triangles followed on the way to the neighbouring pixel. Near a silhouette they are foreshortened, so many
# fit into one pixel; only pairs that end at a silhouette walk far.
_MAX_STEPS = 64


@dataclass(frozen=True)
class Crossings:
    """Where silhouette edges cross between the P covered pixels' centres and their neighbours'.

    pixels: (P,) int64, flat indices; others than covered ones have no crossings.
    positions: (P, 4) in 0..1 from the pixel's centre to that of its neighbour to the right, left,
    below and above; negative where no silhouette of the pixel's own surface, being the nearer one, crosses.
    edges: (P, 4, 2) int32, the vertices of the edges that do.
    """

    pixels: Tensor
    positions: Tensor
    edges: Tensor


def find_crossings(
    pixels: Tensor,
    face_map: Tensor,
    distance: Tensor,
    vertices: Tensor,
    faces: Tensor,
    mates: Tensor,
    cameras: Cameras,
) -> Crossings:
    """All crossings of the views. face_map, distance: (B * H * W,), as `trace_pixels` writes them."""
    count, device = pixels.shape[0], vertices.device
    positions = torch.empty(count, 4, device=device)
    edges = torch.empty(count, 4, 2, dtype=torch.int32, device=device)
    surface = (pixels, face_map, distance, vertices.detach().contiguous(), faces, mates)
    inputs = (*surface, *camera_inputs(cameras), _NEAR, _MAX_STEPS, positions, edges)
    launch(silhouette_kernels.find_crossings, count, inputs, device)
    return Crossings(pixels, positions, edges)


def antialias(image: Tensor, crossings: Crossings, vertices: Tensor, cameras: Cameras) -> Tensor:
    """Blends `image` (B, H, W, C) at the crossings. Differentiable in `image` and `vertices`."""
    return _Antialias.apply(image, vertices, crossings, cameras)


class _Antialias(torch.autograd.Function):
    """Both passes. Crossings are not compacted, which would wait for the GPU: most pixels do nothing."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, vertices: Tensor, crossings: Crossings, cameras: Cameras) -> Tensor:
        image = image.detach().contiguous()
        passes = [image.view(-1, image.shape[-1])]
        for axis in range(2):
            blended = passes[-1].clone()
            where = (crossings.pixels, crossings.positions, axis, cameras.width)
            count = len(crossings.pixels)
            launch(
                blending_kernels.blend_pairs,
                count,
                (*where, passes[-1], blended),
                image.device,
                parallel=False,
            )
            passes.append(blended)
        ctx.save_for_backward(vertices.detach().contiguous(), *passes[:2])
        ctx.crossings, ctx.cameras = crossings, cameras
        return passes[-1].view(image.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        vertices, *passes = ctx.saved_tensors
        crossings: Crossings = ctx.crossings
        vertex_gradient = torch.zeros_like(vertices)
        gradient = upstream.contiguous().view(passes[0].shape)
        found = (crossings.pixels, crossings.positions, crossings.edges)
        for axis in (1, 0):
            image_gradient = gradient.clone()
            scene = (axis, vertices, *camera_inputs(ctx.cameras), passes[axis])
            inputs = (*found, *scene, gradient, image_gradient, vertex_gradient)
            kernel = blending_kernels.blend_pairs_adjoint
            launch(kernel, len(crossings.pixels), inputs, vertices.device, parallel=False)
            gradient = image_gradient
        return gradient.view(upstream.shape), vertex_gradient, None, None
