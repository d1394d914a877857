"""A fixed number of the covered pixels, drawn anew each time, without waiting for the device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.render.warp_kernels.pixel_choice import choose_runs
from recon.warp_runtime import launch

# Pixels that are chosen together. Along a Z-order curve they form a patch, so that most have neighbors to
# measure how normals vary.
RUN = 16


@torch.no_grad()
def choose_pixels(face_map: Tensor, cameras: Cameras, count: int) -> tuple[Tensor, Tensor]:
    """`count` of the covered pixels (flat indices, int64), and the number that is covered (scalar, int64).

    face_map: (B * H * W,) int32, negative where nothing is covered. count: a multiple of `RUN`.

    Systematic sampling: along a Z-order curve through the covered pixels of all views, runs of `RUN` pixels
    start at even distances, from a random place on, so every covered pixel is as likely as any other. If
    fewer are covered, some are chosen several times; if none is, pixel 0 is. Draws from torch's own generator
    of the device.
    """
    if count < RUN or count % RUN:
        raise ValueError(f"count: expected a positive multiple of {RUN}, got {count}")
    device = face_map.device
    order = _z_order(len(cameras), cameras.height, cameras.width, device)
    covered_before = (face_map.index_select(0, order) >= 0).cumsum(0, dtype=torch.int32)
    drawn = torch.randint(2**31 - 1, (1,), device=device)
    pixels = torch.empty(count, dtype=torch.int64, device=device)
    launch(choose_runs, count, (covered_before, order, drawn, RUN, count // RUN, pixels), device)
    return pixels, covered_before[-1].long()


@lru_cache(maxsize=4)
def _z_order(views: int, height: int, width: int, device: torch.device) -> Tensor:
    """(views * height * width,) int32: all pixels, view by view, along a Z-order curve (Morton 1966)."""
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    code = torch.zeros(height, width, dtype=torch.int64)
    for bit in range(max(height, width).bit_length()):
        code |= ((column >> bit) & 1) << (2 * bit)
        code |= ((row >> bit) & 1) << (2 * bit + 1)
    one = code.flatten().argsort()
    all_views = torch.arange(views)[:, None] * (height * width) + one
    return all_views.flatten().int().to(device)
