"""Where a stage's camera sees points, by USD's own frustum; and where the converted dataset sees them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pxr import Gf, Usd, UsdGeom


def view(stage: Usd.Stage, path: str, frame: float) -> Gf.Camera:
    return UsdGeom.Camera(stage.GetPrimAtPath(path)).GetCamera(frame)


def project(camera: Gf.Camera, points: np.ndarray, width: int, height: int) -> np.ndarray:
    """(N, 2) pixels, from the top left edge, where USD's own frustum sees `points` (N, 3), stage space."""
    frustum = camera.frustum
    matrix = np.array(frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix())  # row vectors
    x, y, _, w = (np.column_stack([points, np.ones(len(points))]) @ matrix).T
    return np.stack([(x / w + 1) / 2 * width, (1 - y / w) / 2 * height], axis=-1)


def pixels_by_stage(
    stage: Usd.Stage, camera: str, mesh: str, local: np.ndarray, frame: float, size: tuple[int, int]
) -> np.ndarray:
    """(N, 2) where `camera` sees points of the moving `mesh`, given in its own space (N, 3)."""
    return project(view(stage, camera, frame), in_stage(stage, mesh, local, frame), *size)


def in_stage(stage: Usd.Stage, mesh: str, local: np.ndarray, frame: float) -> np.ndarray:
    """Points (N, 3) of the mesh's own space in stage space."""
    placed = np.array(UsdGeom.Xformable(stage.GetPrimAtPath(mesh)).ComputeLocalToWorldTransform(frame))
    return (np.column_stack([local, np.ones(len(local))]) @ placed)[:, :3]


def pixels_by_dataset(
    stage: Usd.Stage, mesh: str, local: np.ndarray, dataset: Path
) -> dict[float, np.ndarray]:
    """By stage frame, (N, 2) where the dataset's cameras see the same points of the object, held still."""
    description = json.loads((dataset / "dataset.json").read_text())
    records = {}
    for split in ("train", "test"):
        document = json.loads((dataset / f"transforms_{split}.json").read_text())
        for record in document["frames"]:
            records[Path(record["file_path"]).name] = {**document, **record}
    points = in_stage(stage, mesh, local, description["reference_frame"])
    to_dataset = np.array(description["stage_to_dataset"])
    x, y, z = (points @ to_dataset[:3, :3].T + to_dataset[:3, 3]).T
    z_up = np.stack([x, -z, y, np.ones_like(x)])
    found = {}
    for frame in description["frames"]:
        record = records[frame["name"]]
        seen = np.linalg.inv(np.array(record["transform_matrix"])) @ z_up
        found[frame["frame"]] = np.stack(
            [
                record["cx"] + record["fl_x"] * seen[0] / -seen[2],
                record["cy"] - record["fl_y"] * seen[1] / -seen[2],
            ],
            axis=-1,
        )
    return found
