"""How far a learnt light is from the true one, once the best rotation and scale per channel are taken out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usd_tools.align_hdri import Alignment, read_probe
from usd_tools.resampling import resize_box

_ROWS = 64
# Of the true probe's mean: differences far below it, in the dark, light nothing.
_FLOOR = 0.05


def probe_error(recovered: Path, reference: Path, alignment: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of two lat-long probes on disk, and the `alignment` (as align_hdri.py writes it) they are for.

    `error`: mean difference over the sphere in stops, factors of two of radiance. `relative_l1`: mean
    absolute difference of radiance over the mean of the true one.
    """
    best = Alignment(np.array(alignment["rotation"]), tuple(alignment["scale"]), alignment["correlation"])
    pictures = best.apply(read_probe(recovered)), read_probe(reference)
    return {**probe_difference(*(_reduced(picture) for picture in pictures)), "alignment": dict(alignment)}


def probe_difference(one: NDArray, reference: NDArray) -> dict[str, float]:
    """`error` and `relative_l1` of two lat-long pictures (H, W, 3) of one size."""
    height = len(reference)
    area = np.sin((np.arange(height) + 0.5) / height * np.pi)[:, None, None] * np.ones_like(reference)
    area /= area.sum()
    floor = _FLOOR * float((area * reference).sum())
    stops = np.abs(np.log2(one + floor) - np.log2(reference + floor))
    return {
        "error": float((area * stops).sum()),
        "relative_l1": float((area * np.abs(one - reference)).sum() / (area * reference).sum()),
    }


def _reduced(probe: NDArray) -> NDArray:
    return resize_box(np.asarray(probe, np.float64), 2 * _ROWS, _ROWS)
