"""From world positions to the clip space of a rasterizer whose first row is the image's top row."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.data.cameras import Cameras

# Depths a little in front of the nearest and behind the farthest vertex, so that none is clipped by rounding.
_DEPTH_MARGIN = 0.1
# Nearest depth that is drawn, relative to the farthest vertex: float32 resolves no larger range of z / w.
_NEAREST = 1e-4


def clip_positions(vertices: Tensor, cameras: Cameras) -> Tensor:
    """(B, V, 4) homogeneous positions (x, y, z, w) of world `vertices` (V, 3).

    x / w runs from -1 at the image's left edge to 1 at its right edge, and y / w from -1 at its **top** edge
    to 1 at its bottom edge: the reverse of OpenGL, so that a rasterizer that stores rows in the order of
    growing y stores the top row first. w is the depth along the view axis. The depth range fits the vertices
    of each view, without waiting for the device. Differentiable in `vertices` but for z, which decides
    visibility only.
    """
    right, up, back = cameras.camera_to_world[:, :3, :3].unbind(-1)
    scale_x, scale_y = (
        cameras.focal[:, :1] * (2.0 / cameras.width),
        cameras.focal[:, 1:] * (2.0 / cameras.height),
    )
    shift_x = 1.0 - cameras.principal[:, :1] * (2.0 / cameras.width)
    shift_y = 1.0 - cameras.principal[:, 1:] * (2.0 / cameras.height)
    rows = torch.stack([scale_x * right + shift_x * back, shift_y * back - scale_y * up, -back], dim=1)
    offset = (rows * cameras.origins[:, None]).sum(-1)
    # Products and sums, not a matrix product: TF32 would move vertices by a visible part of a pixel.
    xyw = (vertices[None, :, None] * rows[:, None]).sum(-1) - offset[:, None]
    z = _depth_between_planes(xyw[..., 2:].detach())
    return torch.cat([xyw[..., :2], z, xyw[..., 2:]], dim=-1)


def _depth_between_planes(w: Tensor) -> Tensor:
    """z (B, V, 1) for depths w: z / w is -1 just before the nearest and 1 just behind the farthest vertex."""
    far = (w.amax(dim=1, keepdim=True) * (1.0 + _DEPTH_MARGIN)).clamp(min=1e-6)
    near = torch.maximum(w.amin(dim=1, keepdim=True) * (1.0 - _DEPTH_MARGIN), _NEAREST * far)
    return (w * (far + near) - 2.0 * far * near) / (far - near)
