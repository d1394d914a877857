"""NeRF-synthetic folders: transforms_SPLIT.json with OpenGL poses in a Z-up world, RGBA pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from recon.data.frames import Frame, Intrinsics, angle_intrinsics, pixel_intrinsics
from usd_tools.checked_values import checked_pose, checked_rotation, one_number, positive, read_json
from usd_tools.errors import UserError
from usd_tools.files import inside

# (x, y, z) -> (x, z, -y): the Z-up world of the files to our Y-up one.
Z_UP_TO_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])

_PICTURE_SUFFIXES = ("", ".png", ".exr", ".jpg")


def nerf_frames(folder: Path, split: str) -> list[Frame]:
    """Frames of `split` ("train", "test"); a folder without "test" holds out "val", or nothing."""
    if split == "test" and not (folder / "transforms_test.json").exists():
        split = "val"
    path = folder / f"transforms_{split}.json"
    if split == "val" and not path.exists():
        return []
    return read_transforms(path)


def read_transforms(path: Path, *, prefer_hdr: bool = False) -> list[Frame]:
    """The frames of one transforms file, in its order, turned to Y-up.

    prefer_hdr: take the EXR that a frame's `hdr_path` names, where it exists, over its `file_path`.
    """
    content = read_json(path)
    listed = content.get("frames")
    if not isinstance(listed, list):
        raise UserError(f"{path}: expected a list 'frames' of pictures and poses")
    frames = []
    for i, entry in enumerate(listed):
        where = f"{path}: frame {i}"
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            raise UserError(f"{where}: expected an object with 'file_path' and 'transform_matrix'")
        pose = Z_UP_TO_Y_UP @ checked_pose(entry.get("transform_matrix"), f"{where}, transform_matrix")
        rotation = entry.get("light_rotation")
        frames.append(
            Frame(
                image=_picture(path.parent, entry, where, prefer_hdr),
                mask=None,
                camera_to_world=pose,
                intrinsics=_intrinsics({**content, **entry}, where),
                light_rotation=None
                if rotation is None
                else checked_rotation(rotation, f"{where}, light_rotation"),
            )
        )
    return frames


def _picture(folder: Path, entry: dict[str, Any], where: str, prefer_hdr: bool) -> Path:
    hdr = entry.get("hdr_path")
    if prefer_hdr and isinstance(hdr, str):
        path = inside(folder, hdr)
        if path.is_file():
            return path
    for suffix in _PICTURE_SUFFIXES:
        path = inside(folder, entry["file_path"] + suffix)
        if path.is_file():
            return path
    raise UserError(f"{where}: no picture {entry['file_path']} (or .png) in {folder}; check file_path")


def _intrinsics(settings: dict[str, Any], where: str) -> Intrinsics:
    """From the pixel figures where they are complete, else from the horizontal angle alone."""
    if all(key in settings for key in ("fl_x", "w", "h")):
        width, height, fx = (positive(settings[key], f"{where}, {key}") for key in ("w", "h", "fl_x"))
        fy = positive(settings.get("fl_y", fx), f"{where}, fl_y")
        cx = one_number(settings.get("cx", 0.5 * width), f"{where}, cx")
        cy = one_number(settings.get("cy", 0.5 * height), f"{where}, cy")
        return pixel_intrinsics(fx, fy, cx, cy, width, height)
    if "camera_angle_x" not in settings:
        raise UserError(f"{where}: expected camera_angle_x, or fl_x with w and h")
    angle = positive(settings["camera_angle_x"], f"{where}, camera_angle_x")
    if angle >= math.pi:
        raise UserError(f"{where}, camera_angle_x: expected radians below pi, got {angle:g}")
    return angle_intrinsics(angle)
