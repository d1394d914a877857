"""The turntable renderer on tiny stages: light, camera and files as the contract says."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, UsdLux, UsdRender, UsdShade

from tests.usd_tools.stages import AXIS_COLORS, DISTANCE, RADIUS, write_scene
from usd_tools import render_turntable as command
from usd_tools import usd_to_llff
from usd_tools.console import parse_resolution
from usd_tools.errors import UserError
from usd_tools.images import read_exr
from usd_tools.render_turntable import plan_takes, render_turntable
from usd_tools.resampling import sample_latlong
from usd_tools.stage import open_stage
from usd_tools.stage_rendering import scene_varies

ROOT = Path(__file__).resolve().parents[2]
DIRECTIONS = {
    "+x": (1, 0, 0), "-x": (-1, 0, 0), "+y": (0, 1, 0), "-y": (0, -1, 0), "+z": (0, 0, 1), "-z": (0, 0, -1),
}  # fmt: skip

HAS_MITSUBA = importlib.util.find_spec("mitsuba") is not None
needs_mitsuba = pytest.mark.skipif(not HAS_MITSUBA, reason="Mitsuba is not installed (`render`)")


def chrome(stage: Usd.Stage) -> None:
    """A perfect mirror instead of the textured look."""
    surface = UsdShade.Shader.Get(stage, "/World/materials/look/surface")
    for name in ("diffuseColor", "roughness", "metallic", "normal"):
        surface.GetInput(name).ClearSources()
    surface.GetInput("diffuseColor").Set(Gf.Vec3f(1, 1, 1))
    surface.GetInput("roughness").Set(0.01)
    surface.GetInput("metallic").Set(1.0)


def look_from(direction: tuple[int, int, int]) -> Callable[[Usd.Stage], None]:
    """One camera pose, from `direction` at the origin."""

    def edit(stage: Usd.Stage) -> None:
        up = Gf.Vec3d(0, 0, 1) if direction[2] == 0 else Gf.Vec3d(0, 1, 0)
        pose = Gf.Matrix4d().SetLookAt(DISTANCE * Gf.Vec3d(*direction), Gf.Vec3d(0), up).GetInverse()
        attribute = stage.GetPrimAtPath("/World/camera").GetAttribute("xformOp:transform")
        attribute.Clear()
        attribute.Set(pose)

    return edit


def both(*edits: Callable[[Usd.Stage], None]) -> Callable[[Usd.Stage], None]:
    def edit(stage: Usd.Stage) -> None:
        for each in edits:
            each(stage)

    return edit


def turn_dome(rotation: tuple[float, float, float]) -> Callable[[Usd.Stage], None]:
    def edit(stage: Usd.Stage) -> None:
        UsdLux.DomeLight.Get(stage, "/World/dome").AddRotateXYZOp().Set(Gf.Vec3f(*rotation))

    return edit


def render_one(folder: Path, samples: int = 4, **scene: object) -> np.ndarray:
    written = write_scene(folder, frames=1, **scene)  # type: ignore[arg-type]
    (file,) = render_turntable(written.stage, folder / "out", resolution=written.size, samples=samples)
    return read_exr(file)[0]


@needs_mitsuba
@pytest.mark.parametrize("up_axis", ["Y", "Z"])
@pytest.mark.parametrize("axis", list(AXIS_COLORS))
def test_chrome_ball_shows_what_lies_behind_the_camera(tmp_path: Path, axis: str, up_axis: str) -> None:
    """A DomeLight's own frame is the stage's, whichever axis is up: its top row is +Y."""
    edit = both(chrome, look_from(DIRECTIONS[axis]))
    center = render_one(tmp_path / "s", up_axis=up_axis, edit=edit)[15:17, 15:17, :3].mean(axis=(0, 1))
    np.testing.assert_allclose(center, AXIS_COLORS[axis], atol=0.05)


@needs_mitsuba
@pytest.mark.parametrize(
    ("rotation", "axis", "seen"),
    [
        ((90, 0, 0), "+z", "+y"),  # the usual turn in a Z-up stage: the light's top is the stage's top
        ((90, 0, 0), "-y", "+z"),
        ((0, 90, 0), "+x", "+z"),
        ((0, 0, 90), "+y", "+x"),
    ],
)
def test_turned_dome_turns_its_light(
    tmp_path: Path, rotation: tuple[float, float, float], axis: str, seen: str
) -> None:
    edit = both(chrome, look_from(DIRECTIONS[axis]), turn_dome(rotation))
    center = render_one(tmp_path / "s", up_axis="Z", edit=edit)[15:17, 15:17, :3].mean(axis=(0, 1))
    np.testing.assert_allclose(center, AXIS_COLORS[seen], atol=0.05)


@needs_mitsuba
@pytest.mark.parametrize(("up_axis", "rotation"), [("Y", (0, 30, 0)), ("Z", (90, 0, 40))])
def test_renders_agree_with_the_dataset_made_of_them(
    tmp_path: Path, up_axis: str, rotation: tuple[float, float, float]
) -> None:
    """The chrome ball's pixels are the dataset's probe in the mirrored directions of the dataset's rays."""
    scene = write_scene(
        tmp_path / "s", up_axis=up_axis, frames=3, size=(48, 48), edit=both(chrome, turn_dome(rotation))
    )
    render_turntable(scene.stage, tmp_path / "r", resolution=scene.size, samples=64)
    arguments = [str(scene.stage), "--images", str(tmp_path / "r"), "--out", str(tmp_path / "d")]
    assert usd_to_llff.main([*arguments, "--test-frames", "3"]) == 0
    probe = read_exr(tmp_path / "d/ground_truth/probe.exr")[0]
    poses = np.load(tmp_path / "d/poses_bounds.npy", allow_pickle=False)
    for index, row in enumerate(poses):
        down, right, back, position, (height, width, focal) = row[:15].reshape(3, 5).T
        picture = read_exr(tmp_path / f"d/hdr/frame_{index + 1:04d}.exr")[0]
        rows, columns = np.mgrid[: int(height), : int(width)] + 0.5
        rays = np.multiply.outer(columns - width / 2, right) + np.multiply.outer(rows - height / 2, down)
        rays = rays - focal * back
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        # A ball of radius 0.9 at the origin: nearest hit, then the mirrored ray.
        half = (rays * position).sum(axis=-1)
        inside = half**2 - (position @ position - 0.9**2)
        hit = position + (-half - np.sqrt(np.maximum(inside, 0)))[..., None] * rays
        normal = hit / 0.9
        facing = (normal * rays).sum(axis=-1)
        mirrored = rays - 2 * facing[..., None] * normal
        expected = sample_latlong(probe, mirrored)
        # The ball is a coarse polygon mesh with smooth normals, and colors meet in hard edges: most agree.
        seen = (inside > 0) & (facing < -0.5) & (picture[..., 3] > 0.99)
        agrees = np.abs(picture[..., :3] - expected).max(axis=-1)[seen] < 0.15
        assert seen.sum() > 200
        assert agrees.mean() > 0.8, f"frame {index}: {agrees.mean():.2f}"


@needs_mitsuba
def test_silhouette_lies_where_the_camera_projects_it(tmp_path: Path) -> None:
    """An offset aperture, and a picture wider than the aperture."""

    def edit(stage: Usd.Stage) -> None:
        look_from((0, 0, 1))(stage)
        camera = UsdGeom.Camera.Get(stage, "/World/camera")
        camera.GetHorizontalApertureAttr().Set(20.0)
        camera.GetHorizontalApertureOffsetAttr().Set(2.0)
        camera.GetVerticalApertureOffsetAttr().Set(-1.0)

    scene = write_scene(tmp_path / "s", frames=1, edit=edit)
    (file,) = render_turntable(scene.stage, tmp_path / "o", resolution=(60, 40), samples=32)
    alpha = read_exr(file)[0][..., 3]
    assert alpha.shape == (40, 60)
    rows, columns = np.indices(alpha.shape) + 0.5
    found = np.average(columns, weights=alpha), np.average(rows, weights=alpha)
    # Filmback 20 tall over 40 pixels. Offsets move the window right and up: the object left and down.
    assert found == pytest.approx((30 - 2.0 / 20 * 40, 20 - 1.0 / 20 * 40), abs=0.1)
    radius = 40.0 / 20 * 40 * RADIUS / np.sqrt(DISTANCE**2 - RADIUS**2)
    assert alpha.sum() == pytest.approx(np.pi * radius**2, rel=0.06)  # a 16-gon is 3 % smaller


@needs_mitsuba
def test_files_are_half_float_rgba_with_associated_alpha(tmp_path: Path) -> None:
    import OpenEXR

    scene = write_scene(tmp_path / "s", frames=6)
    files = render_turntable(scene.stage, tmp_path / "o", frames="2:6:2", resolution=(24, 16), samples=16)
    assert [file.name for file in files] == ["scene.0002.exr", "scene.0004.exr", "scene.0006.exr"]
    assert sorted((tmp_path / "o").iterdir()) == files  # nothing half-written beside them
    with OpenEXR.File(str(files[0]), separate_channels=True) as file:
        channels = file.channels()
        assert set(channels) == {"R", "G", "B", "A"}
        assert {channel.pixels.dtype for channel in channels.values()} == {np.dtype(np.float16)}
    pixels = read_exr(files[0])[0]
    assert pixels.shape == (16, 24, 4)
    assert (pixels[pixels[..., 3] == 0] == 0).all()  # light hidden, nothing behind the silhouette
    assert 0 < (pixels[..., 3] > 0).mean() < 1 and pixels[..., 3].max() == pytest.approx(1, abs=1e-3)


@needs_mitsuba
def test_light_has_intensity_exposure_and_color(tmp_path: Path) -> None:
    def brighter(stage: Usd.Stage) -> None:
        dome = UsdLux.DomeLight.Get(stage, "/World/dome")
        dome.CreateIntensityAttr(0.5)
        dome.CreateExposureAttr(2.0)
        dome.CreateColorAttr(Gf.Vec3f(1.0, 0.5, 1.0))

    plain = render_one(tmp_path / "a", samples=16)[..., :3].mean(axis=(0, 1))
    lit = render_one(tmp_path / "b", samples=16, edit=brighter)[..., :3].mean(axis=(0, 1))
    np.testing.assert_allclose(lit / plain, [2, 1, 2], rtol=0.02)


@needs_mitsuba
def test_turning_object_is_rendered_where_it_stands(tmp_path: Path) -> None:
    def move(stage: Usd.Stage) -> None:
        look_from((0, 0, 1))(stage)
        translate = UsdGeom.Xformable(stage.GetPrimAtPath("/World/sphere")).AddTranslateOp()
        translate.Set(Gf.Vec3d(-0.3, 0, 0), 1)
        translate.Set(Gf.Vec3d(0.3, 0, 0), 2)

    scene = write_scene(tmp_path / "s", frames=2, edit=move)
    first, second = render_turntable(scene.stage, tmp_path / "o", resolution=(32, 32), samples=4)
    columns = [
        np.average(np.arange(32), weights=read_exr(file)[0][..., 3].sum(0)) for file in (first, second)
    ]
    assert columns[0] < 13 < 18 < columns[1]


def test_only_what_moves_makes_the_scene_load_again(tmp_path: Path) -> None:
    still = write_scene(tmp_path / "still")
    assert not scene_varies(open_stage(still.stage))  # the camera alone is animated

    def move_rig_and_name_pictures(stage: Usd.Stage) -> None:
        rig = UsdGeom.Xform.Define(stage, "/rig").AddTranslateOp()
        product = UsdRender.Product.Define(stage, "/Render/product").CreateProductNameAttr()
        for frame in (1, 2):
            rig.Set(Gf.Vec3d(frame), frame)
            product.Set(f"a.{frame}.exr", frame)
        UsdGeom.Camera.Define(stage, "/rig/camera")

    moving = write_scene(tmp_path / "rig", edit=move_rig_and_name_pictures)
    assert not scene_varies(open_stage(moving.stage))

    def turn(stage: Usd.Stage) -> None:
        turning = UsdGeom.Xformable(stage.GetPrimAtPath("/World")).AddRotateYOp()
        turning.Set(0.0, 1)
        turning.Set(90.0, 4)

    assert scene_varies(open_stage(write_scene(tmp_path / "turning", edit=turn).stage))


@needs_mitsuba
def test_resolution_defaults_to_the_render_settings(tmp_path: Path) -> None:
    def settings(stage: Usd.Stage) -> None:
        UsdRender.Settings.Define(stage, "/Render/rs").CreateResolutionAttr(Gf.Vec2i(20, 12))
        stage.SetMetadata("renderSettingsPrimPath", "/Render/rs")

    scene = write_scene(tmp_path / "s", frames=1, edit=settings)
    (file,) = render_turntable(scene.stage, tmp_path / "o", samples=1)
    assert read_exr(file)[0].shape == (12, 20, 4)


@needs_mitsuba
def test_several_cameras_from_render_to_dataset(tmp_path: Path) -> None:
    """Two cameras of render products, with policies of their own: silhouettes lie where poses say."""

    def edit(stage: Usd.Stage) -> None:
        look_from((0, 0, 1))(stage)
        other = UsdGeom.Camera.Define(stage, "/World/other")
        other.AddTransformOp().Set(
            Gf.Matrix4d().SetLookAt(Gf.Vec3d(4, 0, 0), Gf.Vec3d(0, 0.4, 0), Gf.Vec3d(0, 1, 0)).GetInverse()
        )
        other.CreateFocalLengthAttr(30.0)
        other.CreateHorizontalApertureAttr(24.0)
        other.CreateVerticalApertureAttr(24.0)
        settings = UsdRender.Settings.Define(stage, "/Render/rs")
        settings.CreateResolutionAttr(Gf.Vec2i(48, 32))
        for name, policy in (("other", "cropAperture"), ("camera", "adjustApertureWidth")):
            product = UsdRender.Product.Define(stage, f"/Render/{name}")
            product.CreateCameraRel().AddTarget(f"/World/{name}")
            product.CreateAspectRatioConformPolicyAttr(policy)
            settings.CreateProductsRel().AddTarget(product.GetPath())

    scene = write_scene(tmp_path / "s", frames=2, edit=edit)
    files = render_turntable(scene.stage, tmp_path / "r", frames="1,1.5", samples=16)
    assert [str(file.relative_to(tmp_path / "r")) for file in files] == [
        str(Path(camera) / f"scene.0001.{part}.exr")
        for camera in ("other", "camera")
        for part in ("000", "500")
    ]
    assert np.abs(read_exr(files[2])[0] - read_exr(files[3])[0]).max() > 0  # noise of their own
    arguments = [str(scene.stage), "--images", str(tmp_path / "r"), "--out", str(tmp_path / "d")]
    assert usd_to_llff.main([*arguments, "--frames", "1,1.5", "--no-ground-truth"]) == 0
    transforms = json.loads((tmp_path / "d/transforms_train.json").read_text())
    assert (transforms["w"], transforms["h"]) == (48, 32) and len(transforms["frames"]) == 4
    for entry in transforms["frames"]:
        figures = {**transforms, **entry}
        alpha = read_exr(tmp_path / "d" / entry["hdr_path"])[0][..., 3]
        rows, columns = np.indices(alpha.shape) + 0.5
        found = np.average(columns, weights=alpha), np.average(rows, weights=alpha)
        right, up, back, _ = np.linalg.inv(np.array(entry["transform_matrix"]))[:, 3]  # of the origin
        expected = (
            figures["cx"] - figures["fl_x"] * right / back,
            figures["cy"] + figures["fl_y"] * up / back,
        )
        assert found == pytest.approx(expected, abs=0.15)
        distance = np.linalg.norm([right, up, back])
        radius = figures["fl_x"] * 0.9 / np.sqrt(distance**2 - 0.9**2)
        assert alpha.sum() == pytest.approx(np.pi * radius**2, rel=0.08)  # a 16-gon is 3 % smaller


@needs_mitsuba
def test_variant_and_what_is_no_mesh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def edit(stage: Usd.Stage) -> None:
        look_from((0, 0, 1))(stage)
        UsdGeom.Cube.Define(stage, "/World/cube")
        variants = stage.GetPrimAtPath("/World").GetVariantSets().AddVariantSet("size")
        for name, scale in (("full", 1.0), ("half", 0.5)):
            variants.AddVariant(name)
            variants.SetVariantSelection(name)
            with variants.GetVariantEditContext():
                UsdGeom.Mesh.Get(stage, "/World/sphere").AddScaleOp().Set(Gf.Vec3f(scale))
        variants.SetVariantSelection("full")

    scene = write_scene(tmp_path / "s", frames=1, edit=edit)
    areas = []
    for choice in ("full", "half"):
        arguments = {"resolution": (32, 32), "samples": 4, "variants": [f"size={choice}"]}
        (file,) = render_turntable(scene.stage, tmp_path / choice, **arguments)  # type: ignore[arg-type]
        areas.append(read_exr(file)[0][..., 3].sum())
    assert areas[0] == pytest.approx(4 * areas[1], rel=0.08)
    assert "/World/cube: is a Cube and not rendered" in caplog.text


@needs_mitsuba
def test_point_instancers_are_refused(tmp_path: Path) -> None:
    scene = write_scene(
        tmp_path / "s", frames=1, edit=lambda stage: UsdGeom.PointInstancer.Define(stage, "/World/copies")
    )
    with pytest.raises(UserError, match="/World/copies: is a PointInstancer"):
        render_turntable(scene.stage, tmp_path / "o", samples=1)


def test_frames_default_to_the_stage(tmp_path: Path) -> None:
    stage = open_stage(write_scene(tmp_path / "s", frames=3).stage)

    def names(spec: str | None) -> list[str]:
        (take,) = plan_takes(stage, tmp_path, "a", frames=spec)
        return [file.name for file in take.files]

    assert names(None) == ["a.0001.exr", "a.0002.exr", "a.0003.exr"]
    assert names("7,12345") == ["a.0007.exr", "a.12345.exr"]
    assert names("1:2:0.5") == ["a.0001.000.exr", "a.0001.500.exr", "a.0002.000.exr"]
    for spec in ("-1:3", "1.0001"):
        with pytest.raises(UserError, match="cannot name a file"):
            names(spec)


def test_bad_input_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s")
    cases: list[tuple[str, dict[str, object]]] = [
        ("no such stage", {"stage_path": tmp_path / "missing.usda"}),
        ("--camera /World/none", {"cameras": ["/World/none"]}),
        ("--frames 9:1", {"frames": "9:1"}),
        ("--renderer povray", {"renderer": "povray"}),
    ]
    if HAS_MITSUBA:
        cases.append(("--mitsuba-variant scalar_blue", {"mitsuba_variant": "scalar_blue"}))
    for message, change in cases:
        with pytest.raises(UserError, match=message):
            render_turntable(**{"stage_path": scene.stage, "out": tmp_path / "o", **change})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--resolution 12"):
        parse_resolution("12")
    assert not (tmp_path / "o").exists()


@needs_mitsuba
def test_stage_without_light_or_mesh_is_refused(tmp_path: Path) -> None:
    dark = write_scene(tmp_path / "dark", edit=lambda stage: stage.RemovePrim("/World/dome"))
    with pytest.raises(UserError, match="no light"):
        render_turntable(dark.stage, tmp_path / "o", samples=1)
    empty = write_scene(tmp_path / "empty", edit=lambda stage: stage.RemovePrim("/World/sphere"))
    with pytest.raises(UserError, match="no visible mesh"):
        render_turntable(empty.stage, tmp_path / "o", samples=1)
    assert not (tmp_path / "o").exists()


def test_missing_mitsuba_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "s")
    monkeypatch.setitem(sys.modules, "mitsuba", None)  # makes the import fail
    with pytest.raises(UserError, match=r"pip install 'separate-and-specialize\[render\]'"):
        render_turntable(scene.stage, tmp_path / "o")


@needs_mitsuba
@pytest.mark.parametrize("way", [["usd_tools/render_turntable.py"], ["-m", "usd_tools.render_turntable"]])
def test_command_line(tmp_path: Path, way: list[str]) -> None:
    scene = write_scene(tmp_path / "s", frames=2)
    arguments = [str(scene.stage), "--out", str(tmp_path / "o"), "--resolution", "8x8", "--samples", "1"]
    result = subprocess.run([sys.executable, *way, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "o").glob("*.exr"))) == 2
    broken = [str(tmp_path / "none.usda"), "--out", str(tmp_path / "p")]
    result = subprocess.run([sys.executable, *way, *broken], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and len(result.stderr.splitlines()) == 1


def test_zero_samples_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["scene.usda", "--out", str(tmp_path), "--samples", "0"])
    assert "--samples" in capsys.readouterr().err
