"""The pixel part of usd_to_llff: pictures and ground truth of a job that the stage part left in a folder.

Needs OpenEXR and imageio, not pxr. It runs in the converting process where these import, else (in Houdini) as

    PYTHON usd_tools/pixel_job.py JOB_FOLDER --out DATASET
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from usd_tools.color_identification import guess_color_space, identify_color_space
from usd_tools.console import progress, setup_logging
from usd_tools.convert_pictures import AOV_FOLDER, FOLDERS, Conversion, Converted, Picture, convert_pictures
from usd_tools.dataset import MARKER, frame_intrinsics, write_json, write_poses_bounds, write_transforms
from usd_tools.dataset_job import DatasetJob, FrameJob, load_job
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_folder
from usd_tools.ground_truth import write_ground_truth
from usd_tools.render_pixels import RenderReading

log = logging.getLogger(__name__)


def run_job(job: DatasetJob, out: Path) -> None:
    """Writes the dataset `job` describes; `out` appears complete or not at all.

    Raises:
        UserError: a picture or texture cannot be used, or `out` holds something else.
    """
    with atomic_folder(out, MARKER) as folder:
        description = dict(job.description)
        if job.frames:
            color_space = _color_space(job)
            first, aovs = _write_pictures(folder, job, color_space)
            width, height = first.width, first.height
            description.update(width=width, height=height)
            description["color_space"] = {"renders": color_space, "dataset": "lin_rec709"}
            description["aovs"] = {name: f"{AOV_FOLDER}/{name}" for name in aovs}
            write_poses_bounds(folder / "poses_bounds.npy", job.frames, width, height)
            for split in ("train", "test"):
                frames = [frame for frame in job.frames if frame.split == split]
                write_transforms(folder / f"transforms_{split}.json", frames, width, height, job.frames[0])
            _warn_of_lenses(job.frames, width, height)
        if job.ground_truth:
            write_ground_truth(folder / "ground_truth", job.ground_truth)
        write_json(folder / MARKER, description)


def _color_space(job: DatasetJob) -> str:
    """The color space of the renders, told in the log with its reason."""
    first = job.frames[0].image
    if job.color_space is None:
        space = guess_color_space(first)
        log.info("renders are read as %s: %s", space, identify_color_space(first).source)
        return space
    log.info("renders are read as %s", job.color_space)
    identity = identify_color_space(first)
    if identity.certain and identity.space != job.color_space:
        log.warning("--colorspace %s: but in %s the %s", job.color_space, first, identity.source)
    return job.color_space


def _write_pictures(folder: Path, job: DatasetJob, color_space: str) -> tuple[Converted, list[str]]:
    """Converts the renders; returns the facts of the first and the auxiliary pictures that all have."""
    for name in FOLDERS:
        (folder / name).mkdir()
    pictures = [Picture(frame.name, frame.image, frame.mask) for frame in job.frames]
    how = Conversion(RenderReading(color_space, job.resolution, job.alpha), guessed=job.color_space is None)
    results: list[Converted] = []
    for picture, result in zip(
        pictures, progress(convert_pictures(pictures, folder, how), len(pictures), "pictures")
    ):
        results.append(result)
        first = results[0]
        if (result.width, result.height) != (first.width, first.height):
            raise UserError(
                f"{picture.image}: is {result.width}x{result.height}, {pictures[0].image} is "
                f"{first.width}x{first.height}; expected pictures of one size"
            )
    if straight := sum(result.looks_straight for result in results):
        log.warning(
            "%d of %d renders have color where alpha is 0; if that is no glow, convert with --alpha straight",
            straight,
            len(results),
        )
    return results[0], _complete_aovs(folder, results)


def _complete_aovs(folder: Path, results: list[Converted]) -> list[str]:
    """The auxiliary pictures that every render has; those of some renders only are taken away."""
    some = sorted({name for result in results for name in result.aovs})
    every = [name for name in some if all(name in result.aovs for result in results)]
    for name in set(some).difference(every):
        log.warning("only some renders have %s, so it is left out", name)
        shutil.rmtree(folder / AOV_FOLDER / name)
    if some and not every:
        (folder / AOV_FOLDER).rmdir()
    return every


def _warn_of_lenses(frames: Sequence[FrameJob], width: int, height: int) -> None:
    """Says what readers miss that know poses_bounds.npy, or one camera_angle_x for all pictures, only."""
    every = [frame_intrinsics(frame, width, height) for frame in frames]
    if any(max(abs(f["cx"] - width / 2), abs(f["cy"] - height / 2)) > 1e-3 for f in every):
        log.warning("there are aperture offsets, which poses_bounds.npy cannot tell; read the transforms")
    if any(abs(f["fl_x"] / f["fl_y"] - 1) > 1e-6 for f in every):
        log.warning("pixels are not square, which poses_bounds.npy cannot tell; read the transforms")
    if any(figures != every[0] for figures in every):
        log.info("lenses differ between pictures: the transforms tell fl_x, fl_y, cx and cy for each")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The pixel part of usd_to_llff, for pythons without pxr.")
    parser.add_argument("job", type=Path, help="folder with job.json, as usd_to_llff leaves it")
    parser.add_argument("--out", type=Path, required=True, help="dataset to write")
    options = parser.parse_args(arguments)
    setup_logging()
    run_job(load_job(options.job), options.out)


if __name__ == "__main__":
    run_command(main)
