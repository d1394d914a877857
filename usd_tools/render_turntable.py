"""Renders a stage's frames as scene-linear EXR, one file per frame: NAME.FRAME.exr, NAME being the stage's.

    python usd_tools/render_turntable.py scene.usda --out renders --resolution 512x512 --samples 128

Mitsuba (the default) path traces meshes with UsdPreviewSurface under a DomeLight: half float RGBA, Rec.709,
associated alpha, light hidden. husk renders with Houdini, in Houdini's rendering color space (ACEScg by
default: tell usd_to_llff.py by --colorspace).
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file from a clone
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from usd_tools.console import parse_resolution, positive_integer, progress, setup_logging
from usd_tools.errors import UserError, run_command
from usd_tools.frames import parse_frames
from usd_tools.stage import find_camera, open_stage, stage_frames

log = logging.getLogger(__name__)

DEFAULT_SAMPLES = 64
DEFAULT_RESOLUTION = (512, 512)


def render_turntable(
    stage_path: str | Path,
    out: str | Path,
    *,
    renderer: str = "mitsuba",
    camera: str | None = None,
    frames: str | None = None,
    resolution: tuple[int, int] | None = None,
    samples: int | None = None,
    variant: str = "scalar_rgb",
    seed: int = 0,
) -> list[Path]:
    """Renders the frames of `stage_path` into the folder `out`; returns the files in frame order.

    camera: prim path; None for the stage's only camera. frames: a SPEC; None for the stage's own range.
    resolution: width, height; None for that of the stage's render settings, else DEFAULT_RESOLUTION.
    samples: paths per pixel; None for DEFAULT_SAMPLES (husk: for the stage's own). variant, seed: Mitsuba's.

    Raises:
        UserError: unusable input, or a renderer that is missing or fails.
    """
    stage = open_stage(stage_path)
    camera_prim = find_camera(stage, camera)
    numbers = select_frames(stage, camera_prim, frames)
    settings, authored = _render_settings(stage)
    width, height = resolution or authored or DEFAULT_RESOLUTION
    if min(width, height) < 1:
        raise UserError(
            f"{settings}: resolution {width} x {height}; expected 1 x 1 or more; mend it or give --resolution"
        )
    name = Path(stage_path).stem
    if renderer == "husk":
        from usd_tools.husk import HuskJob, render_with_husk

        job = HuskJob(Path(stage_path), str(camera_prim.GetPath()), width, height, settings, samples)
        return render_with_husk(job, numbers, Path(out), name)
    if renderer != "mitsuba":
        raise UserError(f"--renderer {renderer}: expected mitsuba or husk")
    files = [Path(out) / f"{name}.{number:04d}.exr" for number in numbers]
    _path_trace(
        stage, camera_prim, numbers, files, (width, height), samples or DEFAULT_SAMPLES, variant, seed
    )
    return files


def _path_trace(
    stage: Any,
    camera: Any,
    frames: Sequence[int],
    files: Sequence[Path],
    size: tuple[int, int],
    samples: int,
    variant: str,
    seed: int,
) -> None:
    from usd_tools.images import write_exr
    from usd_tools.mitsuba_scene import MitsubaScene, import_mitsuba
    from usd_tools.stage_rendering import read_camera, read_probe, read_surfaces, scene_varies

    import_mitsuba(variant)  # told before the stage is read
    reload = scene_varies(stage)
    scene: MitsubaScene | None = None
    for frame, file in progress(zip(frames, files), len(frames), "render"):
        if scene is None or reload:
            probe, rotation = read_probe(stage, frame)
            scene = MitsubaScene(read_surfaces(stage, frame), probe, rotation, variant)
        view = read_camera(stage, camera, frame, *size)
        write_exr(file, scene.render(view, samples, (seed + frame) % 2**32))


def select_frames(stage: Any, camera: Any, spec: str | None) -> list[int]:
    """The frame numbers to render: those of `spec`, or the stage's own.

    Raises:
        UserError: the stage names none, or one is negative or not whole (files are named by them).
    """
    frames = stage_frames(stage, camera) if spec is None else parse_frames(spec)
    if frames is None:
        name = stage.GetRootLayer().GetDisplayName()
        raise UserError(f"{name}: has no frame range and no animated camera; name the frames by --frames")
    odd = [frame for frame in frames if frame < 0 or frame != int(frame)]
    if odd:
        raise UserError(f"--frames: {odd[0]:g} is not a whole number from 0 on; files are named by frame")
    return [int(frame) for frame in frames]


def _render_settings(stage: Any) -> tuple[str | None, tuple[int, int] | None]:
    """The path of the stage's RenderSettings and the resolution authored there."""
    from pxr import UsdRender

    settings = UsdRender.Settings.GetStageRenderSettings(stage)
    if not settings:
        return None, None
    attribute = settings.GetResolutionAttr()
    size = attribute.Get() if attribute.HasAuthoredValue() else None
    return str(settings.GetPath()), (int(size[0]), int(size[1])) if size else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="render_turntable.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", metavar="STAGE", help="USD file")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the pictures")
    parser.add_argument("--renderer", choices=("mitsuba", "husk"), default="mitsuba")
    parser.add_argument("--camera", metavar="PRIM", help="default: the stage's only camera")
    parser.add_argument("--frames", metavar="SPEC", help="1:50, 1:50:2 or 1,5,9 (default: the stage's range)")
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
        "--variant",
        default="scalar_rgb",
        help="Mitsuba's variant (default %(default)s; the llvm ones abort with LLVM 14 to 16 on recent CPUs)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of Mitsuba's noise (default 0)")
    options = parser.parse_args(arguments)
    setup_logging()
    files = render_turntable(
        options.stage,
        options.out,
        renderer=options.renderer,
        camera=options.camera,
        frames=options.frames,
        resolution=None if options.resolution is None else parse_resolution(options.resolution),
        samples=options.samples,
        variant=options.variant,
        seed=options.seed,
    )
    log.info("%d frames: %s ... %s", len(files), files[0], files[-1].name)


if __name__ == "__main__":
    run_command(main)
