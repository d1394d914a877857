"""Which picture belongs to which camera and frame, from file names to the dataset."""

import json

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, UsdRender

from tests.usd_tools.stages import fake_render, orbit, write_scene
from usd_tools.camera_selection import find_cameras
from usd_tools.camera_views import find_views
from usd_tools.errors import UserError
from usd_tools.images import read_exr, write_exr
from usd_tools.usd_to_llff import main


def rig(*paths, frames=None):
    stage = Usd.Stage.CreateInMemory()
    if frames:
        stage.SetStartTimeCode(frames[0])
        stage.SetEndTimeCode(frames[1])
    for path in paths:
        UsdGeom.Camera.Define(stage, path)
    return stage, find_cameras(stage, ["/rig"])


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def told(views, folder):
    return [(view.label, view.frame, str(view.picture.relative_to(folder))) for view in views]


@pytest.mark.parametrize(
    "names, images",
    [
        ("{0}/shot.{1:04d}.exr", ""),
        ("{0}/shot.{1:04d}.exr", "<camera>"),
        ("{0}/shot.{1:04d}.exr", "<camera>/shot.####.exr"),
        ("shot_{0}_{1}.exr", "shot_<camera>_%d.exr"),
        ("{0}/shot.{0}.{1:04d}.exr", "<camera>/shot.<camera>.$F4.exr"),
    ],
)
def test_pictures_by_camera_and_frame(tmp_path, names, images):
    stage, cameras = rig("/rig/right", "/rig/left", frames=(1, 2))
    expected = [(c, f, names.format(c, f)) for f in (1, 2) for c in ("right", "left")]
    touch(tmp_path, *(name for *_, name in expected))
    views = find_views(stage, cameras, str(tmp_path / images))
    assert told(views, tmp_path) == expected
    assert [str(view.camera.GetPath()) for view in views[:2]] == ["/rig/right", "/rig/left"]
    # One camera of a rig finds its own folder, too; other cameras' pictures do not matter.
    (left,) = find_cameras(stage, ["/rig/left"])
    assert told(find_views(stage, [left], str(tmp_path / images)), tmp_path) == expected[1::2]


def test_one_picture_for_each_camera(tmp_path):
    stage, cameras = rig(*(f"/rig/cam{i}" for i in range(6)))
    touch(tmp_path, *(f"cam{i}.exr" for i in range(6)))
    views = find_views(stage, cameras, str(tmp_path / "<camera>.exr"), test_every=3)
    assert [view.label for view in views if view.held_out] == ["cam0", "cam3"]
    assert {view.frame for view in views} == {0.0}
    views = find_views(stage, cameras, str(tmp_path / "<camera>.exr"), frames="7")
    assert {view.frame for view in views} == {7.0}
    with pytest.raises(UserError, match=r"cam0\.exr: no picture of 1 frames \(8\)"):
        find_views(stage, cameras, str(tmp_path / "<camera>.exr"), frames="7,8")


def test_cameras_have_frames_of_their_own(tmp_path):
    stage, (left, right) = rig("/rig/left", "/rig/right")
    for camera, frames in ((left, (1, 2.5)), (right, (2, 3))):
        move = camera.AddTranslateOp()
        for frame in frames:
            move.Set(Gf.Vec3d(frame), frame)
    touch(tmp_path, "left/a.0001.000.exr", "left/a.0002.500.exr", "right/a.2.exr", "right/a.3.exr")
    assert told(find_views(stage, [left, right], str(tmp_path)), tmp_path) == [
        ("left", 1, "left/a.0001.000.exr"),
        ("right", 2, "right/a.2.exr"),
        ("left", 2.5, "left/a.0002.500.exr"),
        ("right", 3, "right/a.3.exr"),
    ]
    with pytest.raises(UserError, match=r"left: no picture of 1 frames \(3\)"):
        find_views(stage, [left, right], str(tmp_path), test_frames="3")


def test_sub_frames_in_a_folder(tmp_path):
    """The same names are versions or tiles, unless sub-frames are asked for."""
    stage, cameras = rig("/rig/camera")
    names = ["v2.0001.000.exr", "v2.0001.500.exr", "v2.0002.000.exr", "v2.0003.exr"]
    touch(tmp_path, *names)
    views = find_views(stage, cameras, str(tmp_path), frames="1,2,3", test_frames="1.5")
    assert told(views, tmp_path) == [("camera", f, n) for f, n in zip((1, 1.5, 2, 3), names)]
    assert [view.held_out for view in views] == [False, True, False, False]
    with pytest.raises(UserError, match="several sequences"):
        find_views(stage, cameras, str(tmp_path), frames="1,2,3")


def test_pictures_that_cannot_be_told_apart(tmp_path):
    stage, cameras = rig("/rig/left", "/rig/right", frames=(1, 2))
    touch(tmp_path, "a.0001.exr", "a.0002.exr")
    for images in ("", "a.####.exr"):
        with pytest.raises(UserError, match=r"put <camera> into a pattern .*left"):
            find_views(stage, cameras, str(tmp_path / images))
    touch(tmp_path, "left/a.0001.exr", "left/a.0002.exr")
    with pytest.raises(UserError, match=r"put <camera> into a pattern .*right"):
        find_views(stage, cameras, str(tmp_path))
    touch(tmp_path, "right/a.0001.exr")
    with pytest.raises(UserError, match=r"right: no picture of 1 frames \(2\)"):
        find_views(stage, cameras, str(tmp_path))


def test_dataset_of_several_cameras(tmp_path):
    """Two cameras that circle a sphere half a turn apart: poses, intrinsics and names belong together."""

    def edit(stage):
        second = UsdGeom.Camera.Define(stage, "/World/second")
        second.CreateHorizontalApertureAttr(40.0)
        second.CreateVerticalApertureAttr(40.0)
        second.CreateFocalLengthAttr(40.0)
        pose = second.AddTransformOp()
        for frame in (1, 2, 3, 4):
            pose.Set(orbit(np.pi / 2 * (frame + 1), "Y"), frame)

    scene = write_scene(tmp_path / "scene", edit=edit)
    renders = tmp_path / "renders"
    for frame in scene.frames:
        for index, name in enumerate(("camera", "second")):
            picture = fake_render(scene.size, 10 * index + frame)
            write_exr(renders / f"{name}.{frame:04d}.exr", picture)
    out = tmp_path / "out"
    arguments = [str(scene.stage), "--images", str(renders / "<camera>.####.exr"), "--no-ground-truth"]
    cameras = ["--camera", "/World/second", "--camera", "/World/camera"]
    assert main([*arguments, *cameras, "--test-every", "4", "--out", str(out)]) == 0

    description = json.loads((out / "dataset.json").read_text())
    told_frames = [(f["name"], f["frame"], f["camera"][7:], f["split"]) for f in description["frames"]]
    assert told_frames == [
        ("frame_0001", 1, "second", "test"), ("frame_0002", 1, "camera", "test"),
        ("frame_0003", 2, "second", "train"), ("frame_0004", 2, "camera", "train"),
        ("frame_0005", 3, "second", "train"), ("frame_0006", 3, "camera", "train"),
        ("frame_0007", 4, "second", "train"), ("frame_0008", 4, "camera", "train"),
    ]  # fmt: skip
    assert description["cameras"] == ["/World/second", "/World/camera"]
    entries = {}
    for split in ("train", "test"):
        for entry in json.loads((out / f"transforms_{split}.json").read_text())["frames"]:
            entries[entry["file_path"][-10:]] = entry
    poses = np.load(out / "poses_bounds.npy", allow_pickle=False)
    for index, (name, frame, camera, _) in enumerate(told_frames):
        expected = orbit(np.pi / 2 * (frame + (1 if camera == "second" else -1)), "Y").ExtractRotationMatrix()
        back = np.array(expected)[2] @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # Z-up
        np.testing.assert_allclose(np.array(entries[name]["transform_matrix"])[:3, 2], back, atol=1e-6)
        focal = 32 if camera == "second" else 64
        assert entries[name]["fl_x"] == pytest.approx(focal)
        assert poses[index, 14] == pytest.approx(focal)
        source = read_exr(renders / f"{camera}.{frame:04d}.exr")[0]
        np.testing.assert_array_equal(read_exr(out / f"hdr/{name}.exr")[0], source)


def warnings_of(tmp_path, capsys, edit):
    scene = write_scene(tmp_path / "scene", edit=edit)
    main(scene.arguments(tmp_path / "out", "--no-ground-truth"))
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


def test_frames_beyond_the_animation_are_told(tmp_path, capsys):
    def edit(stage):
        pose = stage.GetPrimAtPath("/World/camera").GetAttribute("xformOp:transform")
        for frame in (1, 4):
            pose.ClearAtTime(frame)

    (line,) = warnings_of(tmp_path, capsys, edit)
    assert "/World/camera: is animated from frame 2 to 3; on frames 1, 4 it stands still" in line


def test_stillness_is_told(tmp_path, capsys):
    def edit(stage):
        camera = UsdGeom.Camera.Get(stage, "/World/camera")
        camera.ClearXformOpOrder()
        camera.AddTranslateOp(opSuffix="still").Set(Gf.Vec3d(0, 0, 3))

    (line,) = warnings_of(tmp_path, capsys, edit)
    assert "all pictures show the object from one side" in line


def test_stretched_cameras_are_told(tmp_path, capsys):
    def edit(stage):
        camera = UsdGeom.Camera.Get(stage, "/World/camera")
        camera.AddScaleOp().Set(Gf.Vec3f(1, 1, 2))

    (line,) = warnings_of(tmp_path, capsys, edit)
    assert "/World/camera: its transform is sheared or scaled unevenly" in line


def test_exposure_and_depth_of_field_are_told(tmp_path, capsys):
    def edit(stage):
        camera = UsdGeom.Camera.Get(stage, "/World/camera")
        camera.CreateExposureAttr().Set(0.0, 1)  # not on the first frame
        camera.GetExposureAttr().Set(3.0, 4)
        camera.CreateFStopAttr(2.8)

    exposure, blur = warnings_of(tmp_path, capsys, edit)
    assert "/World/camera: its exposure scales pictures by 8" in exposure
    assert "/World/camera: has an fStop" in blur


def test_depth_of_field_that_the_settings_disable_is_fine(tmp_path, capsys):
    def edit(stage):
        UsdGeom.Camera.Get(stage, "/World/camera").CreateFStopAttr(2.8)
        UsdRender.Settings.Define(stage, "/Render/settings").CreateDisableDepthOfFieldAttr(True)

    assert not warnings_of(tmp_path, capsys, edit)


def test_what_llff_cannot_tell_is_told(tmp_path, capsys):
    def edit(stage):
        camera = UsdGeom.Camera.Get(stage, "/World/camera")
        camera.CreateVerticalApertureOffsetAttr().Set(0.0, 1)  # not on the first frame
        camera.GetVerticalApertureOffsetAttr().Set(1.0, 4)
        settings = UsdRender.Settings.Define(stage, "/Render/settings")
        settings.CreatePixelAspectRatioAttr(1.5)

    offsets, pixels = warnings_of(tmp_path, capsys, edit)
    assert "aperture offsets" in offsets and "pixels are not square" in pixels


def test_nothing_is_told_of_a_plain_turntable(tmp_path, capsys):
    def edit(stage):
        UsdGeom.Camera.Get(stage, "/World/camera").AddScaleOp().Set(Gf.Vec3f(0.01))

    assert not warnings_of(tmp_path, capsys, edit)
