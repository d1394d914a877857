"""Renders a stage's frames as scene-linear EXR, one file per frame: NAME.FRAME.exr, NAME being the stage's.

    python usd_tools/render_turntable.py scene.usda --out renders --resolution 512x512 --samples 128

Several cameras get a folder each, named as the camera is; usd_to_llff.py finds them by --images renders.

Mitsuba (the default) path traces meshes with the looks and lights that usd_to_llff.py understands: half float
RGBA, Rec.709, associated alpha, light hidden. husk renders with Houdini, in Houdini's rendering color space:
ACEScg by default.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file from a clone
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from usd_tools.camera_selection import camera_frames, camera_labels, find_cameras
from usd_tools.console import parse_resolution, positive_integer, progress, setup_logging
from usd_tools.errors import UserError, run_command
from usd_tools.frames import parse_frames
from usd_tools.render_settings import PictureFormat, picture_format, stage_settings
from usd_tools.stage import open_stage, save_variant_choice

log = logging.getLogger(__name__)

DEFAULT_SAMPLES = 64
DEFAULT_RESOLUTION = (512, 512)


@dataclass(frozen=True)
class Take:
    """All pictures through one camera. files: one per frame. size: width and height in pixels."""

    camera: Any
    frames: tuple[float, ...]
    files: tuple[Path, ...]
    size: tuple[int, int]
    shape: PictureFormat


def render_turntable(
    stage_path: str | Path,
    out: str | Path,
    *,
    renderer: str = "mitsuba",
    cameras: Sequence[str] = (),
    variants: Sequence[str] = (),
    frames: str | None = None,
    resolution: tuple[int, int] | None = None,
    samples: int | None = None,
    mitsuba_variant: str = "scalar_rgb",
    seed: int = 0,
) -> list[Path]:
    """Renders the frames of `stage_path` into the folder `out`; returns the files, camera by camera.

    cameras: prim paths; none for what `find_cameras` chooses. variants: `SET=CHOICE` of the stage. frames: a
    SPEC; None for each camera's own (see `camera_frames`). resolution: width, height; None for that of the
    stage's render settings, else DEFAULT_RESOLUTION. samples: paths per pixel; None for DEFAULT_SAMPLES, or
    with husk for the stage's own. seed: of Mitsuba's noise.

    Raises:
        UserError: unusable input, or a renderer that is missing or fails.
    """
    if renderer not in ("mitsuba", "husk"):
        raise UserError(f"--renderer {renderer}: expected mitsuba or husk")
    stage = open_stage(stage_path, variants)
    takes = plan_takes(stage, Path(out), Path(stage_path).stem, cameras, frames, resolution)
    if renderer == "husk":
        _render_with_husk(stage, Path(stage_path), takes, samples, bool(variants))
    else:
        _path_trace(stage, takes, samples or DEFAULT_SAMPLES, mitsuba_variant, seed)
    return [file for take in takes for file in take.files]


def plan_takes(
    stage: Any,
    out: Path,
    name: str,
    cameras: Sequence[str] = (),
    frames: str | None = None,
    resolution: tuple[int, int] | None = None,
) -> list[Take]:
    """What to render, see `render_turntable`. Files are `out`/NAME.FRAME.exr, with a folder for each camera
    where there are several; if a frame lies between two others, as NAME.0001.500.exr.

    Raises:
        UserError: the stage names no camera or no frames, or files cannot be named by them.
    """
    chosen = find_cameras(stage, cameras)
    takes = []
    for camera, label in zip(chosen, camera_labels(stage, chosen)):
        numbers = _frames_to_render(stage, camera, frames)
        width = 8 if any(frame % 1 for frame in numbers) else 4
        digits = f"0{width}.{3 if width == 8 else 0}f"
        shape = picture_format(stage, str(camera.GetPath()), numbers[0])
        size = resolution or shape.resolution or DEFAULT_RESOLUTION
        if min(size) < 1:
            raise UserError(
                f"{shape.path}: resolution {size[0]} x {size[1]}; expected 1 x 1 or more; mend it or give "
                "--resolution"
            )
        folder = out / label if len(chosen) > 1 else out
        files = tuple(folder / f"{name}.{frame:{digits}}.exr" for frame in numbers)
        takes.append(Take(camera, tuple(numbers), files, size, shape))
    return takes


def _frames_to_render(stage: Any, camera: Any, spec: str | None) -> list[float]:
    frames = camera_frames(stage, camera) if spec is None else parse_frames(spec)
    if frames is None:
        name = stage.GetRootLayer().GetDisplayName()
        raise UserError(f"{name}: has no frame range and no animation; give the frames by --frames")
    odd = [frame for frame in frames if frame < 0 or frame != round(frame, 3)]
    if odd:
        raise UserError(
            f"--frames: {odd[0]:.10g} cannot name a file; expected numbers from 0 on, of at most 3 decimals"
        )
    return frames


def _render_with_husk(
    stage: Any, path: Path, takes: Sequence[Take], samples: int | None, with_variants: bool
) -> None:
    from usd_tools.husk import HuskJob, render_with_husk

    settings = stage_settings(stage)
    settings_path = str(settings.GetPath()) if settings else None
    with tempfile.TemporaryDirectory(prefix="render_turntable_") as folder:
        if with_variants:  # which husk cannot choose by itself
            path = save_variant_choice(stage, Path(folder) / f"{path.stem}.usda")
        for take in takes:
            job = HuskJob(path, str(take.camera.GetPath()), *take.size, settings_path, samples)
            render_with_husk(job, take.frames, take.files)


def _path_trace(stage: Any, takes: Sequence[Take], samples: int, mitsuba_variant: str, seed: int) -> None:
    from usd_tools.images import write_exr
    from usd_tools.mitsuba_scene import MitsubaScene, import_mitsuba
    from usd_tools.stage_rendering import read_camera, read_probe, read_surfaces, scene_varies

    import_mitsuba(mitsuba_variant)  # told before the stage is read
    reload = scene_varies(stage)
    loaded: tuple[float, MitsubaScene] | None = None
    pictures = [
        (frame, index, take, file)
        for index, take in enumerate(takes)
        for frame, file in zip(take.frames, take.files)
    ]
    pictures.sort(key=lambda picture: picture[:2])  # all cameras of a frame while its scene is loaded
    for frame, index, take, file in progress(pictures, len(pictures), "render"):
        if loaded is None or (reload and loaded[0] != frame):
            probe, rotation = read_probe(stage, frame)
            loaded = frame, MitsubaScene(read_surfaces(stage, frame), probe, rotation, mitsuba_variant)
        view = read_camera(take.camera, frame, take.size, take.shape)
        write_exr(file, loaded[1].render(view, samples, _noise_seed(seed, frame, index)))


def _noise_seed(seed: int, frame: float, camera: int) -> int:
    """Noise of its own for every picture."""
    return (seed + int(frame) + 65_537 * round(frame % 1 * 1000) + 100_000_007 * camera) % 2**32


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="render_turntable.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", metavar="STAGE", help="USD file")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the pictures")
    parser.add_argument("--renderer", choices=("mitsuba", "husk"), default="mitsuba")
    parser.add_argument(
        "--camera",
        metavar="PRIM",
        action="append",
        default=[],
        help="a camera, or a prim with cameras below it; may be repeated; default: the stage's only camera, "
        "or those of its render settings",
    )
    parser.add_argument(
        "--variant",
        metavar="SET=CHOICE",
        action="append",
        default=[],
        help="a variant of the stage to choose; may be repeated",
    )
    parser.add_argument(
        "--frames",
        metavar="SPEC",
        help="1:50, 1:50:2, 1,5,9 or 1:2:0.25; default: the stage's time range, else its animation's samples",
    )
    parser.add_argument(
        "--resolution", metavar="WxH", help="default: the stage's render settings, or 512x512"
    )
    parser.add_argument(
        "--samples",
        metavar="N",
        type=positive_integer,
        help=f"per pixel (default: mitsuba {DEFAULT_SAMPLES}, husk the stage's)",
    )
    parser.add_argument(
        "--mitsuba-variant",
        metavar="NAME",
        default="scalar_rgb",
        help="default %(default)s; the llvm ones abort with LLVM 14 to 16 on recent CPUs",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of Mitsuba's noise (default 0)")
    options = parser.parse_args(arguments)
    setup_logging()
    files = render_turntable(
        options.stage,
        options.out,
        renderer=options.renderer,
        cameras=options.camera,
        variants=options.variant,
        frames=options.frames,
        resolution=None if options.resolution is None else parse_resolution(options.resolution),
        samples=options.samples,
        mitsuba_variant=options.mitsuba_variant,
        seed=options.seed,
    )
    log.info("%d pictures: %s ... %s", len(files), files[0], files[-1].name)


if __name__ == "__main__":
    run_command(main)
