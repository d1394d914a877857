"""A USD stage and its renders as a training dataset, with the artist's textures as ground truth.

    python usd_tools/usd_to_llff.py STAGE --images DIR_OR_PATTERN --out DATASET

Reading the stage needs pxr and numpy only, so this runs in Houdini's hython as well; the pictures are then
left to the training Python, which the environment variable SEPARATE_SPECIALIZE_PYTHON names.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from usd_tools.color import COLOR_SPACES
from usd_tools.console import parse_resolution, positive_integer, setup_logging
from usd_tools.dataset import MARKER
from usd_tools.dataset_job import DatasetJob, save_job
from usd_tools.errors import UserError, run_command
from usd_tools.files import refuse_foreign_folder
from usd_tools.plan_dataset import Request, plan_dataset
from usd_tools.render_pixels import ALPHA_KINDS

log = logging.getLogger(__name__)

PYTHON_VARIABLE = "SEPARATE_SPECIALIZE_PYTHON"


SEVERAL_CAMERAS = """\
Pictures of several cameras are told apart by <camera> in the pattern, as in "renders/<camera>.####.exr",
"renders/<camera>/beauty.####.exr" or, for one picture each, "renders/<camera>.exr"; or by folders: DIR then
holds one per camera. <camera> is the prim's name, or where two cameras share it the path: rig.left.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="usd_to_llff",
        description="Convert a USD stage and its renders to a dataset (LLFF, NeRF transforms, ground truth).",
        epilog=SEVERAL_CAMERAS,
    )
    parser.add_argument("stage", metavar="STAGE", help="USD file the renders were made from")
    parser.add_argument(
        "--images",
        metavar="DIR_OR_PATTERN",
        help="renders with alpha or --masks: a folder with one sequence, or a pattern (%%04d, ####, $F4)",
    )
    parser.add_argument(
        "--masks",
        metavar="DIR_OR_PATTERN",
        help="pictures of the object's mask (white is the object) to use instead of the renders' alpha",
    )
    parser.add_argument("--out", metavar="DATASET", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--camera",
        metavar="PRIM",
        action="extend",
        nargs="+",
        default=[],
        help="a camera, or a prim with cameras below it; may be repeated; default: the stage's only camera, "
        "or those of its render settings",
    )
    parser.add_argument(
        "--object",
        metavar="PRIM",
        help="what to recover: a mesh, or a prim with all its meshes below; default: the only visible mesh",
    )
    parser.add_argument(
        "--variant", metavar="SET=CHOICE", action="extend", nargs="+", default=[], help="variants to choose"
    )
    parser.add_argument(
        "--frames",
        metavar="SPEC",
        help="1:50, 1:50:2, 1,5,9 or 1:2:0.25; default: the stage's time range, else its animation's "
        "samples, else all pictures",
    )
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--test-frames", metavar="SPEC", help="frames to hold out, added if not selected")
    held_out.add_argument(
        "--test-every",
        metavar="N",
        type=positive_integer,
        help="hold out every Nth selected frame, or of several cameras every Nth picture, camera by camera",
    )
    parser.add_argument("--resolution", metavar="WxH", help="reduce the pictures to this size")
    parser.add_argument(
        "--colorspace",
        metavar="NAME",
        choices=COLOR_SPACES,
        help=f"of the renders: {', '.join(COLOR_SPACES)}; default: what the files say",
    )
    parser.add_argument(
        "--alpha",
        choices=ALPHA_KINDS,
        default="auto",
        help="whether the renders' color is premultiplied with alpha (associated) or not (straight); "
        "default: associated in EXR, straight in all else",
    )
    parser.add_argument("--no-normalize", action="store_true", help="keep the stage's own position and scale")
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument(
        "--no-ground-truth", action="store_true", help="write neither textures nor light probe"
    )
    truth.add_argument("--ground-truth-only", action="store_true", help="write no pictures and poses")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    setup_logging()
    if options.ground_truth_only == (options.images is not None):
        raise UserError("give either --images (with the renders) or --ground-truth-only")
    if options.masks is not None and options.images is None:
        raise UserError("--masks: expected --images as well, the renders that the masks belong to")
    refuse_foreign_folder(options.out, MARKER)  # before the work, not after it
    job = plan_dataset(
        Request(
            stage=options.stage,
            images=options.images,
            masks=options.masks,
            alpha=options.alpha,
            cameras=options.camera,
            object=options.object,
            variants=options.variant,
            frames=options.frames,
            test_frames=options.test_frames,
            test_every=options.test_every,
            resolution=parse_resolution(options.resolution) if options.resolution else None,
            color_space=options.colorspace,
            normalize=not options.no_normalize,
            ground_truth=not options.no_ground_truth,
        )
    )
    code = run_pixel_part(job, options.out)
    if code == 0 and not job.frames:
        log.info("%s: ground truth of %s", options.out, job.description["object"])
    elif code == 0:
        held_out = sum(frame.split == "test" for frame in job.frames)
        log.info("%s: %d training and %d test frames", options.out, len(job.frames) - held_out, held_out)
    return code


def run_pixel_part(job: DatasetJob, out: Path) -> int:
    """Writes the dataset here where the picture libraries are, else in the training Python; the exit code.

    Raises:
        UserError: the libraries are missing and no other Python is named; or as `pixel_job.run_job`.
    """
    if _can_read_pictures():
        from usd_tools.pixel_job import run_job

        run_job(job, out)
        return 0
    python = os.environ.get(PYTHON_VARIABLE)
    if not python:
        raise UserError(
            f"this Python cannot read pictures (no OpenEXR, imageio); set {PYTHON_VARIABLE} to the python "
            "of the training environment, e.g. .venv/bin/python"
        )
    # Houdini's own settings would make the other Python load Houdini's libraries.
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    with tempfile.TemporaryDirectory(prefix="usd_to_llff_") as folder:
        save_job(job, Path(folder))
        command = [
            python,
            str(Path(__file__).with_name("pixel_job.py")),
            folder,
            "--out",
            str(out.absolute()),
        ]
        try:
            return subprocess.run(command, env=environment).returncode
        except OSError as error:
            raise UserError(f"{PYTHON_VARIABLE}={python}: cannot be started ({error.strerror})") from None


def _can_read_pictures() -> bool:
    try:
        import imageio  # noqa: F401  (brings Pillow)
        import OpenEXR  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    run_command(main)
