"""From a list of frames (files and poses, whatever the dataset's format) to checked `Views`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm.auto import tqdm

from recon.data.cameras import Cameras
from recon.data.resize import Pixels, area_average, fitted_size
from recon.data.views import Views
from usd_tools.color import srgb_to_linear
from usd_tools.errors import UserError
from usd_tools.images import read_exr, read_png

_LOG = logging.getLogger(__name__)
_READERS = 2  # decoding keeps two threads busy beside the one that resizes

Matrix = npt.NDArray[np.float64]
# (width, height) of the picture -> fx, fy, cx, cy in its pixels
Intrinsics = Callable[[int, int], tuple[float, float, float, float]]


@dataclass(frozen=True)
class Frame:
    """One picture of a dataset, not read yet.

    image: an EXR (scene-linear, associated alpha) or an 8-bit picture (sRGB, straight alpha).
    mask: a picture of the coverage; None where the image's own alpha is it.
    camera_to_world: (4, 4), OpenGL camera, Y-up world.
    light_rotation: (3, 3), or None where the light stands still.
    """

    image: Path
    mask: Path | None
    camera_to_world: Matrix
    intrinsics: Intrinsics
    light_rotation: Matrix | None = None


def pixel_intrinsics(fx: float, fy: float, cx: float, cy: float, width: float, height: float) -> Intrinsics:
    """Focal lengths and principal point in pixels of a picture of `width` x `height`."""

    def scaled(actual_width: int, actual_height: int) -> tuple[float, float, float, float]:
        x, y = actual_width / width, actual_height / height
        return fx * x, fy * y, cx * x, cy * y

    return scaled


def angle_intrinsics(angle_x: float) -> Intrinsics:
    """Square pixels, centred principal point, horizontal field of view `angle_x` in radians."""

    def of_size(width: int, height: int) -> tuple[float, float, float, float]:
        focal = 0.5 * width / np.tan(0.5 * angle_x)
        return focal, focal, 0.5 * width, 0.5 * height

    return of_size


def read_views(frames: Sequence[Frame], resolution: int | None, *, needs_background: bool = True) -> Views:
    """Reads and checks the pictures of `frames`, at most `resolution` pixels along the longer side.

    needs_background: refuse a set whose masks are all completely filled, i.e. pictures without a mask.

    Raises:
        UserError: a picture is missing, unreadable, has no mask or an empty one, holds NaN or Inf, differs in
            size from the first, or is smaller than `resolution`.
    """
    if not frames:
        return Views.none()
    first, ldr = _read(frames[0])
    height, width = first.shape[:2]
    size = _target_size(frames[0].image, width, height, resolution)

    def load(frame: Frame) -> Pixels:
        pixels = _read(frame)[0]
        if pixels.shape[:2] != (height, width):
            raise UserError(
                f"{frame.image}: is {pixels.shape[1]}x{pixels.shape[0]} pixels, expected {width}x{height} "
                f"as {frames[0].image.name}; give pictures of one size"
            )
        return area_average(pixels, *size)

    images = torch.empty(len(frames), size[1], size[0], 4)
    with ThreadPoolExecutor(_READERS) as pool:
        try:
            bar = tqdm(pool.map(load, frames[1:]), desc="reading views", total=len(frames), initial=1,
                       unit="view", disable=None, leave=False)  # fmt: skip
            images[0] = torch.from_numpy(area_average(first, *size))
            for i, pixels in enumerate(bar, start=1):
                images[i] = torch.from_numpy(pixels)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if needs_background and bool((images[..., 3] >= 1.0).all()):
        raise UserError(
            f"{frames[0].image.parent}: every pixel of every picture is covered, so there is no mask; "
            "render with a transparent background"
        )
    return Views(
        _cameras(frames, width, height).resized(*size),
        images,
        tuple(frame.image.stem for frame in frames),
        _light_rotations(frames),
        ldr,
    )


def log_camera_distances(views: Views, label: str) -> None:
    """Says how far the cameras are from the origin, where the object is expected."""
    if len(views):
        distance = views.cameras.origins.norm(dim=1)
        _LOG.info(
            "%s: %d views of %dx%d, cameras %.3g to %.3g from the origin",
            label, len(views), views.cameras.width, views.cameras.height,
            float(distance.min()), float(distance.max()),
        )  # fmt: skip


def _target_size(path: Path, width: int, height: int, resolution: int | None) -> tuple[int, int]:
    if resolution is None:
        return width, height
    if resolution > max(width, height):
        raise UserError(
            f"train.resolution: is {resolution}, but {path} is {width}x{height}; "
            f"give at most {max(width, height)}, or null for the dataset's own"
        )
    return fitted_size(width, height, resolution)


def _read(frame: Frame) -> tuple[Pixels, bool]:
    """(H, W, 4) scene-linear with associated alpha, and whether the file is an 8-bit one."""
    ldr = frame.image.suffix.lower() != ".exr"
    if ldr:
        pixels = read_png(frame.image)
        coded, alpha = _straight(pixels, frame)
        color = srgb_to_linear(coded) * alpha
    else:
        pixels, channels, _ = read_exr(frame.image)
        if frame.mask is not None:
            raise UserError(f"{frame.image}: expected an 8-bit picture beside a mask file, got an EXR")
        if len(channels) != 4:
            raise UserError(
                f"{frame.image}: expected R, G, B and A, has {', '.join(channels)}; render alpha too"
            )
        color, alpha = pixels[..., :3], pixels[..., 3:]
    if not (np.isfinite(color).all() and np.isfinite(alpha).all()):
        raise UserError(f"{frame.image}: holds NaN or Inf pixels; render it again")
    alpha = np.clip(alpha, 0.0, 1.0)
    if not alpha.any():
        where = frame.mask if frame.mask is not None else frame.image
        raise UserError(f"{where}: the mask is empty, the object is not in the picture; leave the frame out")
    # Lossy compression leaves traces of color beside the object, and negative lobes on its edge.
    color = np.where(alpha > 0.0, np.maximum(color, 0.0), 0.0)
    return np.concatenate([color, alpha], axis=-1, dtype=np.float32), ldr


def _straight(pixels: Pixels, frame: Frame) -> tuple[Pixels, Pixels]:
    """sRGB color (H, W, 3) and mask (H, W, 1) of an 8-bit picture."""
    count = pixels.shape[2]
    color = pixels[..., :3] if count >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    if frame.mask is None:
        if count not in (2, 4):
            raise UserError(f"{frame.image}: expected RGBA with the mask as alpha; has no alpha channel")
        return color, pixels[..., -1:]
    mask = read_png(frame.mask)
    if mask.shape[:2] != pixels.shape[:2]:
        raise UserError(
            f"{frame.mask}: is {mask.shape[1]}x{mask.shape[0]} pixels, expected {pixels.shape[1]}x"
            f"{pixels.shape[0]} as {frame.image}; give a mask of the picture's size"
        )
    # A mask may come as grey, as color, or as (also) an alpha channel: white and opaque is the object.
    coverage = mask[..., :1] * mask[..., -1:] if mask.shape[2] in (2, 4) else mask[..., :1]
    return color, coverage


def _cameras(frames: Sequence[Frame], width: int, height: int) -> Cameras:
    poses = torch.from_numpy(np.stack([frame.camera_to_world for frame in frames])).float()
    figures = torch.tensor([frame.intrinsics(width, height) for frame in frames], dtype=torch.float32)
    return Cameras(poses, figures[:, :2].contiguous(), figures[:, 2:].contiguous(), width, height)


def _light_rotations(frames: Sequence[Frame]) -> torch.Tensor | None:
    rotations = np.stack(
        [np.eye(3) if frame.light_rotation is None else frame.light_rotation for frame in frames]
    )
    if np.allclose(rotations, np.eye(3), atol=1e-7):
        return None
    return torch.from_numpy(rotations).float()
