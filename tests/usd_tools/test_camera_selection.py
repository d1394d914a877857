"""Which cameras and frames a stage means, and what its cameras are called in files."""

import pytest
from pxr import Gf, Usd, UsdGeom, UsdRender

from tests.usd_tools.stages import define_sphere
from usd_tools.camera_selection import camera_frames, camera_labels, camera_samples, find_cameras
from usd_tools.errors import UserError


def stage_with(*paths):
    stage = Usd.Stage.CreateInMemory()
    for path in paths:
        UsdGeom.Camera.Define(stage, path)
    return stage


def paths_of(cameras):
    return [str(camera.GetPath()) for camera in cameras]


def add_product(stage, name, camera):
    settings = UsdRender.Settings.Define(stage, "/Render/settings")
    product = UsdRender.Product.Define(stage, f"/Render/{name}")
    settings.CreateProductsRel().AddTarget(product.GetPath())
    if camera:
        product.CreateCameraRel().AddTarget(camera)
    return settings, product


def test_the_only_camera_or_the_named_ones():
    stage = Usd.Stage.CreateInMemory()
    with pytest.raises(UserError, match="no camera"):
        find_cameras(stage)
    stage = stage_with("/rig/a")
    assert paths_of(find_cameras(stage)) == ["/rig/a"]
    for path in ("/rig/b", "/other"):
        UsdGeom.Camera.Define(stage, path)
    with pytest.raises(UserError, match=r"3 cameras .*/rig/a, /rig/b, /other.*name those to use by --camera"):
        find_cameras(stage)
    assert paths_of(find_cameras(stage, ["/other", "/rig/b"])) == ["/other", "/rig/b"]
    assert paths_of(find_cameras(stage, ["/rig/b", "/rig"])) == ["/rig/b", "/rig/a"]  # each once
    define_sphere(stage, "/mesh")
    with pytest.raises(UserError, match="--camera /mesh: is a Mesh, not a camera"):
        find_cameras(stage, ["/mesh"])
    stage.GetPrimAtPath("/rig/a").SetActive(False)
    with pytest.raises(UserError, match="--camera /rig/a: no such active prim"):
        find_cameras(stage, ["/rig/a"])
    assert paths_of(find_cameras(stage, ["/rig"])) == ["/rig/b"]


def test_cameras_of_the_render_settings():
    stage = stage_with("/a", "/b", "/c")
    settings, _ = add_product(stage, "first", "/c")
    add_product(stage, "again", "/c")  # one product for each of its AOVs' files
    _, shared = add_product(stage, "shared", None)
    settings.CreateCameraRel().AddTarget("/a")
    assert paths_of(find_cameras(stage)) == ["/c", "/a"]
    assert paths_of(find_cameras(stage, ["/b"])) == ["/b"]  # the user has the last word
    shared.GetPrim().SetActive(False)
    assert paths_of(find_cameras(stage)) == ["/c"]
    stage.RemovePrim("/c")
    with pytest.raises(UserError, match="render settings name the camera /c, which is no active camera"):
        find_cameras(stage)


def test_settings_without_products_and_several_settings():
    stage = stage_with("/a", "/b")
    UsdRender.Settings.Define(stage, "/Render/one").CreateCameraRel().AddTarget("/b")
    assert paths_of(find_cameras(stage)) == ["/b"]
    UsdRender.Settings.Define(stage, "/Render/two").CreateCameraRel().AddTarget("/a")
    with pytest.raises(UserError, match="2 cameras"):  # nothing says which
        find_cameras(stage)
    stage.SetMetadata("renderSettingsPrimPath", "/Render/two")
    assert paths_of(find_cameras(stage)) == ["/a"]


def test_labels_tell_cameras_apart_and_do_not_depend_on_the_choice():
    stage = stage_with("/left/cam", "/right/Cam", "/top")
    cameras = find_cameras(stage, ["/left", "/right", "/top"])
    assert camera_labels(stage, cameras) == ["left.cam", "right.Cam", "top"]
    assert camera_labels(stage, cameras[:1]) == ["left.cam"]


def test_frames_by_range_product_camera_or_motion():
    stage = stage_with("/rig/camera")
    (camera,) = find_cameras(stage)
    assert camera_frames(stage, camera) is None

    spin = define_sphere(stage, "/table/sphere").AddRotateYOp()
    for frame in (2, 4.5):
        spin.Set(10.0 * frame, frame)
    assert camera_frames(stage, camera) == [2, 4.5]  # a still camera before a turning object

    UsdGeom.Xform.Define(stage, "/rig").AddTranslateOp().Set(Gf.Vec3d(0), 7)
    camera.GetFocalLengthAttr().Set(35.0, 9)
    assert camera_frames(stage, camera) == camera_samples(camera) == [7, 9]
    camera.SetResetXformStack(True)
    assert camera_samples(camera) == [9]  # the rig above no longer moves it

    _, product = add_product(stage, "product", "/rig/camera")
    product.CreateProductNameAttr().Set("a.0011.exr", 11)
    product.GetProductNameAttr().Set("a.0012.exr", 12)
    assert camera_frames(stage, camera) == [11, 12]

    stage.SetStartTimeCode(1)
    stage.SetEndTimeCode(3.5)
    assert camera_frames(stage, camera) == [1, 2, 3]


@pytest.mark.parametrize("last", [1e12, float("inf"), float("nan")])
def test_absurd_ranges_are_refused(last):
    stage = stage_with("/camera")
    stage.SetStartTimeCode(1)
    stage.SetEndTimeCode(last)
    with pytest.raises(UserError, match="give the frames by --frames"):
        camera_frames(stage, find_cameras(stage)[0])
