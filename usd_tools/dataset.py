"""The dataset's own files: LLFF poses, NeRF transforms, dataset.json."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.dataset_job import FrameJob
from usd_tools.matrices import Matrix
from usd_tools.normalization import Y_UP_TO_Z_UP

SCHEMA_VERSION = 1
MARKER = "dataset.json"


def write_poses_bounds(path: Path, frames: Sequence[FrameJob], width: int, height: int) -> None:
    """LLFF's array, (N, 17) float64: 3x5 `[down, right, back, t, (H, W, f)]` row-major, then near and far.

    f is the vertical focal length in pixels, because readers derive the vertical angle from H and f.
    """
    rows = []
    for frame in frames:
        right, up, back, position = (frame.camera_to_world[:3, i] for i in range(4))
        _, fy, _, _ = frame.lens.intrinsics(width, height)
        pose = np.stack([-up, right, back, position, np.array([height, width, fy])], axis=1)
        rows.append(np.concatenate([pose.ravel(), [frame.near, frame.far]]))
    np.save(path, np.array(rows, np.float64), allow_pickle=False)


def write_transforms(path: Path, frames: Sequence[FrameJob], width: int, height: int, lens: FrameJob) -> None:
    """The NeRF/Blender file: Z-up world, OpenGL cameras; pixel figures per frame only where they vary.

    lens: the frame whose figures stand at the top level (a split may be empty).
    """
    intrinsics = [frame_intrinsics(frame, width, height) for frame in frames]
    shared = frame_intrinsics(lens, width, height)
    vary = any(figures != shared for figures in intrinsics)
    entries = []
    for frame, figures in zip(frames, intrinsics):
        entries.append(
            {
                "file_path": f"./rgba/{frame.name}",
                "hdr_path": f"./hdr/{frame.name}.exr",
                "transform_matrix": rows(Y_UP_TO_Z_UP @ frame.camera_to_world),
                "light_rotation": rows(frame.light_rotation),
                **(figures if vary else {}),
            }
        )
    write_json(path, {**shared, "frames": entries})


def frame_intrinsics(frame: FrameJob, width: int, height: int) -> dict[str, float]:
    """camera_angle_x and the pixel figures, measured from the picture's top-left edge."""
    fx, fy, cx, cy = frame.lens.intrinsics(width, height)
    angle = 2 * math.atan(0.5 * width / fx)
    return {"camera_angle_x": angle, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": width, "h": height}


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def rows(matrix: Matrix) -> list[list[float]]:
    """A matrix as JSON, without negative zeros."""
    return (np.asarray(matrix, np.float64) + 0.0).tolist()


def number(frame: float) -> float | int:
    """A frame as JSON: whole numbers without decimals."""
    return int(frame) if frame == int(frame) else frame
