"""Slow, obvious twins of rasterization and interpolation: plain torch, any precision, all triangles tried."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.data.cameras import Cameras


def as_double(cameras: Cameras) -> Cameras:
    return Cameras(
        cameras.camera_to_world.double(),
        cameras.focal.double(),
        cameras.principal.double(),
        cameras.width,
        cameras.height,
    )


def solve(corners: Tensor, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentrics and distance where rays meet triangles' planes; corners (..., 3, 3), one per row.

    With w the solution of sum_i w_i (v_i - o) = d, the hit's weights are w / sum(w), at distance 1 / sum(w).
    """
    matrix = (corners - origin[..., None, :]).transpose(-1, -2)
    weights = torch.linalg.solve(matrix, direction[..., None])[..., 0]
    total = weights.sum(dim=-1)
    return weights / total[..., None], 1 / total


def barycentrics(
    vertices: Tensor, faces: Tensor, cameras: Cameras, pixels: Tensor, triangles: Tensor
) -> Tensor:
    """(P, 3); differentiable with respect to `vertices`."""
    origin, direction = cameras.pixel_rays(pixels)
    return solve(vertices[faces[triangles]], origin, direction)[0]


def z_buffer(vertices: Tensor, faces: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """The nearest triangle of every pixel (-1: none), and whether that answer is clear of rounding.

    It is not clear on a triangle's outline, nor where two triangles are equally near.
    """
    pixels = torch.arange(len(cameras) * cameras.height * cameras.width)
    origin, direction = cameras.pixel_rays(pixels)
    weights, distance = solve(vertices[faces][None], origin[:, None], direction[:, None])
    lowest = weights.amin(dim=-1)
    hit = (lowest >= 0) & (distance > 0)
    distance = torch.where(hit, distance, torch.inf)
    nearest, face = distance.min(dim=1)
    others = distance.scatter(1, face[:, None], torch.inf).amin(dim=1)
    clear = (lowest.abs() > 1e-3).all(dim=1) & ((others - nearest > 1e-4) | nearest.isinf())
    return torch.where(nearest.isinf(), -1, face), clear


def interpolate(attributes: Tensor, weights: Tensor, triangles: Tensor, index: Tensor) -> Tensor:
    return (attributes[index[triangles]] * weights[:, :, None]).sum(dim=1)
