"""Points spread evenly over a surface."""

from __future__ import annotations

import numpy as np

from usd_tools.comparison.surface import Surface, SurfacePoints


def sample_surface(surface: Surface, count: int, seed: int) -> SurfacePoints:
    """`count` points, uniform by area; the same for the same seed.

    Faces are chosen by systematic sampling (equal steps along the summed areas from a random start), so each
    face gets its share to within one point, and means vary less than over independent points.
    """
    rng = np.random.default_rng(seed)
    total = np.cumsum(surface.areas)
    steps = (np.arange(count) + rng.random()) / count * total[-1]
    face = np.minimum(np.searchsorted(total, steps, side="right"), len(total) - 1)
    # Uniform in a triangle (Osada et al. 2002, "Shape Distributions", section 3.1).
    root, along = np.sqrt(rng.random(count)), rng.random(count)
    barycentrics = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    return SurfacePoints(face.astype(np.int64), barycentrics)
