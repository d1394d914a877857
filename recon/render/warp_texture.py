"""Mip-mapped texture lookup over Warp kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.render.warp_kernels import texture_lookup as kernels
from recon.warp_runtime import launch


def mip_level(footprint: Tensor, height: int, width: int, levels: int) -> Tensor:
    """(P,) fractional level at which the footprint's longer axis is about one texel.

    footprint: (P, 2, 2), d uv / d pixel. Clamped to 0..levels - 1; level 0 where the footprint is NaN.
    """
    size = footprint.new_tensor([width, height])
    squared = (footprint * size[:, None]).square().sum(dim=1).amax(dim=1)
    level = 0.5 * torch.log2(squared.clamp_min(1e-20))
    return torch.nan_to_num(level, nan=0.0).clamp(0.0, levels - 1.0)


class LookUpTexture(torch.autograd.Function):
    """(P, C) trilinear lookup; differentiable with respect to `uv` and every level, not to `wanted`."""

    @staticmethod
    def forward(ctx: Any, uv: Tensor, wanted: Tensor, *mips: Tensor) -> Tensor:
        uv, wanted = uv.detach().contiguous(), wanted.detach().contiguous()
        mips = tuple(texels.detach().contiguous() for texels in mips)
        values = uv.new_zeros(uv.shape[0], mips[0].shape[2])
        for level, texels in enumerate(mips):
            inputs = (uv, wanted, float(level), texels, values)
            launch(kernels.lookup_level, uv.shape[0], inputs, uv.device)
        ctx.save_for_backward(uv, wanted, *mips)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        uv, wanted, *mips = ctx.saved_tensors
        gradient = gradient.contiguous()
        count, device = uv.shape[0], uv.device
        uv_gradient = torch.zeros_like(uv) if ctx.needs_input_grad[0] else None
        mip_gradients: list[Tensor | None] = [None] * len(mips)
        for level, texels in enumerate(mips):
            if uv_gradient is not None:
                inputs = (uv, wanted, float(level), texels, gradient, uv_gradient)
                launch(kernels.lookup_level_adjoint_uv, count, inputs, device)
            if ctx.needs_input_grad[2 + level]:
                texel_gradient = torch.zeros_like(texels)
                scatter = (uv, wanted, float(level), gradient, texel_gradient)
                launch(kernels.lookup_level_adjoint_texels, count, scatter, device, parallel=False)
                mip_gradients[level] = texel_gradient
        return uv_gradient, None, *mip_gradients
