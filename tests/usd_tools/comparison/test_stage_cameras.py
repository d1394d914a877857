"""The cameras by which a stage tells what is seen of its object."""

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, UsdRender

from tests.usd_tools.stages import write_scene
from usd_tools.comparison.stage_cameras import read_stage_cameras


def add_cameras(stage: Usd.Stage) -> None:
    UsdGeom.Camera.Define(stage, "/World/front").CreateProjectionAttr("orthographic")
    other = UsdGeom.Camera.Define(stage, "/World/other")
    other.AddTranslateOp().Set(Gf.Vec3d(1, 2, 3))
    other.CreateFocalLengthAttr(50.0)
    other.CreateHorizontalApertureAttr(20.0)
    other.CreateVerticalApertureAttr(10.0)
    other.CreateHorizontalApertureOffsetAttr(1.0)


def test_every_perspective_camera_without_settings(tmp_path):
    scene = write_scene(tmp_path / "s", frames=3, edit=add_cameras)
    cameras = read_stage_cameras(scene.stage, "/World/sphere", (), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert cameras is not None and len(cameras) == 2 * 3
    np.testing.assert_allclose(cameras.camera_to_world[3:, :3, 3], [[2, 4, 6]] * 3)
    np.testing.assert_allclose(cameras.camera_to_world[3:, :3, :3], [np.eye(3)] * 3)
    # No resolution is told: the picture is the aperture, in its unit.
    np.testing.assert_allclose(cameras.sizes[3], [20, 10])
    np.testing.assert_allclose(cameras.intrinsics[3], [50, 50, 10 - 1, 5])


def test_cameras_and_pictures_of_the_render_settings(tmp_path):
    def edit(stage: Usd.Stage) -> None:
        add_cameras(stage)
        settings = UsdRender.Settings.Define(stage, "/Render/settings")
        settings.CreateCameraRel().AddTarget("/World/other")
        settings.CreateResolutionAttr(Gf.Vec2i(100, 100))
        settings.CreateAspectRatioConformPolicyAttr("adjustApertureHeight")

    scene = write_scene(tmp_path / "s", frames=3, edit=edit)
    cameras = read_stage_cameras(scene.stage, "/World/sphere", (), np.eye(4))
    assert cameras is not None and len(cameras) == 3
    np.testing.assert_allclose(cameras.sizes, [[100, 100]] * 3)
    np.testing.assert_allclose(cameras.intrinsics, [[250, 250, 50 - 5, 50]] * 3)


def test_moving_object_is_held(tmp_path):
    def edit(stage: Usd.Stage) -> None:
        add_cameras(stage)
        stage.RemovePrim("/World/camera")
        turn = UsdGeom.Mesh.Get(stage, "/World/sphere").AddRotateYOp()
        turn.Set(0.0, 1)
        turn.Set(180.0, 3)

    scene = write_scene(tmp_path / "s", frames=3, edit=edit)
    cameras = read_stage_cameras(scene.stage, "/World/sphere", (), np.eye(4))
    assert cameras is not None
    positions = cameras.camera_to_world[:, :3, 3]
    assert positions == pytest.approx(np.array([[1, 2, 3], [-3, 2, 1], [-1, 2, -3]]), abs=1e-6)


def test_stage_without_cameras(tmp_path):
    scene = write_scene(tmp_path / "s", edit=lambda stage: stage.RemovePrim("/World/camera"))
    assert read_stage_cameras(scene.stage, "/World/sphere", (), np.eye(4)) is None
