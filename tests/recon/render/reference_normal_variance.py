"""The slow twin of `recon.render.normal_variance`, in plain torch."""

import torch


def normal_variance(normal, raster):
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
    return total.view(-1, 1)[raster.pixels].clamp(max=0.3) / 12
