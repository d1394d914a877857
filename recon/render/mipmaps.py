"""Mip chains by 2x2 averaging."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.render.warp_kernels import texture_lookup as kernels
from recon.warp_runtime import launch


class MipChain(Sequence[Tensor]):
    """A mip chain in one buffer: a sequence of levels (H, W, C), level 0 first.

    flat: (T, C), the texels of all levels one after the other; height, width: of level 0. The levels are
    views of it, differentiable like it.
    """

    def __init__(self, flat: Tensor, height: int, width: int, levels: int) -> None:
        self.flat = flat
        self.height = height
        self.width = width
        self._levels = levels

    @classmethod
    def of(cls, levels: Sequence[Tensor]) -> MipChain:
        """The chain of given levels, each half the size of the one before."""
        if isinstance(levels, MipChain):
            return levels
        height, width, channels = levels[0].shape
        flat = torch.cat([level.reshape(-1, channels) for level in levels])
        return cls(flat, height, width, len(levels))

    @cached_property
    def _views(self) -> tuple[Tensor, ...]:
        shapes = [(self.height >> level, self.width >> level) for level in range(self._levels)]
        parts = self.flat.split([height * width for height, width in shapes])
        return tuple(part.view(*shape, -1) for part, shape in zip(parts, shapes))

    def __len__(self) -> int:
        return self._levels

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...

    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        return self._views[index]


def build_mips(texture: Tensor, max_levels: int | None = None) -> Sequence[Tensor]:
    """The mip chain of `texture` (H, W, C), level 0 (the texture itself) first; differentiable.

    Each level averages 2x2 texels of the one before. The chain ends with `max_levels` levels, or where a
    dimension is odd (for powers of two: at one texel).
    """
    if texture.dtype != torch.float32:
        return defined_mips(texture, max_levels)
    height, width, _ = texture.shape
    levels = 1
    while (max_levels is None or levels < max_levels) and not ((height | width) >> (levels - 1)) & 1:
        levels += 1
    return MipChain(_AverageLevels.apply(texture, levels), height, width, levels)


def defined_mips(texture: Tensor, max_levels: int | None = None) -> list[Tensor]:
    """`build_mips` of any type, in torch operations."""
    mips = [texture]
    while max_levels is None or len(mips) < max_levels:
        height, width, channels = mips[-1].shape
        if height % 2 or width % 2:
            break
        rows = mips[-1].view(height // 2, 2, width, channels).sum(dim=1)
        mips.append(rows.view(height // 2, width // 2, 2, channels).sum(dim=2) * 0.25)
    return mips


class _AverageLevels(torch.autograd.Function):
    """(T, C) texels of all levels of a float32 texture."""

    @staticmethod
    def forward(ctx: Any, texture: Tensor, levels: int) -> Tensor:
        height, width, channels = texture.shape
        counts = [(height >> level) * (width >> level) for level in range(levels)]
        flat = texture.new_empty(sum(counts), channels)
        flat[: counts[0]].view(texture.shape).copy_(texture.detach())
        for source in range(0, levels - 1, kernels.LEVELS_AT_ONCE):
            last = min(source + kernels.LEVELS_AT_ONCE, levels - 1)
            inputs = (height, width, source, last, flat)
            launch(kernels.average_levels, sum(counts[source + 1 : last + 1]), inputs, flat.device)
        ctx.size = texture.shape, levels
        return flat

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (height, width, channels), levels = ctx.size
        result = gradient.new_empty(height * width, channels)
        inputs = (height, width, levels, gradient.contiguous(), result)
        launch(kernels.average_levels_adjoint, height * width, inputs, gradient.device)
        return result.view(height, width, channels), None
