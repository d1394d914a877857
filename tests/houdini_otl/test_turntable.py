"""Turntables on real stages: what the cameras see, what stays untouched, and what the dataset makes of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdRender
from texture_recovery import camera_layout
from texture_recovery.turntable import Turntable, bounding_sphere, write_turntable

from tests.houdini_otl.reprojection import pixels_by_dataset, pixels_by_stage, project, view
from tests.usd_tools.stages import RADIUS, define_sphere, fake_render, write_scene
from usd_tools import usd_to_llff
from usd_tools.errors import UserError
from usd_tools.images import write_exr

SPHERE = "/World/sphere"
CAMERA = "/cameras/turntable"
SMALL = Turntable(object_path=SPHERE, frames=7, resolution=(48, 32), rings=2)


def make_stage(up_axis: str = "Y", units: float = 0.01) -> Usd.Stage:
    """A sphere of 100 times RADIUS that stands somewhere, turned and below a scaled parent."""
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, up_axis)
    UsdGeom.SetStageMetersPerUnit(stage, units)
    world = UsdGeom.Xform.Define(stage, "/World")
    world.AddTranslateOp().Set(Gf.Vec3d(10, 20, 30))
    world.AddScaleOp().Set(Gf.Vec3f(100))
    mesh = define_sphere(stage, SPHERE)
    mesh.AddTranslateOp().Set(Gf.Vec3d(1, 2, 3))
    mesh.AddRotateXYZOp().Set(Gf.Vec3f(20, 30, 40))
    return stage


CENTER = np.array([110.0, 220.0, 330.0])


@pytest.mark.parametrize(("up_axis", "units"), [("Y", 0.01), ("Z", 1.0)])
@pytest.mark.parametrize("layout", ["sphere", "rings", "object"])
def test_every_view_is_filled_by_the_object(layout: str, up_axis: str, units: float) -> None:
    stage = make_stage(up_axis, units)
    turntable = replace(SMALL, layout=layout)
    changed = write_turntable(stage, turntable)
    assert changed[0] == CAMERA and (SPHERE in changed) == (layout == "object")
    up = np.array([0, 1, 0] if up_axis == "Y" else [0, 0, 1])
    seen = []
    for frame in turntable.frame_numbers():
        camera = view(stage, CAMERA, frame)
        middle = project(camera, CENTER[None], 48, 32)[0]
        np.testing.assert_allclose(middle, [24, 16], atol=1e-4)
        to_world = camera.transform
        position = np.array(to_world.ExtractTranslation())
        assert np.dot(np.array(to_world.TransformDir(Gf.Vec3d(0, 1, 0))), up) > 0, "the picture is upright"
        # The silhouette of a sphere of radius r at distance d has the half angle asin(r / d).
        half = math.degrees(math.asin(100 * RADIUS / np.linalg.norm(position - CENTER)))
        assert half == pytest.approx(math.degrees(math.asin(math.sin(math.radians(20)) / 1.05)), abs=0.3)
        assert camera.GetFieldOfView(Gf.Camera.FOVVertical) == pytest.approx(40, abs=1e-4)
        assert camera.aspectRatio == pytest.approx(1.5)
        near, far = camera.clippingRange.min, camera.clippingRange.max
        assert near < np.linalg.norm(position - CENTER) - 51 and far > np.linalg.norm(position - CENTER) + 51
        in_object = UsdGeom.Xformable(stage.GetPrimAtPath(SPHERE)).ComputeLocalToWorldTransform(frame)
        seen.append(in_object.GetInverse().Transform(Gf.Vec3d(*position)))
    distances = [(a - b).GetLength() for i, a in enumerate(seen) for b in seen[:i]]
    assert min(distances) > 0.5, "no two views are alike, as the object sees them"


def test_elevations_are_kept() -> None:
    for angles in (camera_layout.sphere(50, -20, 60), camera_layout.rings(50, 4, -20, 60)):
        assert len(angles) == 50
        elevation = np.degrees(angles[:, 0])
        assert -20 - 1e-9 <= elevation.min() < -15 and 55 < elevation.max() <= 60 + 1e-9
    rings = np.degrees(camera_layout.rings(50, 4, -20, 60))
    values, counts = np.unique(rings[:, 0].round(6), return_counts=True)
    np.testing.assert_allclose(values, np.linspace(-20, 60, 4), atol=1e-5)
    assert sorted(counts) == [12, 12, 13, 13]
    assert camera_layout.rings(3, 1, -20, 60)[:, 0] == pytest.approx(math.radians(20))


def test_whole_sphere_is_covered_evenly() -> None:
    elevation, azimuth = camera_layout.sphere(400, -90, 90).T
    flat = np.cos(elevation)
    directions = np.stack([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)], axis=-1)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=5e-3)
    np.testing.assert_allclose(directions.T @ directions / 400, np.eye(3) / 3, atol=5e-3)


def test_poses_are_right_handed_and_look_at_the_origin() -> None:
    for elevation in (-math.pi / 2, -0.4, 0.0, 1.2, math.pi / 2):
        for azimuth in (0.0, 1.0, 4.0):
            pose = camera_layout.look_at_center(elevation, azimuth, 3.0)
            np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
            assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
            np.testing.assert_allclose(pose[:3, 3], 3 * pose[:3, 2], atol=1e-12)


@pytest.mark.parametrize("layout", ["sphere", "object"])
def test_cooking_again_changes_nothing(layout: str) -> None:
    stage = make_stage()
    turntable = replace(SMALL, layout=layout, normal=True)
    write_turntable(stage, turntable)
    once = stage.ExportToString()
    write_turntable(stage, turntable)
    assert stage.ExportToString() == once


def test_fewer_frames_leave_none_of_the_old_ones() -> None:
    stage = make_stage()
    write_turntable(stage, replace(SMALL, layout="object"))
    write_turntable(stage, replace(SMALL, frames=3))
    camera = UsdGeom.Xformable(stage.GetPrimAtPath(CAMERA))
    assert camera.GetTimeSamples() == [1, 2, 3]
    first, last = (
        UsdGeom.Xformable(stage.GetPrimAtPath(SPHERE)).ComputeLocalToWorldTransform(t) for t in (1, 7)
    )
    assert first == last, "the object stands still again"


def test_other_cameras_and_settings_stay_as_they_are(tmp_path: Path) -> None:
    def edit(stage: Usd.Stage) -> None:
        UsdRender.Settings.Define(stage, "/Render/rendersettings").CreateResolutionAttr(Gf.Vec2i(99, 77))

    scene = write_scene(tmp_path, edit=edit)
    before = scene.stage.read_bytes()
    source = Usd.Stage.Open(str(scene.stage))
    layer = Sdf.Layer.CreateAnonymous()
    source.GetSessionLayer().subLayerPaths.append(layer.identifier)
    source.SetEditTarget(layer)
    write_turntable(source, SMALL)
    assert source.GetRootLayer().ExportToString() == before.decode()
    touched: list[str] = []
    layer.Traverse("/", lambda path: touched.append(str(path)))
    assert {path.split("/")[1] for path in touched if path.count("/") and path != "/"} == {
        "cameras",
        "Render",
    }
    assert not [path for path in touched if path.startswith("/Render/rendersettings")]
    assert (layer.startTimeCode, layer.endTimeCode) == (1, 7)


def test_prims_of_others_are_never_overwritten() -> None:
    stage = make_stage()
    UsdGeom.Camera.Define(stage, CAMERA).CreateFocalLengthAttr(12.0)
    before = stage.ExportToString()
    with pytest.raises(UserError, match="already has such a prim"):
        write_turntable(stage, SMALL)
    assert stage.ExportToString() == before


def test_camera_below_a_moving_parent_looks_at_the_object() -> None:
    stage = make_stage()
    rig = UsdGeom.Xform.Define(stage, "/rig").AddTransformOp()
    for frame in range(1, 8):
        rig.Set(Gf.Matrix4d().SetTranslate(Gf.Vec3d(frame, 5, 2)), frame)
    write_turntable(stage, replace(SMALL, camera_path="/rig/cam"))
    for frame in range(1, 8):
        np.testing.assert_allclose(
            project(view(stage, "/rig/cam", frame), CENTER[None], 48, 32)[0], [24, 16], atol=1e-4
        )


def test_object_turns_about_the_vertical_through_its_center() -> None:
    for up_axis, axis in (("Y", 1), ("Z", 2)):
        stage = make_stage(up_axis)
        mesh = UsdGeom.Xformable(stage.GetPrimAtPath(SPHERE))
        plain = mesh.ComputeLocalToWorldTransform(0)
        write_turntable(stage, replace(SMALL, layout="object", frames=4))
        assert Gf.IsClose(mesh.ComputeLocalToWorldTransform(1), plain, 1e-9)
        local = Gf.Vec3d(0.3, 0.2, 0.1)
        before = np.array(plain.Transform(local)) - CENTER
        after = np.array(mesh.ComputeLocalToWorldTransform(2).Transform(local)) - CENTER
        assert after[axis] == pytest.approx(before[axis])
        flat = [i for i in range(3) if i != axis]
        assert np.dot(after[flat], before[flat]) == pytest.approx(0, abs=1e-9), "a quarter turn"
        positions = {view(stage, CAMERA, f).transform.ExtractTranslation() for f in range(1, 5)}
        assert len(positions) == 1, "the camera stands still"


def test_object_that_ignores_its_parents_turns_in_place() -> None:
    stage = make_stage()
    mesh = UsdGeom.Xformable(stage.GetPrimAtPath(SPHERE))
    mesh.SetResetXformStack(True)
    write_turntable(stage, replace(SMALL, layout="object", frames=4))
    assert mesh.GetResetXformStack()
    for frame in (1, 2, 3, 4):
        center = mesh.ComputeLocalToWorldTransform(frame).Transform(Gf.Vec3d(0))
        np.testing.assert_allclose(center, [1, 2, 3], atol=0.02)  # the facets' box is not quite centered


def test_instances_are_looked_at_but_not_turned() -> None:
    stage = make_stage()
    instance = UsdGeom.Xform.Define(stage, "/instance").GetPrim()
    instance.GetReferences().AddInternalReference("/World")
    instance.SetInstanceable(True)
    turntable = replace(SMALL, object_path="/instance/sphere")
    write_turntable(stage, turntable)
    np.testing.assert_allclose(project(view(stage, CAMERA, 1), CENTER[None], 48, 32), [[24, 16]], atol=1e-4)
    with pytest.raises(UserError, match="inside an instance"):
        write_turntable(stage, replace(turntable, layout="object"))


def test_group_of_meshes_and_hidden_ones() -> None:
    stage = make_stage()
    far = define_sphere(stage, "/World/far")
    far.AddTranslateOp().Set(Gf.Vec3d(50, 0, 0))
    hidden = define_sphere(stage, "/World/hidden")
    hidden.AddTranslateOp().Set(Gf.Vec3d(0, 900, 0))
    hidden.MakeInvisible()
    center, radius = bounding_sphere(stage, stage.GetPrimAtPath("/World"), 1)
    np.testing.assert_allclose(center, [2560, 120, 180], atol=3)
    assert radius == pytest.approx(np.linalg.norm([2450, 100, 150]) + 50, abs=10)
    with pytest.raises(UserError, match="2 meshes"):
        write_turntable(stage, replace(SMALL, object_path=""))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "spiral"}, "layout spiral"),
        ({"frames": 0}, "frames 0"),
        ({"first_frame": -1}, "first_frame -1"),
        ({"rings": 0}, "rings 0"),
        ({"lowest": 50.0, "highest": 20.0}, "lowest 50"),
        ({"highest": 91.0}, "highest 91"),
        ({"elevation": -91.0}, "elevation -91"),
        ({"field_of_view": 0.0}, "field_of_view 0"),
        ({"margin": -0.1}, "margin -0.1"),
        ({"distance": 20.0}, "within the object"),
        ({"resolution": (0, 4)}, "resolution"),
        ({"samples": 0}, "samples 0"),
        ({"engine": "gpu"}, "engine gpu"),
        ({"picture": "one.exr"}, "<F4>"),
        ({"object_path": "/World/none"}, "no such active prim"),
        ({"object_path": "/World/empty"}, "no visible mesh"),
        ({"camera_path": "cam"}, "expected a prim path"),
        ({"camera_path": "/"}, "expected a prim path"),
    ],
)
def test_bad_parameters_are_told(change: dict[str, object], message: str) -> None:
    stage = make_stage()
    UsdGeom.Xform.Define(stage, "/World/empty")
    before = stage.ExportToString()
    with pytest.raises(UserError, match=message):
        write_turntable(stage, replace(SMALL, **change))  # type: ignore[arg-type]
    assert stage.ExportToString() == before


def test_render_settings_are_what_husk_and_usd_look_for() -> None:
    stage = make_stage()
    turntable = replace(
        SMALL, albedo=True, normal=True, depth=True, engine="xpu", samples=9, picture="r/a.<F4>.exr"
    )
    write_turntable(stage, turntable)
    settings = UsdRender.Settings.GetStageRenderSettings(stage)
    assert str(settings.GetPath()) == "/Render/turntable/settings"
    assert (settings.GetCameraRel().GetTargets(), settings.GetResolutionAttr().Get()) == ([CAMERA], (48, 32))
    assert settings.GetDisableMotionBlurAttr().Get()
    product = UsdRender.Product(stage.GetPrimAtPath(settings.GetProductsRel().GetTargets()[0]))
    assert product.GetProductTypeAttr().Get() == "raster"
    prim = settings.GetPrim()
    assert prim.GetAttribute("karma:global:engine").Get() == "xpu"
    assert prim.GetAttribute("karma:global:pathtracedsamples").Get() == 9
    variables = [stage.GetPrimAtPath(path) for path in product.GetOrderedVarsRel().GetTargets()]
    rows = [
        tuple(
            str(var.GetAttribute(name).Get())
            for name in ("dataType", "sourceType", "sourceName", "driver:parameters:aov:name")
        )
        for var in variables
    ]
    assert rows == [
        ("color4f", "lpe", "C.*[LO]", "C"),
        ("color3f", "raw", "export_basecolor", "albedo"),
        ("normal3f", "raw", "ray:hitN", "N"),
        ("float", "raw", "ray:hitPz", "depth"),
    ]
    for var in variables:
        json.loads(var.GetAttribute("driver:parameters:aov:karma:filter").Get())
    name = product.GetProductNameAttr()
    assert [str(name.Get(frame)) for frame in (1, 7)] == ["r/a.0001.exr", "r/a.0007.exr"]


@pytest.mark.parametrize("up_axis", ["Y", "Z"])
@pytest.mark.parametrize("layout", ["sphere", "rings", "object"])
def test_dataset_sees_points_where_usd_does(tmp_path: Path, layout: str, up_axis: str) -> None:
    """From the stage through GfCamera, and through the converted dataset: the same pixel to 1e-4."""
    width, height = SMALL.resolution
    stage = make_stage(up_axis)
    write_turntable(stage, replace(SMALL, layout=layout))
    stage.Export(str(tmp_path / "shot.usda"))
    for frame in SMALL.frame_numbers():
        write_exr(tmp_path / "renders" / f"shot.{frame:04d}.exr", fake_render((width, height), frame))
    arguments = [
        str(tmp_path / "shot.usda"),
        "--images",
        str(tmp_path / "renders"),
        "--out",
        str(tmp_path / "data"),
    ]
    assert usd_to_llff.main([*arguments, "--object", SPHERE, "--no-ground-truth"]) == 0

    local = np.random.default_rng(3).uniform(-RADIUS, RADIUS, (50, 3))
    by_dataset = pixels_by_dataset(stage, SPHERE, local, tmp_path / "data")
    assert list(by_dataset) == list(SMALL.frame_numbers())
    for frame, pixels in by_dataset.items():
        expected = pixels_by_stage(stage, CAMERA, SPHERE, local, frame, SMALL.resolution)
        np.testing.assert_allclose(pixels, expected, atol=1e-4)
