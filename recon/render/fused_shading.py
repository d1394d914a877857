"""Shading and gradient routing in one launch each way: what training renders with.

Two losses on one image normally add up in every parameter. Here the image comes twice, equal in value, and
the backward pass gives every input the gradient of the loss that its route names. `recon.render.shade` is the
same shading in plain torch: hundreds of small launches, for reading and for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.light.environment import PrefilteredLight
from recon.material.channels import Channels
from recon.render.loss_routes import LossRoutes
from recon.render.shade import OccludedLight
from recon.render.warp_kernels import shading as kernels
from recon.scaled_gradient import scale_gradient
from recon.warp_runtime import launch

_LOSSES = {"A": kernels.FROM_A, "B": kernels.FROM_B, "A+B": kernels.FROM_A | kernels.FROM_B}
_INPUTS = (
    "albedo",
    "roughness",
    "metallic",
    "occlusion",
    "perturbation",
    "normal",
    "position",
    "texels",
)


@dataclass(frozen=True)
class ShadingFrame:
    """Where P covered pixels lie and how they are seen.

    normal: (P, 3) interpolated shading normals, not normalized. tangent: (P, 4), see `SurfaceSample`; None
    where normal perturbations are world-space offsets. positions: (P, 3). views: (P,) int64, row in the
    others. origins: (B, 3) camera positions. light_rotation: (B, 3, 3) R per view with radiance
    L_t(d) = L_0(R^T d), or None. Learns through `normal` and `positions` only.
    """

    normal: Tensor
    tangent: Tensor | None
    positions: Tensor
    views: Tensor
    origins: Tensor
    light_rotation: Tensor | None = None


def fused_shade(
    channels: Channels,
    frame: ShadingFrame,
    light: PrefilteredLight,
    fg: Tensor,
    *,
    routes: LossRoutes | None,
    variance: Tensor | None = None,
    occluded: OccludedLight | None = None,
) -> tuple[Tensor, Tensor]:
    """(P, 3) scene-linear radiance toward the camera, twice: (color_a, color_b); float32.

    What is computed is `recon.render.shade`'s `shade` of its `world_normal`.
    fg, variance, occluded: see there.
    routes: albedo learns from what arrives at color_a; roughness, metallic and occlusion from color_b; the
        rest as set. None: color_b is color_a, and everything learns from it.

    Differentiable once, in the channels, `frame.normal`, `frame.positions` and the light. The derivatives of
    the lookups are those of `recon.light.cubemap.lookup`. On CUDA a trained light's gradient is summed by
    atomics, so its last bits vary from run to run; on a CPU it does not depend on the number of threads.
    """
    constants = _Constants(
        tangents=_or_empty(frame.tangent, frame.normal, 4),
        views=frame.views,
        origins=frame.origins.detach().contiguous(),
        rotations=_or_empty(frame.light_rotation, frame.normal, 3, 3),
        fg=fg.detach().contiguous(),
        table=light.table,
        knots=light.knots,
        variance=_or_empty(variance, frame.normal, 1),
        occluded_irradiance=_or_empty(None if occluded is None else occluded.irradiance, frame.normal, 3),
        occluded_reflected=_or_empty(None if occluded is None else occluded.reflected, frame.normal, 3),
    )
    roughness, metallic = channels.roughness, channels.metallic
    if routes is not None and routes.free_light > 0.0 and occluded is not None:
        trust = occluded.trust**routes.free_light
        roughness, metallic = scale_gradient(roughness, trust), scale_gradient(metallic, trust)
    colors = _FusedShading.apply(
        constants,
        None if routes is None else _losses(routes),
        channels.albedo,
        roughness,
        metallic,
        channels.occlusion,
        channels.normal,
        frame.normal,
        frame.positions,
        light.texels,
    )
    return (colors, colors) if routes is None else colors


@torch.no_grad()
def shading_normals(
    normal: Tensor, perturbation: Tensor, tangent: Tensor | None, to_camera: Tensor | None = None
) -> Tensor:
    """(P, 3) unit normals of `recon.render.shade.world_normal`; constants.

    Bent as `face_camera` does if `to_camera` (P, 3), unit, is given.
    """
    result = torch.empty_like(normal)
    inputs = (
        _rows(perturbation),
        _rows(normal),
        _or_empty(tangent, normal, 4),
        _or_empty(to_camera, normal, 3),
        result,
    )
    launch(kernels.shading_normals, len(normal), inputs, normal.device)
    return result


@dataclass(frozen=True)
class _Constants:
    """What the kernels take and nothing learns; empty where there is none. In the kernels' order."""

    tangents: Tensor
    views: Tensor
    origins: Tensor
    rotations: Tensor
    fg: Tensor
    table: Tensor
    knots: Tensor
    variance: Tensor
    occluded_irradiance: Tensor
    occluded_reflected: Tensor

    def arguments(self) -> tuple[Tensor, ...]:
        return (
            self.tangents,
            self.views,
            self.origins,
            self.rotations,
            self.fg,
            self.table,
            self.knots,
            self.variance,
            self.occluded_irradiance,
            self.occluded_reflected,
        )


def _losses(routes: LossRoutes) -> tuple[int, ...]:
    """The losses that reach each of `_INPUTS`, as the kernels' flags."""
    geometry, normal, light = (_LOSSES[side] for side in (routes.geometry, routes.normal, routes.light))
    a, b = kernels.FROM_A, kernels.FROM_B
    return a, b, b, b, normal, geometry, geometry, light


class _FusedShading(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, constants: _Constants, losses: tuple[int, ...] | None, *learnt: Tensor) -> Any:
        learnt = tuple(_rows(tensor) for tensor in learnt)
        color_a = torch.empty_like(learnt[0])
        color_b = _empty(color_a, 3) if losses is None else torch.empty_like(color_a)
        inputs = (*learnt, *constants.arguments(), color_a, color_b)
        launch(kernels.shade, len(color_a), inputs, color_a.device)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*learnt)
        ctx.constants, ctx.losses = constants, losses
        return color_a if losses is None else (color_a, color_b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
        learnt: Sequence[Tensor] = ctx.saved_tensors
        losses = ctx.losses or (kernels.FROM_A,) * len(_INPUTS)
        arrived = sum(
            flag for gradient, flag in zip(upstream, (kernels.FROM_A, kernels.FROM_B)) if gradient is not None
        )
        like = learnt[0]
        gradient_a, gradient_b = (
            _empty(like, 3) if gradient is None else _rows(gradient) for gradient in (*upstream, None)[:2]
        )
        wanted = [asked and bool(flags & arrived) for asked, flags in zip(ctx.needs_input_grad[2:], losses)]
        *along_pixels, light_wanted = wanted
        result: list[Tensor | None] = [
            torch.empty_like(tensor) if asked else None for tensor, asked in zip(learnt, along_pixels)
        ]
        result.append(torch.zeros_like(learnt[-1]) if light_wanted else None)

        albedo, gloss, _, _, perturbation, geometry, _, light = losses
        inputs = (*learnt, *ctx.constants.arguments(), gradient_a, gradient_b)
        inputs += (albedo, gloss, perturbation, geometry, light)
        unwanted = [_empty(tensor, *tensor.shape[1:]) for tensor in learnt]
        outputs = [empty if found is None else found for found, empty in zip(result, unwanted)]
        count, device = len(like), like.device
        together = device.type == "cuda"
        if any(along_pixels):
            last = outputs[-1] if together else unwanted[-1]
            launch(kernels.shade_adjoint, count, (*inputs, *outputs[:-1], last), device)
        if light_wanted and not (together and any(along_pixels)):
            # Pixels add into shared texels: on a CPU one after the other, in the order of the pixels.
            launch(
                kernels.shade_adjoint, count, (*inputs, *unwanted[:-1], outputs[-1]), device, parallel=False
            )
        return (None, None, *result)


def _or_empty(tensor: Tensor | None, like: Tensor, *trailing: int) -> Tensor:
    return _empty(like, *trailing) if tensor is None else tensor.detach().contiguous()


def _rows(tensor: Tensor) -> Tensor:
    """As kernels take it: rows may be apart, as in a slice of columns, but each lies together."""
    tensor = tensor.detach()
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _empty(like: Tensor, *trailing: int) -> Tensor:
    """What stands for an array that is not there: kernels look at its length."""
    return _empty_on(like.device, trailing)


@lru_cache(maxsize=64)
def _empty_on(device: torch.device, trailing: tuple[int, ...]) -> Tensor:
    return torch.empty(0, *trailing, device=device)
