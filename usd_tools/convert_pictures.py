"""Renders to a dataset's pictures, on all cores where there is enough to do."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from usd_tools.color_identification import guess_color_space
from usd_tools.errors import UserError
from usd_tools.images import write_exr, write_png
from usd_tools.render_pixels import RenderReading, display_color, read_render
from usd_tools.threads import available_cores

FOLDERS = ("images", "masks", "rgba", "hdr")
AOV_FOLDER = "aovs"

MOST_WORKERS = 16
"""Processes at once: beyond, disks are the limit, and each holds a few uncompressed pictures."""

_WORTH_STARTING = 4.0
"""Seconds of work left that justify starting processes, each of which imports for half a second."""


@dataclass(frozen=True)
class Picture:
    """One render to convert. name: in the dataset. image, mask: files; mask None where alpha is it."""

    name: str
    image: str
    mask: str | None = None


@dataclass(frozen=True)
class Conversion:
    """How all pictures are converted. guessed: the color space is not the user's word."""

    reading: RenderReading
    guessed: bool = False


@dataclass(frozen=True)
class Converted:
    """What one picture turned out to be. aovs: names of those it has."""

    width: int
    height: int
    aovs: tuple[str, ...]
    looks_straight: bool


def convert_pictures(
    pictures: Sequence[Picture], folder: Path, how: Conversion, workers: int | None = None
) -> Iterator[Converted]:
    """Writes each picture into FOLDERS (and its auxiliary ones) below `folder`; yields in their order.

    workers: processes to use; None: as many as there are cores, if the work left after the first picture is
        worth it. Memory does not grow with the number of pictures.

    Raises:
        UserError: of the first picture, in their order, that cannot be used.
    """
    convert = partial(convert_picture, folder=folder, how=how)
    started = time.perf_counter()
    yield convert(pictures[0])
    rest = pictures[1:]
    if workers is None:
        worth = (time.perf_counter() - started) * len(rest) > _WORTH_STARTING
        workers = min(available_cores(), len(rest), MOST_WORKERS) if worth else 1
    if workers <= 1:
        yield from map(convert, rest)
        return
    # Spawned, not forked: the parent may hold threads, a GPU or an open stage.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _leave_interrupts_to_parent)
    try:
        yield from pool.map(convert, rest)
    except BrokenProcessPool:
        raise UserError(
            f"{Path(rest[0].image).parent}: a process that reads these pictures was ended from outside or "
            "crashed; expected enough memory and intact files"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def convert_picture(picture: Picture, folder: Path, how: Conversion) -> Converted:
    """Writes one picture in all of a dataset's forms."""
    color_space = how.reading.color_space
    if how.guessed and (own := guess_color_space(picture.image)) != color_space:
        raise UserError(
            f"{picture.image}: says that it is in {own}, the pictures before it in {color_space}; expected "
            "one color space, see --colorspace"
        )
    render = read_render(picture.image, how.reading, picture.mask)
    color, mask = display_color(render.pixels), render.pixels[..., 3]
    write_png(folder / "images" / f"{picture.name}.png", color)
    write_png(folder / "masks" / f"{picture.name}.png", mask)
    rgba = np.concatenate([color, mask[..., None]], axis=2)
    write_png(folder / "rgba" / f"{picture.name}.png", rgba)
    write_exr(folder / "hdr" / f"{picture.name}.exr", render.pixels)
    for aov, pixels in render.aovs.items():
        write_exr(folder / AOV_FOLDER / aov / f"{picture.name}.exr", pixels, half=aov != "depth")
    height, width = mask.shape
    return Converted(width, height, tuple(render.aovs), render.looks_straight)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
