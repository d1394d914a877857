"""Photographs that COLMAP has posed, as a training dataset.

python usd_tools/colmap_to_dataset.py MODEL --images DIR --masks DIR --out DATASET
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import numpy.typing as npt

from usd_tools.cameras import Lens
from usd_tools.checking.projection import Cameras
from usd_tools.checking.silhouettes import object_bounds
from usd_tools.colmap_model import ColmapImage, read_colmap
from usd_tools.color import COLOR_SPACES
from usd_tools.color_identification import guess_color_space
from usd_tools.console import parse_resolution, positive_integer, progress, setup_logging
from usd_tools.dataset import MARKER, SCHEMA_VERSION, rows
from usd_tools.dataset_job import DatasetJob, FrameJob
from usd_tools.errors import UserError, run_command
from usd_tools.files import inside, refuse_foreign_folder
from usd_tools.matrices import Matrix, unit
from usd_tools.normalization import HALF_EXTENT, pose_to_dataset
from usd_tools.render_pixels import ALPHA_KINDS, RenderReading, read_render
from usd_tools.resampling import resize_box

log = logging.getLogger(__name__)

_BOUNDS_SIZE = 256
"""Pixels along the longer side of the masks from which the object's place is found."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="colmap_to_dataset",
        description="Convert a COLMAP text model (PINHOLE or SIMPLE_PINHOLE cameras, that is, undistorted "
        "pictures) and its pictures to a dataset. The object is centered, scaled and set upright by masks "
        "and cameras.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="folder with cameras.txt and images.txt")
    parser.add_argument(
        "--images", metavar="DIR", type=Path, required=True, help="folder that the model's image names are in"
    )
    parser.add_argument(
        "--masks",
        metavar="DIR",
        type=Path,
        help="folder with a mask per picture, NAME.png or NAME.EXT.png (white is the object); default: alpha",
    )
    parser.add_argument("--out", metavar="DATASET", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--test-every", metavar="N", type=positive_integer, help="hold out every Nth picture, by name"
    )
    parser.add_argument("--resolution", metavar="WxH", help="reduce the pictures to this size")
    parser.add_argument("--colorspace", metavar="NAME", choices=COLOR_SPACES, help=", ".join(COLOR_SPACES))
    parser.add_argument("--alpha", choices=ALPHA_KINDS, default="auto", help="as in usd_to_llff")
    parser.add_argument("--no-normalize", action="store_true", help="keep the model's own position and scale")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    setup_logging()
    refuse_foreign_folder(options.out, MARKER)
    job = plan_colmap_dataset(options)
    from usd_tools.pixel_job import run_job

    run_job(job, options.out)
    held_out = sum(frame.split == "test" for frame in job.frames)
    log.info("%s: %d training and %d test frames", options.out, len(job.frames) - held_out, held_out)
    return 0


def plan_colmap_dataset(options: argparse.Namespace) -> DatasetJob:
    """Reads the model and its masks; see `build_parser` for the options.

    Raises:
        UserError: the model, a picture or a mask is missing or unusable, or no picture is left to train on.
    """
    images = read_colmap(options.model)
    if options.test_every == 1 or (options.test_every and len(images) == 1):
        raise UserError("no training frame is left: hold out fewer (--test-every)")
    if any(image.size != images[0].size for image in images):
        raise UserError(f"{options.model}: pictures of different sizes; expected one size")
    pictures = [_existing(options.images, [image.name], "--images") for image in images]
    masks: list[Path | None] = [None] * len(images)
    if options.masks is not None:
        masks = [
            _existing(
                options.masks, [str(Path(image.name).with_suffix(".png")), f"{image.name}.png"], "--masks"
            )
            for image in images
        ]
    reading = RenderReading(options.colorspace or guess_color_space(pictures[0]), alpha=options.alpha)
    cameras, found = _small_masks(images, pictures, masks, reading)
    center, radius = object_bounds(cameras, found)
    similarity = np.eye(4) if options.no_normalize else upright_similarity(cameras, center, radius)
    frames = _frames(images, pictures, masks, options.test_every)
    moved = similarity[:3, :3] @ center + similarity[:3, 3]
    size = np.cbrt(np.linalg.det(similarity[:3, :3])) * radius
    frames = [_placed(frame, similarity, moved, size) for frame in frames]
    description = _description(options.model, images, frames, similarity)
    resolution = parse_resolution(options.resolution) if options.resolution else None
    return DatasetJob(description, tuple(frames), options.colorspace, resolution, None, options.alpha)


def _existing(folder: Path, names: Sequence[str], option: str) -> Path:
    for name in names:
        path = inside(folder, name)
        if path.is_file():
            return path
    raise UserError(f"{option} {folder}: has no {' or '.join(names)}; check the folder")


def _small_masks(
    images: Sequence[ColmapImage],
    pictures: Sequence[Path],
    masks: Sequence[Path | None],
    reading: RenderReading,
) -> tuple[Cameras, npt.NDArray[np.bool_]]:
    width, height = images[0].size
    scale = min(1.0, _BOUNDS_SIZE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    found = []
    for picture, mask in progress(list(zip(pictures, masks)), len(pictures), "masks"):
        alpha = read_render(picture, reading, mask).pixels[..., 3:]
        if alpha.shape[:2] != (height, width):
            raise UserError(
                f"{picture}: is {alpha.shape[1]}x{alpha.shape[0]}, its camera in the model is "
                f"{width}x{height}; expected the pictures that the model was made from"
            )
        found.append(resize_box(alpha, *size)[..., 0] > 0.5)
    factors = np.tile([size[0] / width, size[1] / height], 2)
    intrinsics = np.array([image.intrinsics for image in images]) * factors
    return Cameras(np.stack([image.camera_to_world for image in images]), intrinsics, size), np.stack(found)


def upright_similarity(cameras: Cameras, center: npt.NDArray[np.float64], radius: float) -> Matrix:
    """(4, 4) that takes the model's world to the dataset frame.

    The ball around the object comes to the origin with radius HALF_EXTENT, and the cameras' mean up direction
    to +Y by the smallest turn.
    """
    up = unit(cameras.camera_to_world[:, :3, 1].mean(axis=0))
    axis, cosine = np.cross(up, [0, 1, 0]), float(up[1])
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    if cosine < -1 + 1e-9:  # upside down: half a turn about x
        turn = np.diag([1.0, -1.0, -1.0])
    else:
        turn = np.eye(3) + skew + skew @ skew / (1 + cosine)
    similarity = np.eye(4)
    similarity[:3, :3] = HALF_EXTENT / radius * turn
    similarity[:3, 3] = -similarity[:3, :3] @ center
    return similarity


def _frames(
    images: Sequence[ColmapImage],
    pictures: Sequence[Path],
    masks: Sequence[Path | None],
    test_every: int | None,
) -> list[FrameJob]:
    digits = max(4, len(str(len(images))))
    return [
        FrameJob(
            name=f"frame_{index + 1:0{digits}d}",
            frame=float(index + 1),
            camera=image.name,
            split="test" if test_every and index % test_every == 0 else "train",
            image=str(picture),
            camera_to_world=image.camera_to_world,
            light_rotation=np.eye(3),
            lens=_lens(image),
            near=0.0,
            far=0.0,
            mask=str(mask) if mask else None,
        )
        for index, (image, picture, mask) in enumerate(zip(images, pictures, masks))
    ]


def _lens(image: ColmapImage) -> Lens:
    """A lens with these pixel figures, in pixels of the picture's width."""
    fx, fy, cx, cy = image.intrinsics
    width, height = image.size
    vertical = height * fx / fy
    return Lens(
        focal_length=fx,
        horizontal_aperture=width,
        vertical_aperture=vertical,
        horizontal_offset=(0.5 - cx / width) * width,
        vertical_offset=(cy / height - 0.5) * vertical,
        policy="adjustPixelAspectRatio",
    )


def _placed(frame: FrameJob, similarity: Matrix, center: npt.NDArray[np.float64], radius: float) -> FrameJob:
    pose = pose_to_dataset(similarity, frame.camera_to_world)
    depth = float((pose[:3, 3] - center) @ pose[:3, 2])
    if depth + radius <= 0:
        raise UserError(f"{frame.image}: the object lies behind its camera; check model and masks")
    return replace(
        frame, camera_to_world=pose, near=max(depth - radius, 1e-3 * (depth + radius)), far=depth + radius
    )


def _description(
    model: Path, images: Sequence[ColmapImage], frames: Sequence[FrameJob], similarity: Matrix
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "source_stage": None,
        "source_model": str(model.resolve()),
        "up_axis": "Y",
        "metersPerUnit": 1.0,
        "object": None,
        "cameras": [],
        "variants": [],
        "reference_frame": 1,
        "frames": [
            {"name": frame.name, "frame": int(frame.frame), "camera": image.name, "split": frame.split}
            for frame, image in zip(frames, images)
        ],
        "stage_to_dataset": rows(similarity),
        "light_probe": None,
    }


if __name__ == "__main__":
    run_command(main)
