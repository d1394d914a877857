"""The cameras of a USD stage, where a stage instead of a dataset tells what is seen of the true object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usd_tools import stage as stages
from usd_tools.camera_selection import camera_frames
from usd_tools.cameras import camera_to_world, read_lens
from usd_tools.comparison.visibility import TrainingCameras
from usd_tools.normalization import pose_to_dataset
from usd_tools.render_settings import picture_format, settings_cameras


def read_stage_cameras(
    path: Path, object_path: str, variants: Sequence[str], stage_to_dataset: NDArray
) -> TrainingCameras | None:
    """The perspective cameras of the stage on all their frames, in the dataset frame; None if there is none.

    They are those that its render settings name, or else all. Where the stage does not say how many pixels
    are rendered, images have their apertures' shape.
    object_path: the true object; where it moves, it is held as it stands on the stage's first frame.
    stage_to_dataset: (4, 4), column vectors.
    """
    from pxr import UsdGeom

    stage = stages.open_stage(path, variants)
    start = float(stage.GetStartTimeCode())
    prim = stages.prim_at(stage, object_path, "--object")
    held = stages.world_matrix(prim, start)
    poses, intrinsics, sizes = [], [], []
    every = [c for c in stages.active_prims(stage.GetPseudoRoot()) if c.IsA(UsdGeom.Camera)]
    named = settings_cameras(stage)
    for camera in (UsdGeom.Camera(c) for c in every if not named or str(c.GetPath()) in named):
        if camera.GetProjectionAttr().Get() == UsdGeom.Tokens.orthographic:
            continue
        shape = picture_format(stage, str(camera.GetPath()), start)
        for frame in camera_frames(stage, camera) or [start]:
            motion = held @ np.linalg.inv(stages.world_matrix(prim, frame))
            poses.append(pose_to_dataset(stage_to_dataset, motion @ camera_to_world(camera, frame)))
            lens = read_lens(camera, frame, shape.policy, shape.pixel_aspect)
            size = shape.resolution or (lens.horizontal_aperture, lens.vertical_aperture)
            intrinsics.append(lens.intrinsics(*size))
            sizes.append(size)
    if not poses:
        return None
    return TrainingCameras(np.array(poses), np.array(intrinsics), np.array(sizes, float))
