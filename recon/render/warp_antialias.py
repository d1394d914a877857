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
    """K places where a silhouette edge crosses between two neighbouring pixels' centres.

    pixels: (K,) int64, the flat index of the nearer surface's pixel. directions: (K,) int64, its neighbour:
    0 right, 1 left, 2 down, 3 up. edges: (K, 2) int32 vertices. positions: (K,) in 0..1 from the pixel's
    centre to its neighbour's.
    """

    pixels: Tensor
    directions: Tensor
    edges: Tensor
    positions: Tensor


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
    item, direction = torch.nonzero(positions >= 0, as_tuple=True)
    return Crossings(pixels[item], direction, edges[item, direction], positions[item, direction])


def antialias(image: Tensor, crossings: Crossings, vertices: Tensor, cameras: Cameras) -> Tensor:
    """Blends `image` (B, H, W, C) at the crossings. Differentiable in `image` and `vertices`."""
    flat = image.contiguous().view(-1, image.shape[-1])
    steps = torch.tensor([1, -1, cameras.width, -cameras.width], device=image.device)
    positions = CrossingPositions.apply(vertices, crossings, cameras)
    neighbors = crossings.pixels + steps[crossings.directions]
    # Past the midpoint the nearer surface covers part of its neighbour; before it, the reverse.
    reaches_over = crossings.positions > 0.5
    targets = torch.where(reaches_over, neighbors, crossings.pixels)
    others = torch.where(reaches_over, crossings.pixels, neighbors)
    weights = (positions - 0.5).abs()
    # A pair of the other kind takes part with weight zero: cheaper than compacting, which waits for the GPU.
    horizontal = (crossings.directions < 2).to(weights.dtype)
    for share in (horizontal, 1.0 - horizontal):
        flat = BlendPairs.apply(flat, weights * share, targets, others)
    return flat.view(image.shape)


class CrossingPositions(torch.autograd.Function):
    """(K,) positions of the crossings, differentiable with respect to `vertices`."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, crossings: Crossings, cameras: Cameras) -> Tensor:
        ctx.save_for_backward(vertices.detach().contiguous())
        ctx.crossings, ctx.cameras = crossings, cameras
        return crossings.positions.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (vertices,) = ctx.saved_tensors
        crossings = ctx.crossings
        vertex_gradient = torch.zeros_like(vertices)
        where = (crossings.pixels, crossings.directions, crossings.edges)
        inputs = (*where, vertices, *camera_inputs(ctx.cameras), gradient.contiguous(), vertex_gradient)
        kernel = silhouette_kernels.crossing_adjoint
        launch(kernel, crossings.pixels.shape[0], inputs, vertices.device, parallel=False)
        return vertex_gradient, None, None


class BlendPairs(torch.autograd.Function):
    """`image` (N, C) with each target pixel moved by `weights` towards its other pixel."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weights: Tensor, targets: Tensor, others: Tensor) -> Tensor:
        image, weights = image.detach(), weights.detach().contiguous()
        blended = image.clone()
        inputs = (targets, others, weights, image, blended)
        launch(blending_kernels.blend_pairs, targets.shape[0], inputs, image.device, parallel=False)
        ctx.save_for_backward(image, weights, targets, others)
        return blended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, weights, targets, others = ctx.saved_tensors
        gradient = gradient.contiguous()
        image_gradient = gradient.clone()
        weight_gradient = torch.empty_like(weights)
        inputs = (targets, others, weights, image, gradient, image_gradient, weight_gradient)
        kernel = blending_kernels.blend_pairs_adjoint
        launch(kernel, targets.shape[0], inputs, image.device, parallel=False)
        return image_gradient, weight_gradient, None, None
