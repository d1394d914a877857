"""Texture lookups as renderers do them: bilinear between texel centres, repeating, v up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bilinear(image: NDArray, uvs: NDArray) -> NDArray[np.float64]:
    """(N, C) values of `image` (H, W, C) at `uvs` (N, 2); row 0 of the image is v = 1."""
    height, width = image.shape[:2]
    column = uvs[:, 0] * width - 0.5
    row = (1 - uvs[:, 1]) * height - 0.5
    left, top = np.floor(column), np.floor(row)
    x, y = (column - left)[:, None], (row - top)[:, None]
    left, top = left.astype(np.int64) % width, top.astype(np.int64) % height
    right, bottom = (left + 1) % width, (top + 1) % height
    upper = image[top, left] * (1 - x) + image[top, right] * x
    lower = image[bottom, left] * (1 - x) + image[bottom, right] * x
    return upper * (1 - y) + lower * y
