"""Cameras that Blender exports see in the dataset what they see in Blender."""

import json

import numpy as np
import pytest

from tests.usd_tools.blender import ROOT, needs_blender, run_in_blender
from usd_tools.plan_dataset import Request, plan_dataset

# Three cameras with shifted sensors that fit in Blender's three ways fly around a squeezed, mirrored ball.
EXPORT = """
import json, math, sys
import bpy
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

folder, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.frame_start, scene.frame_end = 1, 10
scene.render.resolution_x, scene.render.resolution_y = width, height
bpy.ops.mesh.primitive_uv_sphere_add(radius=1, location=(1, 2, 3))
ball = bpy.context.object
ball.scale = (1, 1.2, -0.8)
cameras = []
for index, fit in enumerate(("AUTO", "HORIZONTAL", "VERTICAL")):
    data = bpy.data.cameras.new(f"cam{index}")
    data.sensor_fit, data.sensor_width, data.sensor_height = fit, 36, 20
    data.lens, data.shift_x, data.shift_y = 40 + 5 * index, 0.1, -0.07 * index
    camera = bpy.data.objects.new(data.name, data)
    scene.collection.objects.link(camera)
    for frame, angle in ((1, 0.1 + index), (10, 2.0 + index)):
        camera.location = (1 + 8 * math.cos(angle), 2 + 8 * math.sin(angle), 4)
        direction = Vector((1, 2, 3)) - camera.location
        camera.rotation_euler = direction.to_track_quat("-Z", "Y").to_euler()
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
    cameras.append(camera)
points = [(0.3, 0.2, 0.9), (-0.5, 0.4, 0.1), (0.0, -0.9, 0.3)]
pixels = {}
for frame in (1, 4, 10):
    scene.frame_set(frame)
    for camera in cameras:
        views = [world_to_camera_view(scene, camera, ball.matrix_world @ Vector(p)) for p in points]
        pixels[f"{camera.name} {frame}"] = [[v.x * width, (1 - v.y) * height] for v in views]
bpy.ops.wm.usd_export(filepath=f"{folder}/scene.usdc", export_animation=True)
with open(f"{folder}/seen.json", "w") as file:
    json.dump({"points": points, "pixels": pixels, "matrix": [list(r) for r in ball.matrix_world]}, file)
"""


@needs_blender
@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640)])
def test_blender_and_dataset_see_the_same(tmp_path, width, height):
    run_in_blender(EXPORT, str(tmp_path), str(width), str(height))
    seen = json.loads((tmp_path / "seen.json").read_text())
    for name in seen["pixels"]:
        camera, frame = name.split()
        (tmp_path / "renders" / camera).mkdir(parents=True, exist_ok=True)
        (tmp_path / "renders" / camera / f"{int(frame):04d}.png").touch()
    job = plan_dataset(
        Request(
            str(tmp_path / "scene.usdc"),
            images=str(tmp_path / "renders"),
            cameras=[f"/{ROOT}"],
            frames="1,4,10",
            ground_truth=False,
        )
    )
    assert job.description["up_axis"] == "Z" and len(job.frames) == 9
    to_dataset = np.array(job.description["stage_to_dataset"]) @ np.array(seen["matrix"])
    points = to_dataset @ np.append(seen["points"], np.ones((3, 1)), axis=1).T
    for frame in job.frames:
        fx, fy, cx, cy = frame.lens.intrinsics(width, height)
        right, up, back, _ = np.linalg.inv(frame.camera_to_world) @ points
        found = np.stack([cx - fx * right / back, cy + fy * up / back], axis=1)
        expected = seen["pixels"][f"{frame.camera.split('/')[-1]} {frame.frame:g}"]
        np.testing.assert_allclose(found, expected, atol=0.02)  # Blender keeps rotations in single precision
