"""Whether a dataset is fit for training: masks against poses, picture quality, and coverage, as one page.

python usd_tools/check_dataset.py DATASET [--out DIR]
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from usd_tools.checking.coverage import Coverage, coverage_plot, coverage_problems, view_coverage
from usd_tools.checking.fit import GOOD, Fit, Mesh, explain_misfit, fit_masks, look_alike
from usd_tools.checking.page import OVERLAYS, CheckedView, overlay_name, write_overlay, write_page
from usd_tools.checking.projection import Cameras
from usd_tools.checking.quality import PictureFacts, picture_facts, picture_problems
from usd_tools.checking.silhouettes import object_bounds
from usd_tools.console import progress, setup_logging
from usd_tools.dataset import write_json
from usd_tools.dataset_views import View, read_picture, read_views
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_folder, refuse_foreign_folder
from usd_tools.images import Pixels, read_exr
from usd_tools.obj import read_obj
from usd_tools.resampling import resize_box

log = logging.getLogger(__name__)

MARKER = "check.json"

CHECKED_SIZE = 256
"""Pixels along the longer side at which masks and silhouettes are compared and shown."""


@dataclass(frozen=True)
class Checked:
    """general: problems of the whole dataset. views: one per view. coverage: of the view sphere."""

    general: list[str]
    views: list[CheckedView]
    coverage: Coverage


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="check_dataset",
        description="Check a dataset: do its masks fit its poses, are its pictures sharp and well exposed, "
        "from where is the object seen? Writes a page with pictures and says each problem in one line.",
        epilog="The exit code is 0 also when there are problems: they may be what you want. It is 2 where "
        "the dataset cannot be read.",
    )
    parser.add_argument(
        "dataset", metavar="DATASET", type=Path, help="of usd_to_llff, NeRF transforms or LLFF"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write; default: DATASET_check")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    setup_logging()
    dataset: Path = options.dataset
    out = options.out or dataset.absolute().parent / f"{dataset.absolute().name}_check"
    views = read_views(dataset)
    refuse_foreign_folder(out, MARKER)
    mesh = _ground_truth_mesh(dataset)
    against = "the true mesh's silhouettes" if mesh else "the masks' visual hull"
    with atomic_folder(out, MARKER) as folder:
        checked = check_views(views, mesh, folder)
        flagged = [bool(view.problems) for view in checked.views]
        plot = coverage_plot(
            checked.coverage, [view.split for view in views], flagged, [view.name for view in views]
        )
        write_page(folder, dataset.absolute(), against, checked.general, checked.views, plot)
        write_json(folder / MARKER, _as_json(checked, against))
    for text in checked.general:
        log.warning("%s", text)
    for view in checked.views:
        for text in view.problems:
            log.warning("%s: %s", view.name, text)
    count = len(checked.general) + sum(len(view.problems) for view in checked.views)
    log.info("%s: %d views, %d problems; see %s", dataset, len(views), count, out / "index.html")
    return 0


def check_views(views: Sequence[View], mesh: Mesh | None, folder: Path) -> Checked:
    """Checks all views and writes their overlays below `folder`.

    Raises:
        UserError: a picture cannot be read, or no view shows anything.
    """
    width, height = views[0].size
    if any(view.size != (width, height) for view in views):
        raise UserError(f"{views[0].picture.parent}: pictures of different sizes; expected one size")
    scale = min(1.0, CHECKED_SIZE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    facts: list[PictureFacts] = []
    colors = np.empty((len(views), size[1], size[0], 3), np.uint8)
    masks = np.empty((len(views), size[1], size[0]), bool)
    for i, view in enumerate(progress(views, len(views), "pictures")):
        color, mask = read_picture(view)
        facts.append(picture_facts(color, mask, _hdr(view)))
        colors[i] = np.round(resize_box(color, *size) * 255)
        masks[i] = resize_box(mask[..., None], *size)[..., 0] > 0.5
    cameras = Cameras(
        np.stack([view.camera_to_world for view in views]),
        np.array([view.intrinsics for view in views]) * np.tile([size[0] / width, size[1] / height], 2),
        size,
    )
    if not masks.any():
        raise UserError(
            f"{views[0].picture.parent}: every mask is empty; expected the object in the pictures"
        )
    fit = fit_masks(mesh, cameras, masks)
    center = mesh.vertices.mean(axis=0) if mesh else object_bounds(cameras, masks)[0]
    offsets = cameras.camera_to_world[:, :3, 3] - center
    directions = offsets / np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-12)
    training = np.array([view.split == "train" for view in views])
    coverage = view_coverage(directions, training if training.any() else ~training)
    misfit = _general_problems(fit, mesh, cameras, masks)
    general = misfit or coverage_problems(coverage)
    has_hdr = any(view.hdr for view in views)
    problems = [
        [*_fit_problems(fit, masks, views, i), *told]
        for i, told in enumerate(picture_problems(facts, None if misfit else directions, has_hdr))
    ]
    for i, view in enumerate(views):
        write_overlay(
            folder / OVERLAYS / overlay_name(view.split, view.name),
            colors[i] / np.float32(255),
            masks[i],
            fit.silhouettes[i],
        )
    return Checked(
        general,
        [
            CheckedView(view.name, view.split, float(iou), told)
            for view, iou, told in zip(views, fit.iou, problems)
        ],
        coverage,
    )


def _general_problems(fit: Fit, mesh: Mesh | None, cameras: Cameras, masks: np.ndarray) -> list[str]:
    if fit.usual >= GOOD:
        return []
    told = f"masks and poses do not fit: their agreement is {fit.usual:.0%}, expected above {GOOD:.0%}"
    explanation = explain_misfit(mesh, cameras, masks)
    if explanation is None:
        return [f"{told}; check poses, lens and frame numbers"]
    return [f"{told}. It would be {explanation[1]:.0%} if {explanation[0]}"]


def _fit_problems(fit: Fit, masks: np.ndarray, views: Sequence[View], index: int) -> list[str]:
    if not fit.outliers[index] or fit.usual < GOOD:  # else it is the dataset as a whole
        return []
    told = f"mask and pose do not fit: agreement {fit.iou[index]:.0%}, usual {fit.usual:.0%}"
    other = look_alike(fit, masks, index)
    return [told if other is None else f"{told}; the mask of {views[other].name} fits here: mixed up?"]


def _hdr(view: View) -> Pixels | None:
    return read_exr(view.hdr)[0] if view.hdr else None


def _ground_truth_mesh(dataset: Path) -> Mesh | None:
    path = dataset / "ground_truth" / "mesh.obj"
    if not path.is_file():
        return None
    mesh = read_obj(path)
    return Mesh(np.asarray(mesh.vertices, np.float64), mesh.faces)


def _as_json(checked: Checked, against: str) -> dict[str, object]:
    return {
        "against": against,
        "problems": checked.general,
        "views": [
            {
                "name": view.name,
                "split": view.split,
                "iou": round(view.iou, 4),
                "problems": list(view.problems),
            }
            for view in checked.views
        ],
        "uncovered": round(checked.coverage.uncovered, 4),
    }


if __name__ == "__main__":
    run_command(main)
