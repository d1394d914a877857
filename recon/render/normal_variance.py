"""How much the shading normal varies within a pixel, for specular antialiasing."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.render.interface import Raster
from recon.render.warp_kernels.normal_variance import measure_variance, scatter_normals
from recon.warp_runtime import launch

# Variance of a uniform distribution over one pixel, the footprint of a box filter.
_PIXEL = 1.0 / 12.0
# Neighboring normals that differ by more belong to different parts of the surface.
_LARGEST = 0.3


@torch.no_grad()
def normal_variance(normal: Tensor, raster: Raster) -> Tensor:
    """(P, 1) variance of the unit normals (P, 3) within each covered pixel; a constant, without gradient.

    The squared change of the normal per pixel, summed over both axes of the image, times the variance of a
    place within a pixel. A mirror direction turns with the normal, so a pixel shows a lobe blurred by it. Of
    the two neighbors along an axis the more similar one counts, for the other may lie across an edge; without
    any, none does.
    """
    height, width, count = raster.cameras.height, raster.cameras.width, len(normal)
    normal = normal.detach().contiguous()
    image = normal.new_zeros(len(raster.cameras) * height * width, 3)
    launch(scatter_normals, count, (normal, raster.pixels, image), normal.device)
    variance = normal.new_empty(count, 1)
    inputs = (image, raster.pixels, height, width, _PIXEL, _LARGEST, variance)
    launch(measure_variance, count, inputs, normal.device)
    return variance
