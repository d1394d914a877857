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
    """(P, C) trilinear lookup; differentiable with respect to `uv` and `texels`, not to `footprints`.

    footprints: (P, 2, 2), or (0, 2, 2) for level 0. texels: (T, C) of a `MipChain` whose level 0 has `size`.
    """

    @staticmethod
    def forward(
        ctx: Any, uv: Tensor, footprints: Tensor, texels: Tensor, size: tuple[int, int], levels: int
    ) -> Tensor:
        uv, footprints = uv.detach().contiguous(), footprints.detach().contiguous()
        texels = texels.detach().contiguous()
        values = uv.new_empty(uv.shape[0], texels.shape[1])
        inputs = (uv, footprints, *size, levels, texels, values)
        launch(kernels.look_up, uv.shape[0], inputs, uv.device)
        ctx.save_for_backward(uv, footprints, texels)
        ctx.size, ctx.levels = size, levels
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        uv, footprints, texels = ctx.saved_tensors
        gradient = gradient.contiguous()
        count, device = uv.shape[0], uv.device
        where = (uv, footprints, *ctx.size, ctx.levels)
        uv_gradient = texel_gradient = None
        if ctx.needs_input_grad[0]:
            uv_gradient = torch.empty_like(uv)
            launch(kernels.look_up_adjoint_uv, count, (*where, texels, gradient, uv_gradient), device)
        if ctx.needs_input_grad[2]:
            texel_gradient = torch.zeros_like(texels)
            inputs = (*where, gradient, texel_gradient)
            launch(kernels.look_up_adjoint_texels, count, inputs, device, parallel=False)
        return uv_gradient, None, texel_gradient, None, None
