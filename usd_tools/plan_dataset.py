"""From a stage to the job of converting its renders: all that needs pxr."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools import cameras, lights, materials
from usd_tools import stage as stages
from usd_tools.dataset import SCHEMA_VERSION, number, rows
from usd_tools.dataset_job import DatasetJob, FrameJob, GroundTruthJob
from usd_tools.errors import UserError
from usd_tools.frames import Split, parse_frames, split_frames
from usd_tools.matrices import Matrix, nearest_rotation, transform_normals, transform_points
from usd_tools.normalization import pose_to_dataset, rotation_of, stage_to_dataset
from usd_tools.obj import ObjMesh
from usd_tools.picture_sequences import find_pictures, match_pictures
from usd_tools.winding import is_inside

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to convert; see usd_to_llff's options. images: None for ground truth alone."""

    stage: str
    images: str | None = None
    camera: str | None = None
    object: str | None = None
    variants: Sequence[str] = ()
    frames: str | None = None
    test_frames: str | None = None
    test_every: int | None = None
    resolution: tuple[int, int] | None = None
    color_space: str | None = None
    normalize: bool = True
    ground_truth: bool = True


def plan_dataset(request: Request) -> DatasetJob:
    """Reads the stage and finds the renders.

    Raises:
        UserError: whatever of the stage, the renders or the request does not fit, in one line.
    """
    stage = stages.open_stage(request.stage, request.variants)
    if request.images is None:
        camera, pictures = None, list[Path]()
        split = _still(stage, request)
    else:
        camera = stages.find_camera(stage, request.camera)
        split, pictures = _frames_and_pictures(stage, camera, request)
    start = split.frames[0]

    prim = stages.find_mesh(stage, request.object, start)
    look = materials.read_look(prim, start) if request.ground_truth else None
    if prim.GetPointsAttr().ValueMightBeTimeVarying():
        log.warning("%s: its points are animated; the shape of frame %g is used", prim.GetPath(), start)
    mesh = stages.read_mesh(prim, start, look.uv_primvar if look else None)
    used = mesh.vertices[np.unique(mesh.faces)]
    similarity = stage_to_dataset(used, stages.up_axis(stage), request.normalize)
    mesh = mesh_to_dataset(mesh, similarity)
    light = _find_lights(stage, start, prim.GetPrim(), request)
    truth = None
    if look is not None:
        assert light is not None, "a ground truth has its light"
        truth = GroundTruthJob(mesh, look, lights.probe_job(light, rotation_of(similarity)))
    frames: tuple[FrameJob, ...] = ()
    if camera is not None:
        frames = _frame_jobs(stage, camera, prim, split, pictures, similarity, light)
        _check_cameras_outside(frames, mesh)
        frames = tuple(_with_bounds(frame, mesh) for frame in frames)
    description = {
        "schema_version": SCHEMA_VERSION,
        "source_stage": str(Path(request.stage).resolve()),
        "up_axis": stages.up_axis(stage),
        "metersPerUnit": stages.meters_per_unit(stage),
        "object": str(prim.GetPath()),
        "cameras": [str(camera.GetPath())] if camera is not None else [],
        "variants": list(request.variants),
        "reference_frame": number(start),
        "frames": [
            {"name": f.name, "frame": number(f.frame), "camera": f.camera, "split": f.split} for f in frames
        ],
        "stage_to_dataset": rows(similarity),
        "light_probe": "ground_truth/probe.exr" if truth else None,
    }
    return DatasetJob(description, frames, request.color_space, request.resolution, truth)


def _still(stage: Any, request: Request) -> Split:
    """The one moment at which the ground truth is read, where no pictures are."""
    frames = parse_frames(request.frames) if request.frames else [float(stage.GetStartTimeCode())]
    return Split((frames[0],), frozenset())


def _frames_and_pictures(stage: Any, camera: Any, request: Request) -> tuple[Split, list[Path]]:
    assert request.images is not None, "called for requests with pictures"
    pictures = find_pictures(request.images)
    if request.frames is not None:
        selected = parse_frames(request.frames)
    else:
        selected = stages.stage_frames(stage, camera) or sorted(pictures)
    split = split_frames(selected, request.test_frames, request.test_every)
    complete = request.frames is None
    return split, match_pictures(split.frames, pictures, request.images, complete)


def _frame_jobs(
    stage: Any,
    camera: Any,
    mesh: Any,
    split: Split,
    pictures: Sequence[Path],
    similarity: Matrix,
    light: lights.StageLights | None,
) -> tuple[FrameJob, ...]:
    """A turning object is held where it stands on the first frame; camera and light move around it."""
    policy = stages.aperture_policy(stage)
    held = stages.world_matrix(mesh.GetPrim(), split.frames[0])
    turn = rotation_of(similarity)
    digits = max(4, len(str(len(split.frames))))
    jobs = []
    for index, (frame, picture) in enumerate(zip(split.frames, pictures), start=1):
        motion = held @ np.linalg.inv(stages.world_matrix(mesh.GetPrim(), frame))
        if not np.allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-4):
            raise UserError(
                f"{mesh.GetPath()}: changes its size between frames {split.frames[0]:g} and {frame:g}; "
                "expected a still or rigidly moving object"
            )
        pose = motion @ cameras.camera_to_world(camera, frame)
        pose[:3, :3] = nearest_rotation(pose)
        light_motion = nearest_rotation(motion)
        if light is not None:
            light_motion = light_motion @ lights.rotation_since(stage, light, frame, mesh.GetPrim())
        jobs.append(
            FrameJob(
                name=f"frame_{index:0{digits}d}",
                frame=frame,
                camera=str(camera.GetPath()),
                split="test" if frame in split.test else "train",
                image=str(picture.absolute()),
                camera_to_world=pose_to_dataset(similarity, pose),
                light_rotation=turn @ light_motion @ turn.T,
                lens=cameras.read_lens(camera, frame, policy),
                near=0.0,
                far=0.0,
            )
        )
    return tuple(jobs)


def _with_bounds(frame: FrameJob, mesh: ObjMesh) -> FrameJob:
    """With near and far around the object, by its vertices' depths along the view axis."""
    back, position = frame.camera_to_world[:3, 2], frame.camera_to_world[:3, 3]
    depths = (position - mesh.vertices) @ back
    far = float(depths.max())
    if far <= 0:
        raise UserError(
            f"{frame.camera}: the object lies behind it on frame {frame.frame:g}; check camera, "
            "object and frames"
        )
    return replace(frame, near=max(float(depths.min()), 1e-3 * far), far=far)


def _check_cameras_outside(frames: Sequence[FrameJob], mesh: ObjMesh) -> None:
    for frame in frames:
        if is_inside(frame.camera_to_world[:3, 3], mesh.vertices, mesh.faces):
            raise UserError(
                f"{frame.camera}: is inside the object on frame {frame.frame:g}; check camera, "
                "object and frames"
            )


def _find_lights(stage: Any, start: float, lit: Any, request: Request) -> lights.StageLights | None:
    """What lights the object on the first frame; None where that cannot be told and need not be."""
    try:
        return lights.find_lights(stage, start, lit)
    except UserError as error:
        if request.ground_truth:
            remedy = "; or convert with --no-ground-truth and train with light.mode=learnt"
            raise UserError(f"{error}{remedy if request.images else ''}") from None
        log.info("the light is taken to stand still: %s", error)
        return None


def mesh_to_dataset(mesh: ObjMesh, similarity: Matrix) -> ObjMesh:
    """The mesh under `stage_to_dataset` (or its inverse)."""
    normals = mesh.normals
    return replace(
        mesh,
        vertices=transform_points(similarity, mesh.vertices),
        normals=None if normals is None else transform_normals(similarity, normals),
    )
