"""The views of a dataset folder, not decoded yet: this project's own, NeRF transforms, or LLFF with masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.checked_values import Matrix, checked_pose, numbers, one_number, positive, read_json
from usd_tools.errors import UserError
from usd_tools.files import inside
from usd_tools.images import Pixels, read_png
from usd_tools.normalization import Y_UP_TO_Z_UP

_SPLITS = ("train", "test", "val")
_PICTURE_SUFFIXES = ("", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class View:
    """One picture and its camera.

    name: without folder and suffix. split: "train", "test" or "val"; "train" where the format has none.
    picture: 8-bit sRGB. mask: None where the picture's alpha is it. hdr: the scene-linear EXR, if any.
    camera_to_world: (4, 4) OpenGL camera, in the dataset's Y-up frame. intrinsics: fx, fy, cx, cy in pixels
    from the picture's top-left edge. size: width and height.
    """

    name: str
    split: str
    picture: Path
    mask: Path | None
    hdr: Path | None
    camera_to_world: Matrix
    intrinsics: tuple[float, float, float, float]
    size: tuple[int, int]


def read_views(folder: str | Path) -> list[View]:
    """All views of a dataset, in the order of their names.

    Raises:
        UserError: the folder is no dataset, or a file is malformed or names pictures that are not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such dataset folder; check the path")
    files = [(split, folder / f"transforms_{split}.json") for split in _SPLITS]
    present = [(split, path) for split, path in files if path.is_file()]
    if present:
        views = [view for split, path in present for view in _transforms(path, split)]
    elif (folder / "poses_bounds.npy").is_file():
        views = _llff(folder)
    else:
        raise UserError(
            f"{folder}: expected transforms_train.json or poses_bounds.npy in it; convert a stage first"
        )
    if not views:
        raise UserError(f"{folder}: holds no views; convert it with more frames")
    return sorted(views, key=lambda view: (view.name, view.split))


def _transforms(path: Path, split: str) -> list[View]:
    content = read_json(path)
    frames = content.get("frames")
    if not isinstance(frames, list):
        raise UserError(f"{path}: expected a list 'frames' of pictures and poses")
    views = []
    for i, entry in enumerate(frames):
        where = f"{path}: frame {i}"
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            raise UserError(f"{where}: expected an object with 'file_path' and 'transform_matrix'")
        picture = _existing(path.parent, entry["file_path"], _PICTURE_SUFFIXES, where)
        hdr = entry.get("hdr_path")
        exr = inside(path.parent, hdr) if isinstance(hdr, str) else None
        intrinsics, size = _intrinsics({**content, **entry}, picture, where)
        pose = checked_pose(entry.get("transform_matrix"), f"{where}, transform_matrix")
        views.append(
            View(
                picture.stem,
                split,
                picture,
                None,
                exr if exr is not None and exr.is_file() else None,
                Y_UP_TO_Z_UP.T @ pose,
                intrinsics,
                size,
            )
        )
    return views


def _existing(folder: Path, name: str, suffixes: Iterable[str], where: str) -> Path:
    for suffix in suffixes:
        path = inside(folder, name + suffix)
        if path.is_file():
            return path
    raise UserError(f"{where}: no picture {name} in {folder}; check file_path")


def _intrinsics(
    settings: dict[str, Any], picture: Path, where: str
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    if all(key in settings for key in ("fl_x", "w", "h")):
        width, height, fx = (positive(settings[key], f"{where}, {key}") for key in ("w", "h", "fl_x"))
        fy = positive(settings.get("fl_y", fx), f"{where}, fl_y")
        cx = one_number(settings.get("cx", 0.5 * width), f"{where}, cx")
        cy = one_number(settings.get("cy", 0.5 * height), f"{where}, cy")
        return (fx, fy, cx, cy), (int(width), int(height))
    if "camera_angle_x" not in settings:
        raise UserError(f"{where}: expected camera_angle_x, or fl_x with w and h")
    angle = positive(settings["camera_angle_x"], f"{where}, camera_angle_x")
    if angle >= np.pi:
        raise UserError(f"{where}, camera_angle_x: expected radians below pi, got {angle:g}")
    height, width = read_png(picture).shape[:2]
    focal = 0.5 * width / float(np.tan(0.5 * angle))
    return (focal, focal, 0.5 * width, 0.5 * height), (int(width), int(height))


def _llff(folder: Path) -> list[View]:
    path = folder / "poses_bounds.npy"
    try:
        rows = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy's reader of headers raises nearly everything
        raise UserError(f"{path}: expected a numpy array file ({error})") from None
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 17:
        raise UserError(f"{path}: expected an array of N rows of 17 numbers (3x5 pose, near, far)")
    pictures, masks = (_pictures(folder / name, len(rows)) for name in ("images", "masks"))
    views = []
    for i, (row, picture, mask) in enumerate(zip(numbers(rows, str(path)), pictures, masks)):
        down, right, back, position, (height, width, focal) = row[:15].reshape(3, 5).T
        where = f"{path}: row {i}"
        if min(height, width, focal) <= 0:
            raise UserError(f"{where}: expected height, width and focal length above 0")
        pose = checked_pose(np.stack([right, -down, back, position], axis=1), where)
        intrinsics = (float(focal), float(focal), 0.5 * float(width), 0.5 * float(height))
        size = (int(width), int(height))
        views.append(View(picture.stem, "train", picture, mask, None, pose, intrinsics, size))
    return views


def _pictures(folder: Path, count: int) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one picture for each row of poses_bounds.npy")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURE_SUFFIXES[1:])
    if len(paths) != count:
        raise UserError(f"{folder}: holds {len(paths)} pictures, but poses_bounds.npy has {count} rows")
    return paths


def read_picture(view: View) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """A view's straight sRGB color (H, W, 3) and mask (H, W), both in 0..1.

    Raises:
        UserError: a file cannot be read, has no mask, or another size than the camera.
    """
    stored = read_png(view.picture)
    color = stored[..., :3] if stored.shape[2] >= 3 else np.repeat(stored[..., :1], 3, axis=2)
    if view.mask is not None:
        mask = read_png(view.mask)
        coverage = mask[..., 0] * mask[..., -1] if mask.shape[2] in (2, 4) else mask[..., 0]
    elif stored.shape[2] in (2, 4):
        coverage = stored[..., -1]
    else:
        raise UserError(f"{view.picture}: has no alpha channel; expected the mask in alpha, or masks/")
    for path, shape in ((view.picture, color.shape[:2]), (view.mask, coverage.shape)):
        if shape != (view.size[1], view.size[0]):
            raise UserError(
                f"{path}: is {shape[1]}x{shape[0]} pixels, its camera is of {view.size[0]}x{view.size[1]}; "
                "write the dataset again"
            )
    return color, coverage
