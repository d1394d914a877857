"""The dataset frame: Y-up, the object centered on the origin, its largest half-extent 0.9."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError
from usd_tools.matrices import Matrix, nearest_rotation, transform_points

HALF_EXTENT = 0.9

Z_UP_TO_Y_UP: Matrix = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""(x, y, z) -> (x, z, -y)."""

Y_UP_TO_Z_UP: Matrix = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""(x, y, z) -> (x, -z, y): from the dataset frame to the NeRF transforms' world."""


def stage_to_dataset(points: npt.NDArray[np.floating], up_axis: str, normalize: bool = True) -> Matrix:
    """The similarity (4, 4, column vectors) from stage space to the dataset frame.

    points: (N, 3) the object's vertices in stage space. up_axis: "Y" or "Z".
    normalize: center and scale; otherwise only a Z-up stage is turned.

    Raises:
        UserError: the object has no extent.
    """
    turn = Z_UP_TO_Y_UP if up_axis == "Z" else np.eye(4)
    if not normalize:
        return turn
    turned = transform_points(turn, points)
    low, high = turned.min(axis=0), turned.max(axis=0)
    half_extent = 0.5 * float((high - low).max())
    if not (np.isfinite(half_extent) and half_extent > 0):
        raise UserError("the object has no extent: all its points lie in one place; choose another --object")
    scale = HALF_EXTENT / half_extent
    matrix = scale * turn + 0.0  # no negative zeros in the files
    matrix[:3, 3] = scale * -0.5 * (low + high) + 0.0
    matrix[3, 3] = 1.0
    return matrix


def rotation_of(similarity: Matrix) -> Matrix:
    """(3, 3) rotation of a similarity."""
    return nearest_rotation(similarity)


def pose_to_dataset(similarity: Matrix, camera_to_world: Matrix) -> Matrix:
    """A camera's pose under `similarity`: scale acts on its position only, its rotation stays orthonormal."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_of(similarity) @ camera_to_world[:3, :3]
    pose[:3, 3] = transform_points(similarity, camera_to_world[None, :3, 3])[0]
    return pose
