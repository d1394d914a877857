"""Opens a dataset folder of any of the three known formats."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recon.data.frames import log_camera_distances, read_views
from recon.data.llff import llff_frames
from recon.data.nerf import nerf_frames
from recon.data.own import own_frames
from recon.data.views import Views
from usd_tools.errors import UserError
from usd_tools.images import read_image

# The file that tells a format, most specific first: our own datasets have all three.
_FORMATS = {
    "dataset.json": own_frames,
    "transforms_train.json": nerf_frames,
    "poses_bounds.npy": llff_frames,
}


def load_views(
    folder: Path | str, split: Literal["train", "test"] = "train", resolution: int | None = None
) -> Views:
    """The views of `split`, at most `resolution` pixels along the longer side (None: as they are).

    Reads this project's own datasets (dataset.json), NeRF-synthetic folders (transforms_train.json) and
    LLFF folders with masks (poses_bounds.npy). "test" may be empty; "train" may not.

    Raises:
        UserError: the folder is none of these, or its content is not usable; see `read_views`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such dataset folder; give one with --data")
    for marker, list_frames in _FORMATS.items():
        if (folder / marker).is_file():
            frames = list_frames(folder, split)
            break
    else:
        raise UserError(f"{folder}: expected a dataset with {', '.join(_FORMATS)}; convert a stage first")
    if split == "train" and not frames:
        raise UserError(f"{folder}: has no training frames; convert it with more frames")
    views = read_views(frames, resolution, needs_background=split == "train")
    log_camera_distances(views, "training" if split == "train" else "held out")
    return views


def load_probe(path: Path | str) -> Tensor:
    """(H, W, 3) float32 lat-long radiance, scene-linear Rec.709, dataset frame; not negative, finite.

    path: an EXR or Radiance HDR, or a dataset folder, whose ground_truth/probe.exr is taken.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "ground_truth" / "probe.exr"
        if not path.is_file():
            raise UserError(
                f"{path}: the dataset has no light probe; give one with --set light.probe=FILE.exr, "
                "or learn the light with --set light.mode=learnt"
            )
    if path.suffix.lower() not in (".exr", ".hdr"):
        raise UserError(f"{path}: expected a light probe in high dynamic range (.exr or .hdr)")
    pixels = read_image(path)
    if pixels.shape[2] < 3:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    pixels = pixels[..., :3]
    if not np.isfinite(pixels).all():
        raise UserError(f"{path}: holds NaN or Inf pixels; write the probe again")
    return torch.from_numpy(np.maximum(pixels, 0.0).astype(np.float32))
