"""The cameras of a USD stage, where a stage instead of a dataset tells what is seen of the true object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usd_tools import cameras
from usd_tools import stage as stages
from usd_tools.comparison.visibility import TrainingCameras
from usd_tools.normalization import pose_to_dataset


def read_stage_cameras(
    path: Path, object_path: str, variants: Sequence[str], stage_to_dataset: NDArray
) -> TrainingCameras | None:
    """Every perspective camera of the stage on every frame, in the dataset frame; None if there is none.

    object_path: the true object; where it moves, it is held as it stands on the stage's first frame.
    stage_to_dataset: (4, 4), column vectors. A stage does not say how many pixels are rendered, so the
    cameras' images have their apertures' shape.
    """
    from pxr import UsdGeom

    stage = stages.open_stage(path, variants)
    start = float(stage.GetStartTimeCode())
    prim = stages.prim_at(stage, object_path, "--object")
    held = stages.world_matrix(prim, start)
    poses, intrinsics, sizes = [], [], []
    for candidate in stages.active_prims(stage.GetPseudoRoot()):
        if not candidate.IsA(UsdGeom.Camera):
            continue
        camera = UsdGeom.Camera(candidate)
        if camera.GetProjectionAttr().Get() == UsdGeom.Tokens.orthographic:
            continue
        for frame in stages.stage_frames(stage, camera) or [start]:
            motion = held @ np.linalg.inv(stages.world_matrix(prim, frame))
            poses.append(pose_to_dataset(stage_to_dataset, motion @ cameras.camera_to_world(camera, frame)))
            lens = cameras.read_lens(camera, frame)
            size = (lens.horizontal_aperture, lens.vertical_aperture)
            intrinsics.append(
                [
                    lens.focal_length,
                    lens.focal_length,
                    size[0] / 2 - lens.horizontal_offset,
                    size[1] / 2 + lens.vertical_offset,
                ]
            )
            sizes.append(size)
    if not poses:
        return None
    return TrainingCameras(np.array(poses), np.array(intrinsics), np.array(sizes))
