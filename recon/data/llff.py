"""LLFF folders with masks, in nvdiffrec's layout: poses_bounds.npy, images/, masks/."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon.data.frames import Frame, Matrix, pixel_intrinsics
from usd_tools.checked_values import checked_pose, numbers
from usd_tools.errors import UserError

HOLD_OUT_EVERY = 8  # the habit of LLFF and its followers, which have no split of their own
_SUFFIXES = {".png", ".jpg", ".jpeg"}


def llff_frames(folder: Path, split: str) -> list[Frame]:
    """Frames of `split`: "test" is every eighth picture in name order, from the first on, "train" the rest.

    Poses are taken as they are: LLFF's world has no fixed up axis or scale.
    """
    rows = _read_poses(folder / "poses_bounds.npy")
    images = _pictures(folder / "images", len(rows))
    masks = _pictures(folder / "masks", len(rows))
    frames = [
        _frame(row, image, mask, f"{folder / 'poses_bounds.npy'}: row {i}")
        for i, (row, image, mask) in enumerate(zip(rows, images, masks))
    ]
    held_out = split == "test"
    return [frame for i, frame in enumerate(frames) if (i % HOLD_OUT_EVERY == 0) == held_out]


def _read_poses(path: Path) -> Matrix:
    try:
        rows = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy's reader of headers raises nearly everything
        raise UserError(f"{path}: expected a numpy array file ({error})") from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 17:
        raise UserError(f"{path}: expected an array of N rows of 17 numbers (3x5 pose, near, far)")
    return numbers(rows, str(path))


def _pictures(folder: Path, count: int) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one picture for each row of poses_bounds.npy")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if len(paths) != count:
        raise UserError(f"{folder}: holds {len(paths)} pictures, but poses_bounds.npy has {count} rows")
    return paths


def _frame(row: Matrix, image: Path, mask: Path, where: str) -> Frame:
    columns = row[:15].reshape(3, 5)
    down, right, back, position = columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3]
    height, width, focal = columns[:, 4]
    if min(height, width, focal) <= 0:
        raise UserError(f"{where}: expected height, width and focal length above 0")
    pose = checked_pose(np.stack([right, -down, back, position], axis=1), where)
    return Frame(image, mask, pose, pixel_intrinsics(focal, focal, 0.5 * width, 0.5 * height, width, height))
