"""Where the cameras of a turntable stand: directions from the object, y up, as angles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def sphere(count: int, lowest: float, highest: float) -> Array:
    """(count, 2) elevation and azimuth in radians of a Fibonacci grid between two elevations (degrees).

    Equal areas in height, the golden angle around (Swinbank & Purser, "Fibonacci grids", 2006), from top to
    bottom: every evenly spaced subset sees all elevations.
    """
    top, bottom = np.sin(np.radians([highest, lowest]))
    index = np.arange(count)
    height = top + (bottom - top) * (2 * index + 1) / (2 * count)
    return np.stack([np.arcsin(np.clip(height, -1, 1)), (index * GOLDEN_ANGLE) % (2 * np.pi)], axis=-1)


def rings(count: int, number: int, lowest: float, highest: float) -> Array:
    """(count, 2) elevation and azimuth in radians on `number` level rings, the lowest first.

    The rings lie evenly between two elevations (degrees), a single one halfway; the cameras are shared out
    among them as evenly as can be. Each ring starts a little further around than the one below it, so that
    no two cameras stand above each other.
    """
    elevations = np.linspace(lowest, highest, number) if number > 1 else [(lowest + highest) / 2]
    angles = []
    for i, elevation in enumerate(np.radians(elevations)):
        share = count // number + (i < count % number)
        azimuth = 2 * np.pi * (np.arange(share) + i / number) / max(share, 1)
        angles.append(np.stack([np.full(share, elevation), azimuth], axis=-1))
    return np.concatenate(angles)


def look_at_center(elevation: float, azimuth: float, distance: float) -> Array:
    """The pose (4, 4), column vectors, of an OpenGL camera that looks at the origin of a y-up space.

    elevation, azimuth: in radians; azimuth 0 is +Z, a quarter turn +X. At the poles the picture's top is what
    it is just before them.
    """
    flat, height = np.cos(elevation), np.sin(elevation)
    back = np.array([flat * np.sin(azimuth), height, flat * np.cos(azimuth)])
    right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(back, right), back, distance * back], axis=-1)
    return pose


def turn_about_y(angle: float) -> Array:
    """The rotation (3, 3) by `angle` (radians) about +Y, column vectors, counter-clockwise from above."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
