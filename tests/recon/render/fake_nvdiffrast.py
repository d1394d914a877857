"""What nvdiffrast.torch documents of its operations, in slow torch, as far as the backend uses them.

It stands in for the package where there is no GPU, so that what `NvdiffrastRasterizer` makes of the
operations (orders of rows, corners and axes, gathering of covered pixels) is tested everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.recon.render import reference_texture


class RasterizeCudaContext:
    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = device


def rasterize(context, pos, tri, resolution, ranges=None, grad_db=True):
    """Row r has the clip-space y of (2 r + 1) / height - 1, so row 0 is at the bottom of OpenGL's image."""
    assert isinstance(context, RasterizeCudaContext) and ranges is None
    _require(pos, 3, torch.float32), _require(tri, 2, torch.int32)
    height, width = resolution
    corners = pos.double()[:, tri.long()]  # (B, F, 3 corners, 4)
    # With e_i = b_i / w, sum_i e_i (x_i, y_i, w_i) = (x, y, 1): Olano and Greer 1997.
    inverse = torch.linalg.inv(corners[..., [0, 1, 3]].transpose(2, 3))
    x = (2 * torch.arange(width, dtype=torch.float64) + 1) / width - 1
    y = (2 * torch.arange(height, dtype=torch.float64) + 1) / height - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).view(-1, 2)
    point = torch.cat([grid, torch.ones(len(grid), 1)], dim=1)  # (H W, 3)
    with torch.no_grad():
        scaled = torch.einsum("bfij,pj->bpfi", inverse, point)
        depth = torch.einsum("bpfi,bfi->bpf", scaled, corners[..., 2])
        inside = (scaled >= 0).all(-1) & (depth.abs() <= 1)
        nearest, face = torch.where(inside, depth, torch.inf).min(dim=2)
        hit = nearest.isfinite()
    view = torch.arange(len(pos))[:, None]
    chosen = inverse[view, face]  # (B, H W, 3, 3)
    e = (chosen @ point[None, :, :, None])[..., 0]
    weights = e / e.sum(-1, keepdim=True)
    steps = chosen[..., :2] * torch.tensor([2 / width, 2 / height], dtype=torch.float64)  # d e / d (x, y)
    slopes = (steps - weights[..., None] * steps.sum(2, keepdim=True)) / e.sum(-1)[..., None, None]
    z = nearest.where(hit, torch.zeros_like(nearest))
    image = torch.cat([weights[..., :2], z[..., None], face[..., None] + 1.0], dim=-1)
    image = torch.where(hit[..., None], image, 0.0)
    derivatives = torch.where(hit[..., None], slopes[..., :2, :].flatten(2), 0.0)
    shape = (len(pos), height, width, 4)
    return image.float().view(shape), derivatives.float().detach().view(shape)


def interpolate(attr, rast, tri, rast_db=None, diff_attrs=None):
    _require(attr, 3, torch.float32), _require(rast, 4, torch.float32), _require(tri, 2, torch.int32)
    face = rast[..., 3].long() - 1
    corner = attr[0][tri.long()[face.clamp(min=0)]]  # (B, H, W, 3, C)
    weights = torch.cat([rast[..., :2], 1 - rast[..., :2].sum(-1, keepdim=True)], dim=-1)
    values = (corner * weights[..., None]).sum(-2) * (face >= 0)[..., None]
    if diff_attrs is None:
        return values, values.new_zeros(*values.shape[:3], 0)
    assert diff_attrs == "all"
    _require(rast_db, 4, torch.float32)
    du, dv = rast_db[..., None, :2], rast_db[..., None, 2:]
    by_pixel = (corner[..., 0, :] - corner[..., 2, :])[..., None] * du
    by_pixel = by_pixel + (corner[..., 1, :] - corner[..., 2, :])[..., None] * dv
    return values, by_pixel.flatten(3)


def texture(tex, uv, uv_da=None, mip_level_bias=None, mip=None, filter_mode="auto", boundary_mode="wrap"):
    assert boundary_mode == "wrap" and uv_da is None
    _require(tex, 4, torch.float32), _require(uv, 4, torch.float32)
    flat = uv.reshape(-1, 2) * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])  # row 0 is v = 0 here
    levels = torch.stack([reference_texture.bilinear(level[0], flat) for level in [tex, *(mip or [])]])
    if filter_mode == "linear":
        return levels[0].view(*uv.shape[:3], -1)
    assert filter_mode == "linear-mipmap-linear" and isinstance(mip, list)
    _require(mip_level_bias, 3, torch.float32)
    wanted = mip_level_bias.reshape(-1).clamp(0, len(levels) - 1)
    lower = wanted.floor().long()
    upper = (lower + 1).clamp(max=len(levels) - 1)
    item, share = torch.arange(len(flat)), (wanted - lower)[:, None]
    mixed = (1 - share) * levels[lower, item] + share * levels[upper, item]
    return mixed.view(*uv.shape[:3], -1)


def _require(tensor: Tensor, dimensions: int, dtype: torch.dtype) -> None:
    assert tensor.dim() == dimensions and tensor.dtype == dtype and tensor.is_contiguous(), tensor.shape
    assert tensor.numel() > 0
