"""The demo object's shape: a lobed, waisted gourd given by one closed formula.

The surface is P(a, phi) = (r sin phi, h c, r cos phi) with c = -cos a, polar angle a from 0 (bottom pole) to
pi (top pole) and r(a, phi) = sin(a) g(c) (1 + m(c) cos(k phi)): a profile g with a waist (concave, so light
bounces between the bulbs), and k lobes of strength m that fade towards the poles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HEIGHT = 1.28  # h: half the height, in units of the profile
LOBES = 5  # k
MARGIN = 1 / 64  # of the v range left free at either pole, so that "repeat" addressing never mixes the poles


@dataclass(frozen=True)
class GourdMesh:
    """Triangles, counter-clockwise seen from outside; one chart, cut along phi = 0.

    points: (V, 3). normals: (V, 3) unit, exact. faces: (F, 3) into both. uvs: (F, 3, 2) per corner, v up.
    """

    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray


def _profile(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """g(c) and its derivative."""
    waist = 0.38 * np.exp(-(((c - 0.38) / 0.27) ** 2))
    return 0.98 - 0.16 * c - waist, -0.16 + waist * 2 * (c - 0.38) / 0.27**2


def _lobe_strength(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """m(c) and its derivative: strongest on the lower bulb, zero at both poles."""
    bump = 0.10 * np.exp(-(((c + 0.25) / 0.40) ** 2))
    fade = (1 - c * c) ** 2
    return bump * fade, bump * (-2 * (c + 0.25) / 0.40**2 * fade - 4 * c * (1 - c * c))


def surface(polar: np.ndarray, azimuth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit outward normals, each (..., 3), at polar angles and azimuths (...) in radians."""
    sin, c = np.sin(polar), -np.cos(polar)
    g, g_c = _profile(c)
    m, m_c = _lobe_strength(c)
    wave = np.cos(LOBES * azimuth)
    lobe = 1 + m * wave
    # r = sin(a) q, and dP/dphi vanishes like sin(a) at the poles: with that factor divided out the normal
    # stays exact there.
    q = g * lobe
    q_azimuth = -g * m * LOBES * np.sin(LOBES * azimuth)
    radius_polar = -c * q + sin**2 * (g_c * lobe + g * m_c * wave)

    outward = np.stack([np.sin(azimuth), np.zeros_like(azimuth), np.cos(azimuth)], axis=-1)
    around = np.stack([np.cos(azimuth), np.zeros_like(azimuth), -np.sin(azimuth)], axis=-1)
    up = np.array([0.0, 1.0, 0.0])
    points = (sin * q)[..., None] * outward + (HEIGHT * c)[..., None] * up
    along_azimuth = q_azimuth[..., None] * outward + q[..., None] * around
    along_polar = radius_polar[..., None] * outward + (HEIGHT * sin)[..., None] * up
    normals = np.cross(along_azimuth, along_polar)
    return points, normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def uv_of(polar: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Texture coordinates (..., 2) in [0, 1], v up: azimuth to u, polar angle to v."""
    return np.stack([azimuth / (2 * np.pi), MARGIN + (1 - 2 * MARGIN) * polar / np.pi], axis=-1)


def angles_of(uvs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `uv_of`: polar angles and azimuths (...) of uvs (..., 2).

    Texels of the margin take the angle of their pole.
    """
    polar = np.clip((uvs[..., 1] - MARGIN) / (1 - 2 * MARGIN), 0.0, 1.0) * np.pi
    return polar, uvs[..., 0] * 2 * np.pi


def gourd(rings: int = 46, segments: int = 88) -> GourdMesh:
    """The closed mesh: `rings` rows of `segments` vertices between two poles."""
    polar = np.linspace(0.0, np.pi, rings + 2)
    step = 2 * np.pi / segments
    points, normals = surface(*np.meshgrid(polar[1:-1], np.arange(segments) * step, indexing="ij"))
    pole_points, pole_normals = surface(polar[[0, -1]], np.zeros(2))
    bottom, top = rings * segments, rings * segments + 1

    faces: list[np.ndarray] = []
    angles: list[np.ndarray] = []  # (N, 3, 2) polar angle and azimuth of each corner
    here = np.arange(segments)
    there = (here + 1) % segments  # vertices close around the seam, texture coordinates do not
    left, right, middle = here * step, (here + 1) * step, (here + 0.5) * step

    def add(corners: list[np.ndarray], corner_angles: list[tuple[float, np.ndarray]]) -> None:
        faces.append(np.stack(corners, axis=-1))
        angles.append(np.stack([np.stack([np.full(segments, a), b], -1) for a, b in corner_angles], axis=1))

    add(
        [np.full(segments, bottom), there, here],
        [(polar[0], middle), (polar[1], right), (polar[1], left)],
    )
    for ring in range(rings - 1):
        low, high = ring * segments, (ring + 1) * segments
        a, b = polar[ring + 1], polar[ring + 2]
        add([low + here, low + there, high + there], [(a, left), (a, right), (b, right)])
        add([low + here, high + there, high + here], [(a, left), (b, right), (b, left)])
    last = (rings - 1) * segments
    add(
        [last + here, last + there, np.full(segments, top)],
        [(polar[-2], left), (polar[-2], right), (polar[-1], middle)],
    )

    corner_angles = np.concatenate(angles)
    return GourdMesh(
        points=np.concatenate([points.reshape(-1, 3), pole_points]),
        normals=np.concatenate([normals.reshape(-1, 3), pole_normals]),
        faces=np.concatenate(faces),
        uvs=uv_of(corner_angles[..., 0], corner_angles[..., 1]),
    )
