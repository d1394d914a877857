"""Rotations as (3, 3) matrices: from vectors, evenly over all orientations, and as USD's rotateXYZ."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from usd_tools.matrices import Matrix


def rotation_from_vector(vector: npt.ArrayLike) -> Matrix:
    """The rotation by |vector| radians around `vector` (3,), by Rodrigues' formula."""
    x, y, z = np.asarray(vector, np.float64)
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        return np.eye(3)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / angle
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def rotation_angle(rotation: Matrix) -> float:
    """By how many radians a rotation turns, 0 to pi."""
    sine = np.linalg.norm(rotation - rotation.T) / math.sqrt(8)
    return math.atan2(float(sine), (float(np.trace(rotation)) - 1) / 2)


def fibonacci_directions(count: int) -> Matrix:
    """(count, 3) unit vectors spread evenly over the sphere (Gonzalez 2010)."""
    index = np.arange(count) + 0.5
    y = 1 - 2 * index / count
    azimuth = index * math.pi * (3 - math.sqrt(5))
    ring = np.sqrt(1 - y * y)
    return np.stack([ring * np.sin(azimuth), y, ring * np.cos(azimuth)], axis=1)


def rotation_grid(spacing: float) -> Matrix:
    """(N, 3, 3) rotations about `spacing` radians apart: where +Y goes, times the turn around it."""
    poles = fibonacci_directions(math.ceil(4 * math.pi / spacing**2))
    turns = np.arange(math.ceil(2 * math.pi / spacing)) * spacing
    yaws = np.array([rotation_from_vector((0, turn, 0)) for turn in turns])
    tilts = np.array([_rotation_to(pole) for pole in poles])
    return (tilts[:, None] @ yaws[None]).reshape(-1, 3, 3)


def _rotation_to(direction: Matrix) -> Matrix:
    """The shortest rotation that takes +Y to `direction`."""
    axis = np.cross((0.0, 1.0, 0.0), direction)
    length = float(np.linalg.norm(axis))
    if length < 1e-12:
        return np.diag([1.0, 1.0, 1.0]) if direction[1] > 0 else np.diag([1.0, -1.0, -1.0])
    return rotation_from_vector(axis / length * math.atan2(length, float(direction[1])))


def rotate_xyz_degrees(rotation: Matrix) -> tuple[float, float, float]:
    """The values of USD's xformOp:rotateXYZ (around X first, then Y, then Z) that give `rotation`."""
    y = math.atan2(-rotation[2, 0], math.hypot(rotation[0, 0], rotation[1, 0]))
    if math.hypot(rotation[0, 0], rotation[1, 0]) > 1e-9:
        x, z = math.atan2(rotation[2, 1], rotation[2, 2]), math.atan2(rotation[1, 0], rotation[0, 0])
    else:  # gimbal lock: X and Z turn around the same axis
        x, z = math.atan2(-rotation[1, 2], rotation[1, 1]), 0.0
    return math.degrees(x), math.degrees(y), math.degrees(z)
