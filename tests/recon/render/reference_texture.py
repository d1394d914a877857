"""Slow, obvious twin of the mip-mapped texture lookup: plain torch, any precision."""

from __future__ import annotations

import torch
from torch import Tensor


def bilinear(texture: Tensor, uv: Tensor) -> Tensor:
    """Repeat addressing; row 0 is v = 1."""
    height, width, _ = texture.shape
    x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
    left, top = x.floor(), y.floor()
    value = 0
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (1 - (x - left - dx).abs()) * (1 - (y - top - dy).abs())
            texel = texture[(top + dy).long() % height, (left + dx).long() % width]
            value = value + weight[:, None] * texel
    return value


def level_of(footprint: Tensor, height: int, width: int, levels: int) -> Tensor:
    along_x = torch.hypot(footprint[:, 0, 0] * width, footprint[:, 1, 0] * height)
    along_y = torch.hypot(footprint[:, 0, 1] * width, footprint[:, 1, 1] * height)
    return torch.log2(torch.maximum(along_x, along_y)).clamp(0, levels - 1)


def trilinear(mips: list[Tensor], uv: Tensor, footprint: Tensor) -> Tensor:
    height, width, _ = mips[0].shape
    level = level_of(footprint, height, width, len(mips))
    lower = level.floor().long().clamp(max=max(len(mips) - 2, 0))
    fraction = (level - lower)[:, None]
    looked_up = torch.stack([bilinear(texture, uv) for texture in mips])
    item = torch.arange(uv.shape[0])
    upper = (lower + 1).clamp(max=len(mips) - 1)
    return (1 - fraction) * looked_up[lower, item] + fraction * looked_up[upper, item]
