"""From where the object is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

NEAR = 45.0
"""Degrees within which a camera counts as seeing a side of the object."""

_SAMPLES = 4000
_POOR = 0.6


@dataclass(frozen=True)
class Coverage:
    """directions: (N, 3) unit, from the object to each camera. uncovered: share of all directions that are
    more than NEAR degrees from any training camera. gap: (3,) the direction farthest from all of them.
    gap_angle: how far, in degrees.
    """

    directions: Array
    uncovered: float
    gap: Array
    gap_angle: float


def view_coverage(directions: Array, training: npt.NDArray[np.bool_]) -> Coverage:
    """directions: (N, 3) unit. training: (N,) which of them are training views."""
    # A Fibonacci lattice: equal areas, no poles.
    index = np.arange(_SAMPLES) + 0.5
    y = 1 - 2 * index / _SAMPLES
    angle = np.pi * (1 + np.sqrt(5)) * index
    ring = np.sqrt(1 - y * y)
    sphere = np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], axis=1)
    cosines = (sphere @ directions[training].T).max(axis=1)
    farthest = int(np.argmin(cosines))
    uncovered = float((cosines < np.cos(np.radians(NEAR))).mean())
    gap_angle = float(np.degrees(np.arccos(np.clip(cosines[farthest], -1, 1))))
    return Coverage(directions, uncovered, sphere[farthest], gap_angle)


def azimuth_elevation(direction: Array) -> tuple[float, float]:
    """Degrees: azimuth from +Z towards +X, elevation above the horizon of a Y-up frame."""
    x, y, z = direction
    return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(np.clip(y, -1, 1))))


def coverage_problems(coverage: Coverage) -> list[str]:
    azimuth, elevation = azimuth_elevation(coverage.gap)
    if coverage.uncovered <= _POOR:
        return []
    return [
        f"{coverage.uncovered:.0%} of all directions are more than {NEAR:g} degrees from any training "
        f"camera, most of all azimuth {azimuth:.0f}, elevation {elevation:.0f}; textures there are guesses"
    ]


def coverage_plot(coverage: Coverage, split: list[str], flagged: list[bool], names: list[str]) -> str:
    """Two equal-area disks (upper and lower hemisphere, seen from above) with a dot per camera, as SVG."""
    parts = []
    for side, title in enumerate(("from above the horizon", "from below")):
        center = 170 + 340 * side
        parts.append(f'<g><circle cx="{center}" cy="170" r="150" class="disk"/>')
        for elevation in (30, 60):
            radius = 150 * np.sqrt(1 - np.sin(np.radians(elevation)))
            parts.append(f'<circle cx="{center}" cy="170" r="{radius:.1f}" class="ring"/>')
        parts.append(f'<text x="{center}" y="345">{title}</text></g>')
    for direction, kind, bad, name in zip(coverage.directions, split, flagged, names):
        x, y, z = direction
        radius = 150 * np.sqrt(max(0.0, 1 - abs(y))) / max(np.hypot(x, z), 1e-9)
        column, row = 170 + 340 * (y < 0) + radius * x, 170 + radius * z
        style = "bad" if bad else kind
        parts.append(
            f'<circle cx="{column:.1f}" cy="{row:.1f}" r="5" class="{style}"><title>{name}</title></circle>'
        )
    return f'<svg viewBox="0 0 680 360" class="coverage">{"".join(parts)}</svg>'
