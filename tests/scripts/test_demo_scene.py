"""The demo scene: a sound mesh, maps that tell the confusions apart, a light as the contract wants it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, UsdShade

from usd_tools.color import luminance, srgb_to_linear
from usd_tools.demo import gourd as shape
from usd_tools.demo.paint import paint_textures
from usd_tools.demo.scene import (
    CAMERA_PATH,
    DISTANCE,
    FIELD_OF_VIEW,
    HEIGHT,
    OBJECT_PATH,
    SIZE,
    write_demo_scene,
)
from usd_tools.demo.studio import latlong_directions, studio_probe
from usd_tools.errors import UserError
from usd_tools.images import read_exr, read_png

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_scene(tmp_path_factory.mktemp("demo"), frames=12, texture_resolution=128)


def triangle_areas(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=-1) / 2


def test_mesh_is_a_closed_manifold_with_outward_faces() -> None:
    mesh = shape.gourd()
    edges = Counter(tuple(edge) for face in mesh.faces.tolist() for edge in zip(face, face[1:] + face[:1]))
    assert set(edges.values()) == {1}  # every directed edge once: oriented consistently ...
    assert all((b, a) in edges for a, b in edges)  # ... and matched by its twin: closed
    assert len(mesh.points) - len(edges) // 2 + len(mesh.faces) == 2  # a topological sphere
    corners = mesh.points[mesh.faces]
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume > 3
    assert 5_000 <= len(mesh.faces) <= 10_000


def test_normals_equal_finite_differences_of_the_surface() -> None:
    polar, azimuth = np.meshgrid(np.linspace(0.05, np.pi - 0.05, 40), np.linspace(0, 6, 31), indexing="ij")
    step = 1e-5
    along_polar = shape.surface(polar + step, azimuth)[0] - shape.surface(polar - step, azimuth)[0]
    along_azimuth = shape.surface(polar, azimuth + step)[0] - shape.surface(polar, azimuth - step)[0]
    expected = np.cross(along_azimuth, along_polar)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(shape.surface(polar, azimuth)[1], expected, atol=1e-7)  # O(step^2), rounding


def test_normals_at_the_poles_are_vertical() -> None:
    _, normals = shape.surface(np.array([0.0, np.pi]), np.array([1.0, 2.0]))
    np.testing.assert_allclose(normals, [[0, -1, 0], [0, 1, 0]], atol=1e-12)


def test_surface_is_concave_somewhere() -> None:
    """At the waist the profile bends inwards: the ring lies inside the chord between its neighbors."""
    radius = [np.hypot(p[0], p[2]) for p in shape.surface(np.arccos([0.0, -0.38, -0.75]), np.zeros(3))[0]]
    assert radius[1] < 0.8 * (radius[0] + radius[2]) / 2


def test_uvs_lie_inside_the_unit_square_and_do_not_overlap() -> None:
    """One chart in which no triangle is mirrored and the areas add up to the area covered."""
    mesh = shape.gourd()
    assert mesh.uvs.min() >= 0 and mesh.uvs.max() <= 1
    edge = mesh.uvs[:, 1:] - mesh.uvs[:, :1]
    areas = (edge[:, 0, 0] * edge[:, 1, 1] - edge[:, 0, 1] * edge[:, 1, 0]) / 2
    assert areas.min() > 0
    # Count, for random points of the square, the triangles that hold them.
    queries = np.random.default_rng(0).random((400, 1, 2))
    sides = [
        np.sign(
            (b[:, 0] - a[:, 0]) * (queries[..., 1] - a[:, 1])
            - (b[:, 1] - a[:, 1]) * (queries[..., 0] - a[:, 0])
        )
        for a, b in ((mesh.uvs[:, i], mesh.uvs[:, (i + 1) % 3]) for i in range(3))
    ]
    holders = ((sides[0] > 0) & (sides[1] > 0) & (sides[2] > 0)).sum(axis=1)
    assert holders.max() == 1
    assert abs(holders.mean() - areas.sum()) < 0.05


def test_uvs_and_points_describe_the_same_surface() -> None:
    mesh = shape.gourd(rings=12, segments=20)
    polar, azimuth = shape.angles_of(mesh.uvs)
    np.testing.assert_allclose(shape.surface(polar, azimuth)[0], mesh.points[mesh.faces], atol=1e-12)


def surface_samples(
    maps: tuple[np.ndarray, ...], mesh: shape.GourdMesh
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Areas of the triangles, and the maps' values at their centers."""
    centers = mesh.uvs.mean(axis=1)
    size = maps[0].shape[0]
    rows = ((1 - centers[:, 1]) * size).astype(int)
    columns = (centers[:, 0] * size).astype(int)
    return triangle_areas(mesh.points[mesh.faces]), [image[rows, columns] for image in maps]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_maps_hold_dark_dielectric_metal_and_clear_roughness_regions(seed: int) -> None:
    maps = paint_textures(192, seed)
    for values in (maps.albedo, maps.roughness, maps.metallic):
        assert values.min() >= 0 and values.max() <= 1
    assert maps.roughness.min() == pytest.approx(0.08, abs=1e-6)
    assert maps.roughness.max() == pytest.approx(0.60, abs=1e-6)
    areas, (albedo, roughness, metallic) = surface_samples(
        (maps.albedo, maps.roughness, maps.metallic), shape.gourd()
    )

    def share(mask: np.ndarray) -> float:
        return float(areas[mask].sum() / areas.sum())

    dark = (luminance(albedo) < 0.1) & (metallic < 0.1)
    assert share(dark) >= 0.10
    assert share(dark & (roughness < 0.1)) >= 0.08  # black gloss
    assert 0.03 <= share(metallic > 0.9) <= 0.25
    assert share((albedo[:, 0] > 0.5) & (albedo[:, 2] < 0.1) & (metallic < 0.1)) > 0.15  # strongly colored
    orange = np.abs(albedo - albedo[(roughness > 0.45) & (roughness < 0.55)].mean(axis=0)).max(axis=1) < 0.02
    assert share(orange & (roughness < 0.25)) > 0.05  # one color ...
    assert share(orange & (roughness > 0.45)) > 0.05  # ... at two roughnesses


def test_maps_vary_with_the_seed_and_repeat_with_it() -> None:
    first, again, other = paint_textures(64, 1), paint_textures(64, 1), paint_textures(64, 2)
    np.testing.assert_array_equal(first.albedo, again.albedo)
    assert np.abs(first.albedo - other.albedo).mean() > 0.01


def test_maps_are_seamless_where_u_wraps() -> None:
    """The chart is cut along u = 0 only: across the cut the paint goes on."""
    maps = paint_textures(512)
    jump = np.abs(maps.albedo[:, 0] - maps.albedo[:, -1]).mean()
    inside = np.abs(maps.albedo[:, 1:] - maps.albedo[:, :-1]).mean()
    assert jump < 5 * inside


def test_probe_has_a_soft_room_and_sharp_bright_lights() -> None:
    probe = studio_probe()
    assert probe.shape == (256, 512, 3) and probe.dtype == np.float32
    assert np.isfinite(probe).all() and probe.min() > 0.05
    assert 50 <= probe.max() <= 100
    assert 0.002 < (probe.max(axis=-1) > 2).mean() < 0.08  # lights are few ...
    # ... and fall off within a texel or two
    assert (np.abs(np.diff(probe.max(axis=-1), axis=1)) > 2).any()


def test_probe_orientation() -> None:
    """Centre column +Z, the column at a quarter of the width +X, top row +Y."""
    directions = latlong_directions(np.array([0.5, 0.25]), np.array([0.0, 0.5]))
    np.testing.assert_allclose(directions[1], [[0, 0, 1], [1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(directions[0], [[0, 1, 0]] * 2, atol=1e-12)
    # The warm window stands at azimuth 35 degrees from +Z towards +X, 48 degrees up, between its bars.
    probe = studio_probe()
    key = probe[int((90 - 48 + 4) / 180 * 256), int((0.5 - 35 / 360) * 512)]
    np.testing.assert_allclose(key, [15.0, 14.0, 12.5], rtol=1e-3)


def test_probes_of_other_seeds_differ_but_are_as_bright() -> None:
    means = [studio_probe(seed, width=128).mean() for seed in range(4)]
    assert len({round(float(mean), 4) for mean in means}) == 4
    assert max(means) < 4 * min(means)


def test_stage_is_complete_and_valid(scene: Path) -> None:
    stage = Usd.Stage.Open(str(scene))
    assert stage.GetDefaultPrim().GetPath() == "/World"
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y
    assert UsdGeom.GetStageMetersPerUnit(stage) == pytest.approx(0.01)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (1, 12)
    mesh = UsdGeom.Mesh.Get(stage, OBJECT_PATH)
    assert UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st").GetInterpolation() == UsdGeom.Tokens.faceVarying
    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    assert material.ComputeSurfaceSource()[0].GetIdAttr().Get() == "UsdPreviewSurface"
    bounds = UsdGeom.BBoxCache(Usd.TimeCode(1), [UsdGeom.Tokens.default_]).ComputeWorldBound(mesh.GetPrim())
    assert bounds.ComputeAlignedRange().GetMin()[1] == pytest.approx(0, abs=1e-5)  # stands on the ground


def test_stage_passes_usd_validation(scene: Path) -> None:
    try:
        from pxr import UsdValidation
    except ImportError:  # USD before 25.02
        from pxr import UsdUtils

        checker = UsdUtils.ComplianceChecker()
        checker.CheckCompliance(str(scene))
        assert checker.GetErrors() + checker.GetFailedChecks() == []
        return
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    errors = UsdValidation.ValidationContext(validators).Validate(Usd.Stage.Open(str(scene)))
    assert [error.GetMessage() for error in errors] == []


def test_camera_circles_the_object_at_all_elevations(scene: Path) -> None:
    stage = Usd.Stage.Open(str(scene))
    camera = UsdGeom.Camera.Get(stage, CAMERA_PATH)
    center = Gf.Vec3d(0, HEIGHT * SIZE, 0)
    elevations = []
    for frame in range(1, 13):
        pose = camera.GetCamera(frame)
        offset = pose.transform.ExtractTranslation() - center
        assert offset.GetLength() == pytest.approx(DISTANCE)
        assert Gf.Dot(pose.frustum.ComputeViewDirection(), offset / offset.GetLength()) == pytest.approx(-1)
        assert pose.GetFieldOfView(Gf.Camera.FOVHorizontal) == pytest.approx(FIELD_OF_VIEW, abs=1e-4)
        elevations.append(np.degrees(np.arcsin(offset[1] / DISTANCE)))
    assert elevations[0] > 60 and elevations[-1] < -60
    assert np.max(np.abs(np.diff(elevations))) < 30
    radius = np.linalg.norm(shape.gourd().points, axis=-1).max() * SIZE
    assert radius < DISTANCE * np.sin(np.radians(FIELD_OF_VIEW / 2))  # never leaves the frame


def test_written_maps_are_the_painted_ones(scene: Path) -> None:
    painted = paint_textures(128)
    folder = scene.parent / "textures"
    albedo = srgb_to_linear(read_png(folder / "albedo.png"))
    np.testing.assert_allclose(albedo, painted.albedo, atol=0.005)  # 8 bits
    np.testing.assert_allclose(read_png(folder / "roughness.png")[..., 0], painted.roughness, atol=0.003)
    np.testing.assert_allclose(read_png(folder / "metallic.png")[..., 0], painted.metallic, atol=0.003)
    np.testing.assert_allclose(read_exr(folder / "studio.exr")[0], studio_probe(), rtol=1e-3)  # half float


def test_bad_options_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--frames 0"):
        write_demo_scene(tmp_path / "a", frames=0)
    with pytest.raises(UserError, match="--texture-resolution 1"):
        write_demo_scene(tmp_path / "a", texture_resolution=1)
    assert not (tmp_path / "a").exists()


def test_command_line_runs_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts/demo_scene.py"), "--out", "made here", "--frames", "2"]
    command += ["--texture-resolution", "16"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()) == Path("made here/scene.usda")
    assert Usd.Stage.Open(str(tmp_path / "made here/scene.usda")).GetEndTimeCode() == 2
