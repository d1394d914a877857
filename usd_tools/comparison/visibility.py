"""What the training cameras can see of a surface."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usd_tools.comparison.surface import Surface, SurfacePoints
from usd_tools.errors import UserError

# Column-vector turn of the transforms' Z-up world into the Y-up dataset frame: (x, y, z) -> (x, z, -y).
_Z_UP_TO_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class TrainingCameras:
    """B pinhole cameras in the dataset frame.

    camera_to_world: (B, 4, 4), column vectors, OpenGL camera (looks down -z).
    intrinsics: (B, 4) fx, fy, cx, cy in pixels from the image's top-left edge.
    sizes: (B, 2) width and height in pixels.
    """

    camera_to_world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    sizes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.camera_to_world)


def read_training_cameras(path: Path) -> TrainingCameras:
    """As `read_cameras`; raises UserError also where there is no frame."""
    cameras = read_cameras(path)
    if not len(cameras):
        raise UserError(f"{path}: holds no training frames; write the dataset again with usd_to_llff.py")
    return cameras


def read_cameras(path: Path) -> TrainingCameras:
    """The cameras of a `transforms_train.json` or `transforms_test.json` (NeRF convention, Z-up world).

    Raises UserError, naming what is missing, if the file is not such a one.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        frames = document["frames"]
        poses, intrinsics, sizes = [], [], []
        for frame in frames:
            values: dict[str, Any] = {**document, **frame}  # intrinsics stand per frame when they vary
            width, height = float(values["w"]), float(values["h"])
            focal = values.get("fl_x") or 0.5 * width / np.tan(0.5 * float(values["camera_angle_x"]))
            pose = np.asarray(frame["transform_matrix"], np.float64)
            if pose.shape != (4, 4) or not np.isfinite(pose).all():
                raise ValueError("transform_matrix is not a finite 4x4 matrix")
            poses.append(_Z_UP_TO_Y_UP @ pose)
            intrinsics.append(
                [focal, values.get("fl_y", focal), values.get("cx", width / 2), values.get("cy", height / 2)]
            )
            sizes.append([width, height])
        return TrainingCameras(np.array(poses), np.array(intrinsics, np.float64), np.array(sizes))
    except KeyError as error:
        raise UserError(f"{path}: has no {error}; write the dataset again with usd_to_llff.py") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a camera file ({error}); write the dataset again") from None


def visible(surface: Surface, points: SurfacePoints, cameras: TrainingCameras | None) -> NDArray[np.bool_]:
    """(N,) whether at least one of `cameras` sees each point of `surface`; all of them without cameras.

    Seen means: inside the image, on the face's outer side, nothing of the surface in between.
    """
    if cameras is None:
        return np.ones(len(points), bool)
    return surface.seen(
        points,
        np.linalg.inv(cameras.camera_to_world),
        cameras.camera_to_world[:, :3, 3],
        cameras.intrinsics,
        cameras.sizes,
    )
