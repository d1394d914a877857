"""Distances to masks and their visual hull by trying everything."""

from __future__ import annotations

import numpy as np


def euclidean_distance(target: np.ndarray) -> np.ndarray:
    """(H, W) distance of every pixel to the nearest pixel of `target` (H, W) bool, at least one set."""
    rows, columns = np.indices(target.shape)
    there = np.argwhere(target)
    offsets = np.stack([rows, columns], axis=-1)[:, :, None] - there
    return np.sqrt((offsets**2).sum(-1)).min(-1)
