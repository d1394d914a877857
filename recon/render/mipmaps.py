"""Mip chains by 2x2 averaging."""

from __future__ import annotations

from torch import Tensor


def build_mips(texture: Tensor, max_levels: int | None = None) -> list[Tensor]:
    """The mip chain of `texture` (H, W, C), level 0 (the texture itself) first; differentiable.

    Each level averages 2x2 texels of the one before. The chain ends with `max_levels` levels, or where a
    dimension is odd (for powers of two: at one texel).
    """
    mips = [texture]
    while max_levels is None or len(mips) < max_levels:
        height, width, channels = mips[-1].shape
        if height % 2 or width % 2:
            break
        rows = mips[-1].view(height // 2, 2, width, channels).sum(dim=1)
        mips.append(rows.view(height // 2, width // 2, 2, channels).sum(dim=2) * 0.25)
    return mips
