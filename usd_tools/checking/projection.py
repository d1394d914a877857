"""Cameras as check_dataset moves and scales them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cameras:
    """N pinhole cameras with pictures of one size.

    camera_to_world: (N, 4, 4), OpenGL (looks down -z). intrinsics: (N, 4) fx, fy, cx, cy in pixels from the
    top-left edge. size: width and height in pixels.
    """

    camera_to_world: Array
    intrinsics: Array
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.camera_to_world)

    def project(self, index: int, points: Array) -> tuple[Array, Array]:
        """Pixel positions (P, 2) and depths (P,) of `points` (P, 3) in picture `index`.

        Positions are meaningless where the depth is not positive.
        """
        rotation, position = self.camera_to_world[index, :3, :3], self.camera_to_world[index, :3, 3]
        local = (points - position) @ rotation
        depth = -local[:, 2]
        fx, fy, cx, cy = self.intrinsics[index]
        safe = np.where(depth > 0, depth, 1.0)
        return np.stack([cx + fx * local[:, 0] / safe, cy - fy * local[:, 1] / safe], axis=1), depth

    def select(self, index: npt.NDArray[np.integer]) -> Cameras:
        return Cameras(self.camera_to_world[index], self.intrinsics[index], self.size)


def rays_through(cameras: Cameras, pixels: Array) -> tuple[Array, Array]:
    """Origins and unit directions, each (N, 3), through one pixel position (N, 2) of each picture."""
    fx, fy, cx, cy = cameras.intrinsics.T
    local = np.stack([(pixels[:, 0] - cx) / fx, (cy - pixels[:, 1]) / fy, -np.ones(len(cameras))], axis=1)
    directions = np.einsum("nij,nj->ni", cameras.camera_to_world[:, :3, :3], local)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return cameras.camera_to_world[:, :3, 3], directions


def nearest_point(origins: Array, directions: Array) -> Array:
    """The point with the smallest squared distance to N lines; their mean origin's foot where parallel."""
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    return np.linalg.lstsq(across.sum(0), np.einsum("nij,nj->i", across, origins), rcond=1e-6)[0]
