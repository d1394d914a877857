"""Barycentrics and interpolation as differentiable functions over Warp kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.data.cameras import Cameras
from recon.render.warp_kernels import barycentrics as barycentric_kernels
from recon.render.warp_kernels import interpolation as interpolation_kernels
from recon.warp_runtime import launch


def camera_inputs(cameras: Cameras) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """What the kernels want to know of the cameras, in the order they take it."""
    pose, focal, principal = (
        tensor.detach().float().contiguous()
        for tensor in (cameras.camera_to_world, cameras.focal, cameras.principal)
    )
    return pose, focal, principal, cameras.height, cameras.width


class SolveBarycentrics(torch.autograd.Function):
    """(P, 3) barycentrics at `pixels`, differentiable with respect to `vertices`, and (P,) int64 triangles.

    face_map: (B * H * W,) int32, the triangle that each pixel shows.
    """

    @staticmethod
    def forward(
        ctx: Any, vertices: Tensor, faces: Tensor, pixels: Tensor, face_map: Tensor, cameras: Cameras
    ) -> tuple[Tensor, Tensor]:
        vertices = vertices.detach().contiguous()
        result, triangles = vertices.new_empty(pixels.shape[0], 3), torch.empty_like(pixels)
        inputs = (pixels, face_map, vertices, faces, *camera_inputs(cameras), result, triangles)
        launch(barycentric_kernels.solve_barycentrics, pixels.shape[0], inputs, vertices.device)
        ctx.save_for_backward(vertices, faces, pixels, triangles, result)
        ctx.cameras = cameras
        ctx.mark_non_differentiable(triangles)
        return result, triangles

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        vertices, faces, pixels, triangles, result = ctx.saved_tensors
        vertex_gradient = torch.zeros_like(vertices)
        inputs = (pixels, triangles, vertices, faces, *camera_inputs(ctx.cameras), result.detach())
        launch(
            barycentric_kernels.solve_barycentrics_adjoint,
            pixels.shape[0],
            (*inputs, gradient.contiguous(), vertex_gradient),
            vertices.device,
            parallel=False,
        )
        return vertex_gradient, None, None, None, None


class Interpolate(torch.autograd.Function):
    """(P, C) attribute values; differentiable with respect to `attributes` and `barycentrics`."""

    @staticmethod
    def forward(
        ctx: Any, attributes: Tensor, barycentrics: Tensor, triangles: Tensor, index: Tensor
    ) -> Tensor:
        attributes, barycentrics = attributes.detach().contiguous(), barycentrics.detach().contiguous()
        index = index.contiguous()
        values = attributes.new_empty(triangles.shape[0], attributes.shape[1])
        inputs = (triangles, barycentrics, attributes, index, values)
        launch(interpolation_kernels.interpolate, triangles.shape[0], inputs, attributes.device)
        ctx.save_for_backward(attributes, barycentrics, triangles, index)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        attributes, barycentrics, triangles, index = ctx.saved_tensors
        gradient = gradient.contiguous()
        count, device = triangles.shape[0], attributes.device
        attribute_gradient = barycentric_gradient = None
        if ctx.needs_input_grad[0]:
            attribute_gradient = torch.zeros_like(attributes)
            inputs = (triangles, barycentrics, index, gradient, attribute_gradient)
            kernel = interpolation_kernels.interpolate_adjoint_attributes
            launch(kernel, count, inputs, device, parallel=False)
        if ctx.needs_input_grad[1]:
            barycentric_gradient = torch.empty_like(barycentrics)
            inputs = (triangles, attributes, index, gradient, barycentric_gradient)
            launch(interpolation_kernels.interpolate_adjoint_barycentrics, count, inputs, device)
        return attribute_gradient, barycentric_gradient, None, None


def uv_footprint(
    uvs: Tensor,
    index: Tensor,
    barycentrics: Tensor,
    vertices: Tensor,
    faces: Tensor,
    pixels: Tensor,
    triangles: Tensor,
    cameras: Cameras,
) -> Tensor:
    """(P, 2, 2) d uv / d pixel; zero on edge-on triangles. Not differentiable."""
    footprint = torch.empty(pixels.shape[0], 2, 2, device=vertices.device)
    surface = (pixels, triangles, vertices.detach().contiguous(), faces, *camera_inputs(cameras))
    mapping = (barycentrics.detach().contiguous(), uvs.detach().contiguous(), index.contiguous())
    inputs = (*surface, *mapping, footprint)
    launch(barycentric_kernels.measure_footprint, pixels.shape[0], inputs, vertices.device)
    return footprint
