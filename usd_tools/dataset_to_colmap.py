"""A dataset's cameras as a COLMAP text model, for tools that read those.

python usd_tools/dataset_to_colmap.py DATASET --out MODEL
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import numpy.typing as npt

from usd_tools.colmap_model import ColmapImage, write_colmap
from usd_tools.console import setup_logging
from usd_tools.dataset_views import read_views
from usd_tools.errors import run_command
from usd_tools.files import atomic_folder, refuse_foreign_folder
from usd_tools.obj import ObjMesh, read_obj

log = logging.getLogger(__name__)

MARKER = "images.txt"

POINTS = 10_000
"""Points on the true surface: enough to start Gaussian splatting from."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="dataset_to_colmap",
        description="Write a dataset's cameras as a COLMAP text model (PINHOLE). The names of its images are "
        "relative to the dataset's folder; points are taken from the true mesh, where there is one.",
    )
    parser.add_argument("dataset", metavar="DATASET", type=Path)
    parser.add_argument("--out", metavar="MODEL", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)
    setup_logging()
    refuse_foreign_folder(options.out, MARKER)
    dataset: Path = options.dataset
    views = read_views(dataset)
    root = dataset.resolve()
    images = [
        ColmapImage(
            view.picture.resolve().relative_to(root).as_posix(),
            view.camera_to_world,
            view.intrinsics,
            view.size,
        )
        for view in views
    ]
    mesh = dataset / "ground_truth" / "mesh.obj"
    points = surface_points(read_obj(mesh), POINTS) if mesh.is_file() else None
    with atomic_folder(options.out, MARKER) as folder:
        write_colmap(folder, images, points)
    log.info(
        "%s: %d images, %d points; the folder of the pictures is %s",
        options.out,
        len(images),
        0 if points is None else len(points),
        dataset,
    )
    return 0


def surface_points(mesh: ObjMesh, count: int) -> npt.NDArray[np.float64]:
    """(count, 3) points spread evenly over a mesh, always the same."""
    random = np.random.default_rng(0)
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = (
        corners[random.choice(len(corners), count, p=areas / areas.sum())] if areas.sum() > 0 else corners[:1]
    )
    root, share = np.sqrt(random.random(len(chosen))), random.random(len(chosen))
    weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)
    return np.einsum("nc,ncd->nd", weights, chosen)


if __name__ == "__main__":
    run_command(main)
