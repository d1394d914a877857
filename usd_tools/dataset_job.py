"""What the reading of a stage leaves for the pixel part: plain numbers and paths, no pxr.

It travels as `job.json` and `mesh.npz` in a folder, because in Houdini the pixel part is another process.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.cameras import Lens
from usd_tools.looks.network import Look
from usd_tools.matrices import Matrix
from usd_tools.obj import ObjMesh
from usd_tools.probe_job import ProbeJob
from usd_tools.textured_object import TexturedObject


@dataclass(frozen=True)
class FrameJob:
    """One picture to convert.

    name: in the dataset. image: the render. camera_to_world: (4, 4) dataset frame, OpenGL.
    light_rotation: (3, 3) dataset frame. near, far: depths along the view axis that enclose the object.
    split: "train" or "test". mask: the picture that stands for the render's alpha, or None.
    """

    name: str
    frame: float
    camera: str
    split: str
    image: str
    camera_to_world: Matrix
    light_rotation: Matrix
    lens: Lens
    near: float
    far: float
    mask: str | None = None


@dataclass(frozen=True)
class GroundTruthJob:
    """textured: in the dataset frame. probe: None where the stage has no light."""

    textured: TexturedObject
    probe: ProbeJob | None


@dataclass(frozen=True)
class DatasetJob:
    """description: dataset.json, without what only pictures tell. frames: empty for ground truth alone.

    alpha: as `render_pixels.RenderReading` has it.
    """

    description: dict[str, Any]
    frames: tuple[FrameJob, ...]
    color_space: str | None
    resolution: tuple[int, int] | None
    ground_truth: GroundTruthJob | None
    alpha: str = "auto"


_MESH_ARRAYS = ("vertices", "faces", "uvs", "uv_faces", "normals", "normal_faces")


def save_job(job: DatasetJob, folder: Path) -> None:
    truth = job.ground_truth
    content = {
        "description": job.description,
        "frames": [_plain(asdict(frame)) for frame in job.frames],
        "color_space": job.color_space,
        "resolution": job.resolution,
        "alpha": job.alpha,
        "looks": truth and [look.to_json() for look in truth.textured.looks],
        "uv_sets": truth and list(truth.textured.uv_sets),
        "probe": truth and truth.probe and truth.probe.to_json(),
    }
    (folder / "job.json").write_text(json.dumps(content), encoding="utf-8")
    if truth:
        arrays = {name: getattr(truth.textured.mesh, name) for name in _MESH_ARRAYS}
        arrays["face_looks"] = truth.textured.face_looks
        for number, (values, faces) in enumerate(truth.textured.uv_sets.values()):
            arrays[f"uv_set_{number}"], arrays[f"uv_set_{number}_faces"] = values, faces
        np.savez(folder / "mesh.npz", **arrays)


def load_job(folder: Path) -> DatasetJob:
    content = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    frames = tuple(
        FrameJob(
            **{
                **frame,
                "camera_to_world": np.array(frame["camera_to_world"]),
                "light_rotation": np.array(frame["light_rotation"]),
                "lens": Lens(**frame["lens"]),
            }
        )
        for frame in content["frames"]
    )
    truth = None
    if content["looks"]:
        with np.load(folder / "mesh.npz", allow_pickle=False) as arrays:
            textured = TexturedObject(
                ObjMesh(**{name: arrays[name] for name in _MESH_ARRAYS}),
                tuple(Look.from_json(look) for look in content["looks"]),
                arrays["face_looks"],
                {
                    name: (arrays[f"uv_set_{number}"], arrays[f"uv_set_{number}_faces"])
                    for number, name in enumerate(content["uv_sets"])
                },
            )
        probe = content["probe"]
        truth = GroundTruthJob(textured, ProbeJob.from_json(probe) if probe else None)
    size = content["resolution"]
    return DatasetJob(
        content["description"],
        frames,
        content["color_space"],
        (size[0], size[1]) if size else None,
        truth,
        content["alpha"],
    )


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in record.items()}
