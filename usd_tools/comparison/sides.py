"""Finding the two sides of a comparison on disk: run folders, datasets and USD stages."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usd_tools.comparison.asset import Asset, load_asset
from usd_tools.comparison.stage_cameras import read_stage_cameras
from usd_tools.comparison.visibility import TrainingCameras, read_cameras, read_training_cameras
from usd_tools.errors import UserError

_STAGE_SUFFIXES = {".usd", ".usda", ".usdc", ".usdz"}

RELIGHTING = "relighting"
"""The folder in a run where relight.py puts its results."""

# How far two `stage_to_dataset` may differ (they are stored as text) and still count as the same frame.
_SAME_FRAME = 1e-6


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    asset: in a dataset frame; stage_to_dataset: (4, 4), which one, None if not known.
    cameras, held_out: the training cameras and those kept from training, None where there are none.
    validation, relighting: a run's folders of held-out renders and of what relight.py wrote, None for
    anything else.
    """

    asset: Asset
    stage_to_dataset: NDArray[np.float64] | None
    cameras: TrainingCameras | None = None
    held_out: TrainingCameras | None = None
    validation: Path | None = None
    relighting: Path | None = None


def load_truth(path: Path, stage_object: str | None = None, variants: Sequence[str] = ()) -> Side:
    """The true asset: of a dataset folder (its `ground_truth/`, with its training cameras), or of a stage
    (with its cameras, if it has any).

    stage_object, variants: the object's prim in a stage (None: its only mesh), and `SET=CHOICE` to select.

    Raises UserError if `path` is neither or its ground truth is missing or unusable.
    """
    if path.suffix.lower() in _STAGE_SUFFIXES:
        return _load_stage(path, stage_object, variants)
    _require_folder(path, "a dataset folder or a USD stage")
    if not (path / "ground_truth" / "mesh.obj").is_file():
        raise UserError(f"{path}: has no ground_truth/mesh.obj; write the dataset without --no-ground-truth")
    transforms = path / "transforms_train.json"
    cameras = read_training_cameras(transforms) if transforms.exists() else None
    held_out = path / "transforms_test.json"
    return Side(
        load_asset(path / "ground_truth"),
        _stage_to_dataset(path / "dataset.json"),
        cameras,
        held_out=(read_cameras(held_out) if held_out.exists() else None) or None,
    )


def load_recovered(path: Path) -> Side:
    """The recovered asset: of a run folder, a USD stage, or a dataset folder (its ground truth).

    Raises UserError if `path` is none of these, or a run that has not finished.
    """
    if path.suffix.lower() in _STAGE_SUFFIXES:
        return _load_stage(path, None, ())
    _require_folder(path, "a run folder or a USD stage")
    if (path / "ground_truth").is_dir():
        return load_truth(path)
    _require_finished(path)
    if not (path / "mesh" / "mesh.obj").is_file():
        raise UserError(f"{path}: has no mesh/mesh.obj; expected the output folder of a finished recon.train")
    validation, relighting = path / "validation", path / RELIGHTING
    return Side(
        load_asset(path / "mesh"),
        _stage_to_dataset(path / "dataset.json"),
        validation=validation if validation.is_dir() else None,
        relighting=relighting if relighting.is_dir() else None,
    )


def in_frame_of(side: Side, truth: Side) -> Asset:
    """The asset of `side`, moved to the dataset frame of `truth` where both frames are known and differ."""
    if side.stage_to_dataset is None or truth.stage_to_dataset is None:
        return side.asset
    matrix = truth.stage_to_dataset @ np.linalg.inv(side.stage_to_dataset)
    if np.abs(matrix - np.eye(4)).max() < _SAME_FRAME:
        return side.asset
    return side.asset.transformed(matrix)


def _load_stage(path: Path, stage_object: str | None, variants: Sequence[str]) -> Side:
    """A stage's asset, by way of the ground truth that usd_to_llff.py writes for it."""
    if not path.is_file():
        raise UserError(f"{path}: does not exist; expected a USD stage")
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        module = ["-m", "usd_tools.usd_to_llff", str(path.resolve()), "--ground-truth-only"]
        command = [sys.executable, *module, "--out", str(dataset)]
        command += ["--object", stage_object] if stage_object else []
        command += ["--variant", *variants] if variants else []
        repository = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["usd_to_llff.py gave no reason"])[-1]
            raise UserError(f"{path}: {last.removeprefix('error: ')}")
        asset = load_asset(dataset / "ground_truth")
        description = read_json_object(dataset / "dataset.json")
        stage_to_dataset = _stage_to_dataset(dataset / "dataset.json")
    asset.name = str(path)
    assert stage_to_dataset is not None, "usd_to_llff always writes dataset.json"
    seen_by = read_stage_cameras(path, description["object"], variants, stage_to_dataset)
    return Side(asset, stage_to_dataset, seen_by)


def _require_folder(path: Path, expected: str) -> None:
    if not path.exists():
        raise UserError(f"{path}: does not exist; expected {expected}")
    if not path.is_dir():
        raise UserError(f"{path}: is a file of another kind; expected {expected}")


def _require_finished(run: Path) -> None:
    path = run / "status.json"
    if not path.exists():
        return  # a mesh and maps put there by hand are as good
    status = read_json_object(path)
    if status.get("error"):
        raise UserError(f"{run}: the training failed ({status['error']}); train again or with --resume")
    if status.get("stage") not in ("done", "finished"):
        stage = status.get("stage")
        raise UserError(f"{run}: the training is not finished (stage {stage!r}); wait, or use --resume")


def _stage_to_dataset(path: Path) -> NDArray[np.float64] | None:
    if not path.exists():
        return None
    try:
        matrix = np.asarray(read_json_object(path)["stage_to_dataset"], np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.linalg.det(matrix[:3, :3]) <= 0:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path}: stage_to_dataset is not a 4x4 similarity; write the dataset again"
        ) from None
    return matrix


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file whose top level is an object; UserError if it is anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); write it again") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: is {type(document).__name__} at the top; expected a JSON object")
    return document
