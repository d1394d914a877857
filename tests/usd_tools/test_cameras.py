"""Poses and intrinsics: what USD's own frustum projects, the written dataset projects to the same pixel."""

import json
import math

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom

from tests.usd_tools.stages import define_sphere
from usd_tools.cameras import Lens, camera_to_world, conformed_aperture, read_lens
from usd_tools.dataset import write_transforms
from usd_tools.errors import UserError
from usd_tools.plan_dataset import Request, plan_dataset

WIDTH, HEIGHT = 640, 480


def random_rotation(random):
    axis = random.normal(size=3)
    return Gf.Rotation(Gf.Vec3d(*axis), random.uniform(-180, 180))


def random_stage(folder, seed, up_axis):
    """A turning sphere below a scaled group, a moving camera with offsets below a scaled group."""
    random = np.random.default_rng(seed)
    stage = Usd.Stage.CreateNew(str(folder / "scene.usda"))
    UsdGeom.SetStageUpAxis(stage, up_axis)
    stage.SetStartTimeCode(1)
    stage.SetEndTimeCode(3)
    center = Gf.Vec3d(*random.uniform(-5, 5, 3))
    group = UsdGeom.Xform.Define(stage, "/group")
    sphere = define_sphere(stage, "/group/sphere")
    # The turn stands outside the scale, as in a turntable: inside it would shear the object.
    turntable = group.AddTransformOp()
    rest = Gf.Matrix4d(1)
    rest.SetScale(Gf.Vec3d(*random.uniform(0.5, 2, 3)) * (-1 if seed % 2 else 1))
    for frame in (1, 2, 3):
        turn = Gf.Matrix4d().SetRotate(random_rotation(random))
        turntable.Set(rest * turn * Gf.Matrix4d().SetTranslate(center), frame)
    rig = UsdGeom.Xform.Define(stage, "/rig")
    rig.AddScaleOp().Set(Gf.Vec3f(0.01 if seed % 3 == 0 else 2.5))
    camera = UsdGeom.Camera.Define(stage, "/rig/camera")
    camera.CreateHorizontalApertureAttr(24.0)
    camera.CreateVerticalApertureAttr(24.0 * HEIGHT / WIDTH)
    camera.CreateFocalLengthAttr().Set(30.0, 1)
    camera.GetFocalLengthAttr().Set(50.0, 3)
    camera.CreateHorizontalApertureOffsetAttr(float(random.uniform(-3, 3)))
    camera.CreateVerticalApertureOffsetAttr(float(random.uniform(-3, 3)))
    pose = camera.AddTransformOp()
    scale = rig.GetLocalTransformation()
    for frame in (1, 2, 3):
        direction = Gf.Vec3d(*random.normal(size=3)).GetNormalized()
        eye = center + direction * random.uniform(6, 9)
        look = Gf.Matrix4d().SetLookAt(eye, center, Gf.Vec3d(*random.normal(size=3))).GetInverse()
        local = look * scale.GetInverse()
        # The rig's scale moves the camera; its own rotation may stay clean or carry the inverse scale.
        if seed % 2:
            local = look.RemoveScaleShear()
            local.SetTranslateOnly(scale.GetInverse().Transform(eye))
        pose.Set(local, frame)
    stage.Save()
    return stage, sphere, camera


@pytest.mark.parametrize("up_axis", ["Y", "Z"])
@pytest.mark.parametrize("seed", range(5))
def test_dataset_projects_as_usd_does(tmp_path, seed, up_axis):
    _stage, sphere, camera = random_stage(tmp_path, seed, up_axis)
    (tmp_path / "renders").mkdir()
    for frame in (1, 2, 3):
        (tmp_path / "renders" / f"r.{frame}.exr").touch()
    job = plan_dataset(
        Request(str(tmp_path / "scene.usda"), images=str(tmp_path / "renders"), ground_truth=False)
    )
    write_transforms(tmp_path / "t.json", job.frames, WIDTH, HEIGHT, job.frames[0])
    transforms = json.loads((tmp_path / "t.json").read_text())
    assert [entry["file_path"] for entry in transforms["frames"]] == [
        f"./rgba/frame_{i:04d}" for i in (1, 2, 3)
    ]

    points = np.array(sphere.GetPointsAttr().Get(), np.float64)
    held = np.array(UsdGeom.Xformable(sphere).ComputeLocalToWorldTransform(1)).T
    similarity = np.array(job.description["stage_to_dataset"])
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1).T
    x, y, z, _ = similarity @ held @ homogeneous
    in_transforms_world = np.stack([x, -z, y, np.ones_like(x)])
    for frame, entry in zip((1, 2, 3), transforms["frames"]):
        frustum = camera.GetCamera(frame).frustum
        world = UsdGeom.Xformable(sphere).ComputeLocalToWorldTransform(frame)
        project = world * frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()
        ndc = np.array([project.Transform(Gf.Vec3d(*point)) for point in points])
        expected = np.stack([(ndc[:, 0] + 1) / 2 * WIDTH, (1 - ndc[:, 1]) / 2 * HEIGHT], axis=1)

        pose = np.array(entry["transform_matrix"])
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        right, up, back, _ = np.linalg.inv(pose) @ in_transforms_world
        figures = {**transforms, **entry}
        found = np.stack(
            [
                figures["cx"] + figures["fl_x"] * right / -back,
                figures["cy"] - figures["fl_y"] * up / -back,
            ],
            axis=1,
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert figures["camera_angle_x"] == pytest.approx(2 * math.atan(WIDTH / 2 / figures["fl_x"]))
    assert "fl_x" in transforms["frames"][1], "focal animation must give figures per frame"


@pytest.mark.parametrize(
    "policy, aspect, expected",
    [
        ("expandAperture", 2, (4, 2)),
        ("expandAperture", 0.5, (2, 4)),
        ("cropAperture", 2, (2, 1)),
        ("cropAperture", 0.5, (1, 2)),
        ("adjustApertureWidth", 0.5, (1, 2)),
        ("adjustApertureHeight", 0.5, (2, 4)),
        ("adjustPixelAspectRatio", 0.5, (2, 2)),
    ],
)
def test_conformed_aperture(policy, aspect, expected):
    assert conformed_aperture(2, 2, aspect, policy) == pytest.approx(expected)


def test_centered_lens():
    assert Lens(50, 25, 25).intrinsics(100, 100) == pytest.approx((200, 200, 50, 50))


def test_lens_refuses_orthographic_and_degenerate_cameras():
    stage = Usd.Stage.CreateInMemory()
    camera = UsdGeom.Camera.Define(stage, "/camera")
    camera.CreateFocalLengthAttr(0.0)
    with pytest.raises(UserError, match=r"/camera.*focal length"):
        read_lens(camera, 1)
    camera.CreateProjectionAttr("orthographic")
    with pytest.raises(UserError, match=r"/camera.*orthographic"):
        read_lens(camera, 1)
    camera.AddScaleOp().Set(Gf.Vec3f(0))
    with pytest.raises(UserError, match="singular"):
        camera_to_world(camera, 1)


def test_mirrored_camera_stays_a_rotation():
    stage = Usd.Stage.CreateInMemory()
    camera = UsdGeom.Camera.Define(stage, "/camera")
    camera.AddScaleOp().Set(Gf.Vec3f(-2, 2, 2))
    np.testing.assert_allclose(camera_to_world(camera, 1), np.eye(4), atol=1e-12)
