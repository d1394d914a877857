"""The pixel part of usd_to_llff: pictures and ground truth of a job that the stage part left in a folder.

Needs OpenEXR and imageio, not pxr. It runs in the converting process where these import, else (in Houdini) as

    PYTHON usd_tools/pixel_job.py JOB_FOLDER --out DATASET
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from usd_tools.console import progress, setup_logging
from usd_tools.dataset import MARKER, frame_intrinsics, write_json, write_poses_bounds, write_transforms
from usd_tools.dataset_job import DatasetJob, FrameJob, load_job
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_folder
from usd_tools.ground_truth import write_ground_truth
from usd_tools.images import write_exr, write_png
from usd_tools.render_pixels import display_color, guess_color_space, read_render

log = logging.getLogger(__name__)


def run_job(job: DatasetJob, out: Path) -> None:
    """Writes the dataset `job` describes; `out` appears complete or not at all.

    Raises:
        UserError: a picture or texture cannot be used, or `out` holds something else.
    """
    with atomic_folder(out, MARKER) as folder:
        description = dict(job.description)
        if job.frames:
            width, height, color_space = _write_pictures(folder, job)
            description.update(width=width, height=height)
            description["color_space"] = {"renders": color_space, "dataset": "lin_rec709"}
            write_poses_bounds(folder / "poses_bounds.npy", job.frames, width, height)
            for split in ("train", "test"):
                frames = [frame for frame in job.frames if frame.split == split]
                write_transforms(folder / f"transforms_{split}.json", frames, width, height, job.frames[0])
            _warn_of_principal_point(job.frames[0], width, height)
        if job.ground_truth:
            write_ground_truth(folder / "ground_truth", job.ground_truth)
        write_json(folder / MARKER, description)


def _write_pictures(folder: Path, job: DatasetJob) -> tuple[int, int, str]:
    """Converts the renders one by one; returns width, height and the color space they were read in."""
    for name in ("images", "masks", "rgba", "hdr"):
        (folder / name).mkdir()
    color_space = job.color_space or guess_color_space(job.frames[0].image)
    log.info(
        "renders are read as %s%s", color_space, "" if job.color_space else " (guessed; see --colorspace)"
    )
    size: tuple[int, int] | None = None
    for frame in progress(job.frames, len(job.frames), "pictures"):
        pixels = read_render(frame.image, color_space, job.resolution)
        height, width = pixels.shape[:2]
        if size is None:
            size = width, height
        elif size != (width, height):
            raise UserError(
                f"{frame.image}: is {width}x{height}, {job.frames[0].image} is {size[0]}x{size[1]}; "
                "expected pictures of one size"
            )
        color, mask = display_color(pixels), pixels[..., 3]
        write_png(folder / "images" / f"{frame.name}.png", color)
        write_png(folder / "masks" / f"{frame.name}.png", mask)
        write_png(folder / "rgba" / f"{frame.name}.png", np.concatenate([color, mask[..., None]], axis=2))
        write_exr(folder / "hdr" / f"{frame.name}.exr", pixels)
    assert size is not None, "a job with frames has a first picture"
    return *size, color_space


def _warn_of_principal_point(frame: FrameJob, width: int, height: int) -> None:
    figures = frame_intrinsics(frame, width, height)
    if max(abs(figures["cx"] - width / 2), abs(figures["cy"] - height / 2)) > 1e-3:
        log.warning(
            "the camera has aperture offsets, which poses_bounds.npy cannot tell; read the transforms"
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The pixel part of usd_to_llff, for pythons without pxr.")
    parser.add_argument("job", type=Path, help="folder with job.json, as usd_to_llff leaves it")
    parser.add_argument("--out", type=Path, required=True, help="dataset to write")
    options = parser.parse_args(arguments)
    setup_logging()
    run_job(load_job(options.job), options.out)


if __name__ == "__main__":
    run_command(main)
