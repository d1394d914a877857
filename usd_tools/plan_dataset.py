"""From a stage to the job of converting its renders: all that needs pxr."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools import lights
from usd_tools import stage as stages
from usd_tools.camera_selection import camera_samples, find_cameras, transform_samples
from usd_tools.camera_views import View, find_views
from usd_tools.cameras import camera_to_world, exposure_scale, read_lens
from usd_tools.dataset import SCHEMA_VERSION, number, rows
from usd_tools.dataset_job import DatasetJob, FrameJob, GroundTruthJob
from usd_tools.errors import UserError
from usd_tools.frames import format_frames, parse_frames
from usd_tools.matrices import Matrix, nearest_rotation, transform_normals, transform_points
from usd_tools.normalization import pose_to_dataset, rotation_of, stage_to_dataset
from usd_tools.obj import ObjMesh
from usd_tools.render_settings import PictureFormat, picture_format
from usd_tools.textured_object import read_object
from usd_tools.usd_errors import usd_errors_told
from usd_tools.winding import is_inside

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to convert; see usd_to_llff's options.

    images: None for ground truth alone. cameras: prim paths; none for what `find_cameras` chooses.
    """

    stage: str
    images: str | None = None
    masks: str | None = None
    alpha: str = "auto"
    cameras: Sequence[str] = ()
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
    with usd_errors_told(request.stage):
        return _plan(request)


def _plan(request: Request) -> DatasetJob:
    stage = stages.open_stage(request.stage, request.variants)
    views: list[View] = []
    if request.images is not None:
        chosen = find_cameras(stage, request.cameras)
        views = find_views(
            stage,
            chosen,
            request.images,
            request.frames,
            request.test_frames,
            request.test_every,
            request.masks,
        )
    start = views[0].frame if views else _still_frame(stage, request)

    prim, meshes = stages.find_object(stage, request.object, start)
    for mesh in meshes:
        _warn_of_deformation(mesh, start)
    _check_parts_hang_together(prim, meshes, views)
    textured = read_object(meshes, start, request.ground_truth)
    used = textured.mesh.vertices[np.unique(textured.mesh.faces)]
    similarity = stage_to_dataset(used, stages.up_axis(stage), request.normalize)
    textured = replace(textured, mesh=mesh_to_dataset(textured.mesh, similarity))
    light, light_turns = _read_lights(stage, prim, start, views, request)
    truth = None
    if request.ground_truth:
        probe = lights.probe_job(light, rotation_of(similarity)) if light else None
        truth = GroundTruthJob(textured, probe)
    formats = _picture_formats(stage, views)
    for view in {view.label: view for view in views}.values():
        seen = [other.frame for other in views if other.label == view.label]
        _warn_of_camera(view.camera, formats[view.label], prim, seen)
    frames = _frame_jobs(views, formats, prim, similarity, light_turns)
    if len(frames) > 1 and all(
        np.allclose(f.camera_to_world, frames[0].camera_to_world, atol=1e-5) for f in frames
    ):
        log.warning("all pictures show the object from one side: neither a camera nor the object moves")
    _check_cameras_outside(frames, textured.mesh)
    frames = tuple(_with_bounds(frame, textured.mesh) for frame in frames)
    description = {
        "schema_version": SCHEMA_VERSION,
        "source_stage": str(Path(request.stage).resolve()),
        "up_axis": stages.up_axis(stage),
        "metersPerUnit": stages.meters_per_unit(stage),
        "object": str(prim.GetPath()),
        "cameras": list(dict.fromkeys(frame.camera for frame in frames)),
        "variants": list(request.variants),
        "reference_frame": number(start),
        "frames": [
            {"name": f.name, "frame": number(f.frame), "camera": f.camera, "split": f.split} for f in frames
        ],
        "stage_to_dataset": rows(similarity),
        "light_probe": "ground_truth/probe.exr" if truth and truth.probe else None,
    }
    return DatasetJob(description, frames, request.color_space, request.resolution, truth, request.alpha)


def _still_frame(stage: Any, request: Request) -> float:
    """The moment at which the ground truth is read, where no pictures are."""
    return parse_frames(request.frames)[0] if request.frames else float(stage.GetStartTimeCode())


def _picture_formats(stage: Any, views: Sequence[View]) -> dict[str, PictureFormat]:
    """By the camera's label."""
    cameras = {view.label: view.camera for view in views}
    return {
        label: picture_format(stage, str(camera.GetPath()), views[0].frame)
        for label, camera in cameras.items()
    }


def _frame_jobs(
    views: Sequence[View],
    formats: dict[str, PictureFormat],
    mesh: Any,
    similarity: Matrix,
    light_turns: dict[float, Matrix],
) -> tuple[FrameJob, ...]:
    """A turning object is held where it stands on the first frame; camera and light move around it.

    formats: by the camera's label. light_turns: by frame, (3, 3) rotation of the light in stage space since
    the first one.
    """
    turn = rotation_of(similarity)
    digits = max(4, len(str(len(views))))
    jobs = []
    for index, view in enumerate(views, start=1):
        motion = _motion_back(mesh, views[0].frame, view.frame)
        pose = motion @ camera_to_world(view.camera, view.frame)
        pose[:3, :3] = nearest_rotation(pose)
        shape = formats[view.label]
        jobs.append(
            FrameJob(
                name=f"frame_{index:0{digits}d}",
                frame=view.frame,
                camera=str(view.camera.GetPath()),
                split="test" if view.held_out else "train",
                image=str(view.picture.absolute()),
                camera_to_world=pose_to_dataset(similarity, pose),
                light_rotation=turn @ nearest_rotation(motion) @ light_turns[view.frame] @ turn.T,
                lens=read_lens(view.camera, view.frame, shape.policy, shape.pixel_aspect),
                near=0.0,
                far=0.0,
                mask=str(view.mask.absolute()) if view.mask else None,
            )
        )
    return tuple(jobs)


def _motion_back(mesh: Any, start: float, frame: float) -> Matrix:
    """What takes the object from where it is at `frame` back to where it was at `start`: rigid, (4, 4)."""
    held = stages.world_matrix(mesh.GetPrim(), start)
    motion = held @ np.linalg.inv(stages.world_matrix(mesh.GetPrim(), frame))
    linear = motion[:3, :3]
    if not np.allclose(linear @ linear.T, np.eye(3), atol=1e-4) or np.linalg.det(linear) < 0:
        raise UserError(
            f"{mesh.GetPath()}: changes its size or shape between frames {start:g} and {frame:g}; "
            "expected a still or rigidly moving object"
        )
    return motion


def _check_parts_hang_together(prim: Any, meshes: Sequence[Any], views: Sequence[View]) -> None:
    """An object of several meshes is held as one, so none may move by itself."""
    frames = sorted({view.frame for view in views})
    for mesh in meshes if len(meshes) > 1 else ():
        within = [
            np.linalg.inv(stages.world_matrix(prim, frame)) @ stages.world_matrix(mesh.GetPrim(), frame)
            for frame in frames
        ]
        if any(not np.allclose(matrix, within[0], rtol=1e-5, atol=1e-6) for matrix in within):
            raise UserError(
                f"{mesh.GetPath()}: moves within {prim.GetPath()}; expected one rigid object, name the "
                "part to recover by --object"
            )


def _warn_of_deformation(mesh: Any, start: float) -> None:
    from pxr import UsdSkel

    if mesh.GetPointsAttr().ValueMightBeTimeVarying():
        log.warning("%s: its points are animated; the shape of frame %g is used", mesh.GetPath(), start)
    if UsdSkel.BindingAPI(mesh.GetPrim()).GetInheritedSkeleton():
        log.warning("%s: has a skeleton; its shape at rest is used, bake it as posed", mesh.GetPath())


def _warn_of_camera(camera: Any, shape: PictureFormat, mesh: Any, frames: Sequence[float]) -> None:
    """Says what makes pictures differ from what poses, lenses and lights tell."""
    path = camera.GetPath()
    linear = stages.world_matrix(camera.GetPrim(), frames[0])[:3, :3]
    linear = linear / np.linalg.norm(linear, axis=0).mean()
    if not np.allclose(linear.T @ linear, np.eye(3), atol=1e-3):
        log.warning(
            "%s: its transform is sheared or scaled unevenly, which renderers read differently; "
            "here it is a rotation, as in USD's own camera",
            path,
        )
    scale = max((exposure_scale(camera, frame) for frame in frames), key=lambda scale: abs(scale - 1))
    if abs(scale - 1) > 1e-3:
        log.warning(
            "%s: its exposure scales pictures by %.4g where the renderer applies it, which the light does "
            "not tell; render without",
            path,
            scale,
        )
    if shape.depth_of_field and any(camera.GetFStopAttr().Get(frame) for frame in frames):
        log.warning(
            "%s: has an fStop, so that renderers may blur what is out of focus; render with fStop 0", path
        )
    # Mostly a wrong range: USD holds the first and last pose.
    samples = sorted({*camera_samples(camera), *transform_samples(mesh.GetPrim())})
    beyond = [frame for frame in frames if samples and not samples[0] <= frame <= samples[-1]]
    if len(samples) > 1 and beyond:
        log.warning(
            "%s: is animated from frame %g to %g; on frames %s it stands still",
            path,
            samples[0],
            samples[-1],
            format_frames(beyond),
        )


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


def _read_lights(
    stage: Any, lit: Any, start: float, views: Sequence[View], request: Request
) -> tuple[lights.StageLights | None, dict[float, Matrix]]:
    """What lights the object at `start`, and by frame how it has turned since, (3, 3) in stage space.

    Without ground truth, light that cannot be told is none, and taken to stand still. Without pictures, a
    stage may do without light.
    """
    frames = sorted({view.frame for view in views})
    if not frames and not lights.light_paths(stage):
        log.warning("%s: has no light, so the ground truth is without probe", request.stage)
        return None, {}
    try:
        light = lights.find_lights(stage, start, lit)
        return light, lights.rotations_since(stage, light, frames, lit)
    except UserError as error:
        if request.ground_truth:
            remedy = "; or convert with --no-ground-truth and train with light.mode=learnt"
            raise UserError(f"{error}{remedy if request.images else ''}") from None
        log.info("the light is taken to stand still: %s", error)
        return None, dict.fromkeys(frames, np.eye(3))


def mesh_to_dataset(mesh: ObjMesh, similarity: Matrix) -> ObjMesh:
    """The mesh under `stage_to_dataset` (or its inverse)."""
    normals = mesh.normals
    return replace(
        mesh,
        vertices=transform_points(similarity, mesh.vertices),
        normals=None if normals is None else transform_normals(similarity, normals),
    )
