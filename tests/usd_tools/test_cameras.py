"""Lenses and poses by themselves; test_projection.py has them together, against USD's own frustum."""

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom

from usd_tools.cameras import Lens, camera_to_world, conformed_aperture, read_lens
from usd_tools.errors import UserError


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


def test_pixels_that_are_not_square():
    """Pixels twice as wide as high make a square picture show an aperture of 2:1."""
    assert Lens(50, 40, 20, pixel_aspect=2.0).intrinsics(100, 100) == pytest.approx((125, 250, 50, 50))
    fitted = Lens(50, 40, 20, policy="adjustPixelAspectRatio", pixel_aspect=7.0)
    assert fitted.intrinsics(100, 100) == pytest.approx((125, 250, 50, 50))


def test_offsets_keep_their_length_when_the_aperture_is_fitted():
    lens = Lens(50, 20, 20, horizontal_offset=2, vertical_offset=-1)
    assert lens.intrinsics(200, 100) == pytest.approx((250, 250, 100 - 2 * 5, 50 - 1 * 5))


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


def test_blocked_samples_are_told():
    """USD itself would take the lens's fallback and an identity transform."""
    stage = Usd.Stage.CreateInMemory()
    camera = UsdGeom.Camera.Define(stage, "/rig/camera")
    camera.GetFocalLengthAttr().Set(20.0, 1)
    camera.GetFocalLengthAttr().Set(Sdf.ValueBlock(), 2)
    assert read_lens(camera, 1.5).focal_length == 20
    with pytest.raises(UserError, match=r"/rig/camera\.focalLength: has no value at frame 2\.5"):
        read_lens(camera, 2.5)
    move = UsdGeom.Xform.Define(stage, "/rig").AddTranslateOp()
    move.Set(Gf.Vec3d(1, 2, 3), 1)
    move.GetAttr().Set(Sdf.ValueBlock(), 2)
    np.testing.assert_array_equal(camera_to_world(camera, 1)[:3, 3], [1, 2, 3])
    with pytest.raises(UserError, match=r"/rig\.xformOp:translate: has no value at frame 2"):
        camera_to_world(camera, 2)
    camera.SetResetXformStack(True)
    np.testing.assert_array_equal(camera_to_world(camera, 2), np.eye(4))
