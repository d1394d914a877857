"""How much the shading normal varies within a pixel, for specular antialiasing."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.render.interface import Raster

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
    image, covered = raster.scatter(normal), raster.scatter(torch.ones_like(normal[:, :1])) > 0
    total = torch.zeros_like(image[..., :1])
    for axis in (1, 2):
        step = (
            image.narrow(axis, 1, image.shape[axis] - 1) - image.narrow(axis, 0, image.shape[axis] - 1)
        ).square()
        both = covered.narrow(axis, 1, image.shape[axis] - 1) & covered.narrow(axis, 0, image.shape[axis] - 1)
        change = torch.where(both, step.sum(-1, keepdim=True), torch.inf)
        outside = torch.full_like(total.narrow(axis, 0, 1), torch.inf)
        nearest = torch.minimum(torch.cat([change, outside], axis), torch.cat([outside, change], axis))
        total += torch.where(nearest.isinf(), 0.0, nearest)
    return _PIXEL * total.view(-1, 1)[raster.pixels].clamp(max=_LARGEST)
