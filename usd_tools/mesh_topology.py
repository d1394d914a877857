"""What is connected in a mesh: rows of equal value, and sets of things that share links. Needs numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.integer]


def value_ids(rows: NDArray[np.floating]) -> Indices:
    """(N,) one number per distinct row of (N, K). Adding 0 makes -0 and 0 one value."""
    return np.unique(np.asarray(rows) + 0.0, axis=0, return_inverse=True)[1].reshape(-1)


def connected(count: int, a: Indices, b: Indices) -> Indices:
    """(count,) lowest node reachable from each node over the links a-b."""
    labels = np.arange(count)
    while True:
        low, high = np.minimum(labels[a], labels[b]), np.maximum(labels[a], labels[b])
        open_links = low != high
        if not open_links.any():
            return labels
        np.minimum.at(labels, high[open_links], low[open_links])
        while True:
            shorter = labels[labels]
            if np.array_equal(shorter, labels):
                break
            labels = shorter


def islands(uvs: NDArray[np.floating], uv_faces: Indices) -> Indices:
    """(F,) a number per triangle, shared by those that equal texture coordinates connect."""
    corners = value_ids(uvs)[uv_faces]
    nodes = connected(
        int(corners.max(initial=-1)) + 1,
        np.concatenate([corners[:, 0], corners[:, 1]]),
        np.concatenate([corners[:, 1], corners[:, 2]]),
    )
    return np.unique(nodes[corners[:, 0]], return_inverse=True)[1].reshape(-1)
