"""Procedural studio light: a lat-long probe with a soft room and sharp, bright, differently colored lights.

Orientation: centre column +Z, the column at a quarter of the width +X, top row +Y (as USD's dome light).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SUPERSAMPLING = 4  # per axis, so that the lights' sharp edges are anti-aliased


@dataclass(frozen=True)
class _Panel:
    """A rectangular softbox seen from the center: degrees, and linear Rec.709 radiance.

    azimuth: from +Z towards +X. elevation: from the horizon. width, height: full angles. bars: window bars
    that divide it, per axis.
    """

    azimuth: float
    elevation: float
    width: float
    height: float
    radiance: tuple[float, float, float]
    bars: tuple[int, int] = (0, 0)


_STUDIO = (
    _Panel(35, 48, 34, 24, (15.0, 14.0, 12.5), bars=(2, 1)),  # key: a warm window
    _Panel(-75, 18, 13, 62, (3.2, 6.0, 13.0)),  # cool strip
    _Panel(130, 22, 10, 48, (16.0, 6.0, 3.0)),  # orange strip
    _Panel(-150, 40, 22, 22, (4.0, 9.0, 4.5), bars=(1, 1)),  # greenish window behind
    _Panel(178, 5, 7, 7, (60.0, 52.0, 45.0)),  # bulbs: small and very bright
    _Panel(-20, 12, 5, 5, (80.0, 80.0, 85.0)),
    _Panel(80, 68, 6, 6, (90.0, 70.0, 50.0)),
    _Panel(-100, -38, 26, 18, (3.0, 1.8, 4.5)),  # violet bounce from below
    _Panel(60, -50, 24, 20, (4.5, 4.2, 3.0)),
)


def studio_probe(seed: int = 0, width: int = 512) -> np.ndarray:
    """(width / 2, width, 3) float32 linear Rec.709 radiance, up to about 90.

    `seed` moves, turns and tints the lights; 0 is the demo's own studio.
    """
    panels = _STUDIO if seed == 0 else _shuffled(np.random.default_rng(seed))
    fine = width * _SUPERSAMPLING
    radiance = np.zeros((width // 2, width, 3))
    # One sub-row at a time of every pixel row keeps the memory at one supersampled row set.
    for sub_row in range(_SUPERSAMPLING):
        rows = (np.arange(width // 2) + (sub_row + 0.5) / _SUPERSAMPLING) / (width // 2)
        directions = latlong_directions((np.arange(fine) + 0.5) / fine, rows)
        light = _room(directions)
        for panel in panels:
            light[_inside(directions, panel)] = panel.radiance
        radiance += light.reshape(width // 2, width, _SUPERSAMPLING, 3).mean(axis=2)
    return (radiance / _SUPERSAMPLING).astype(np.float32)


def latlong_directions(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Unit directions (len(v), len(u), 3) at columns `u` (0 left, 1 right) and rows `v` (0 top, 1 bottom)."""
    azimuth = (0.5 - u) * 2 * np.pi
    polar = v[:, None] * np.pi
    flat = np.sin(polar)
    up = np.cos(polar) * np.ones_like(azimuth)
    return np.stack([flat * np.sin(azimuth), up, flat * np.cos(azimuth)], axis=-1)


def _room(directions: np.ndarray) -> np.ndarray:
    """Cool ceiling, neutral walls that brighten to one side, warm dim floor, all smooth."""
    up = directions[..., 1:2]
    ceiling, wall, floor = (
        np.array([0.50, 0.56, 0.66]),
        np.array([0.30, 0.29, 0.28]),
        np.array([0.14, 0.11, 0.09]),
    )
    toward = np.where(up > 0, ceiling, floor)
    blend = np.abs(up) ** 0.8
    side = 1 + 0.35 * directions[..., 0:1] * (1 - np.abs(up))
    return ((1 - blend) * wall + blend * toward) * side


def _inside(directions: np.ndarray, panel: _Panel) -> np.ndarray:
    """Which directions meet the panel: its tangent plane at unit distance, less the bars."""
    azimuth, elevation = np.radians([panel.azimuth, panel.elevation])
    forward = np.array(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)]
    )
    right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    upward = np.cross(forward, right)
    depth = directions @ forward
    safe = np.maximum(depth, 1e-6)
    x = directions @ right / safe / np.tan(np.radians(panel.width / 2))
    y = directions @ upward / safe / np.tan(np.radians(panel.height / 2))
    inside = (depth > 0) & (np.abs(x) < 1) & (np.abs(y) < 1)
    for coordinate, bars in ((x, panel.bars[0]), (y, panel.bars[1])):
        for bar in range(bars):
            inside &= np.abs(coordinate - (2 * (bar + 1) / (bars + 1) - 1)) > 0.07
    return inside


def _shuffled(rng: np.random.Generator) -> tuple[_Panel, ...]:
    panels = []
    for panel in _STUDIO:
        tint = rng.dirichlet((4.0, 4.0, 4.0)) * 3.0
        radiance = tuple(float(x) for x in np.mean(panel.radiance) * tint)
        panels.append(
            _Panel(
                azimuth=panel.azimuth + float(rng.uniform(-180, 180)),
                elevation=panel.elevation + float(rng.uniform(-15, 15)),
                width=panel.width * float(rng.uniform(0.7, 1.4)),
                height=panel.height * float(rng.uniform(0.7, 1.4)),
                radiance=(radiance[0], radiance[1], radiance[2]),
                bars=panel.bars,
            )
        )
    return tuple(panels)
