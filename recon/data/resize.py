"""Making pictures smaller by averaging over areas: exact at every ratio, and it keeps the mean."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Pixels = npt.NDArray[np.float32]


def fitted_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """(width, height) with the longer side `longest` and the aspect kept to the pixel."""
    scale = longest / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def area_average(pixels: Pixels, width: int, height: int) -> Pixels:
    """(H, W, C) averaged to (height, width, C): each new pixel is the mean over the area it covers.

    The values must be linear, with associated alpha: then color and coverage are averaged as a camera would.
    """
    old_height, old_width, channels = pixels.shape
    if (old_width, old_height) == (width, height):
        return pixels
    rows = _overlap(old_height, height)
    columns = _overlap(old_width, width)
    shorter = (rows @ pixels.reshape(old_height, -1)).reshape(height, old_width, channels)
    return np.einsum("vw,hwc->hvc", columns, shorter, optimize=True)


def area_averages(images: Tensor, width: int, height: int) -> Tensor:
    """`area_average` of N pictures (N, H, W, C) at once, where they are: (N, height, width, C)."""
    rows = torch.from_numpy(_overlap(images.shape[1], height)).to(images)
    columns = torch.from_numpy(_overlap(images.shape[2], width)).to(images)
    return torch.stack([torch.einsum("vh,hwc,uw->vuc", rows, image, columns) for image in images])


def _overlap(old: int, new: int) -> Pixels:
    """(new, old) share of each old pixel in each new one; the rows sum to 1."""
    edges = np.arange(new + 1) * (old / new)
    pixel = np.arange(old)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.maximum(covered, 0.0) * (new / old)).astype(np.float32)
