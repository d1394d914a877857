"""Comparisons whose outcome is arithmetic."""

from dataclasses import replace

import numpy as np
import pytest

from tests.usd_tools.comparison.scenes import (
    asset,
    joined,
    maps,
    orbit,
    quad,
    smooth_maps,
    sphere,
    without_faces,
)
from usd_tools.color import linear_to_srgb
from usd_tools.comparison.compare import TrueSurface, compare_assets
from usd_tools.comparison.lookup import bilinear
from usd_tools.comparison.visibility import TrainingCameras
from usd_tools.errors import UserError
from usd_tools.obj import ObjMesh
from usd_tools.texel_raster import fill_gutter, rasterize_texels

SAMPLES = 20_000
ERRORS = ("albedo_mae", "albedo_mae_aligned", "roughness_mae", "metallic_mae", "normal_deg", "occlusion_mae")


def compare(recovered, truth, cameras=None, samples=SAMPLES):
    return compare_assets(recovered, TrueSurface(truth, cameras, samples))


# A cube of six charts, so that it can be unwrapped in another order with every chart turned.

CHART = 16  # texels of a chart without its frame of one texel, which repeats the border


def cube(order, turns):
    """A cube; face k has its chart in cell `order[k]` of a 3 x 2 atlas, turned by `turns[k]` * 90 deg."""
    axes = [np.roll(np.eye(3), k, axis=0) * [[sign], [1], [sign]] for k in range(3) for sign in (1.0, -1.0)]
    vertices, uvs, normals = [], [], []
    for k, (right, up, out) in enumerate(axes):
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        vertices.append(0.9 * (corners[:, :1] * right + corners[:, 1:] * up + out))
        normals.append(out)
        cell = np.array([order[k] % 3, order[k] // 3])
        local = np.roll(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]), -turns[k], axis=0)
        uvs.append((cell * (CHART + 2) + 1 + local * CHART) / [3 * (CHART + 2), 2 * (CHART + 2)])
    faces = (4 * np.arange(6)[:, None, None] + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    normal_faces = np.repeat(np.arange(6), 2)[:, None].repeat(3, axis=1)
    return ObjMesh(
        np.concatenate(vertices), faces, np.concatenate(uvs), faces, np.array(normals), normal_faces
    )


def cube_maps(charts, order, turns):
    """An atlas of `charts` (6, CHART, CHART, C) for `cube(order, turns)`."""
    cell = CHART + 2
    image = np.zeros((2 * cell, 3 * cell, charts.shape[-1]))
    for k, chart in enumerate(charts):
        turned = np.pad(np.rot90(chart, turns[k]), ((1, 1), (1, 1), (0, 0)), mode="edge")
        column, row = order[k] % 3, 1 - order[k] // 3  # v points up
        image[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = turned
    return image


def turn_normals(charts, turns):
    """Tangent-space normals in frames that are turned as the charts are."""
    turned = charts.copy()
    for k, turn in enumerate(turns):
        for _ in range(turn):
            turned[k, ..., :2] = np.stack([-turned[k, ..., 1], turned[k, ..., 0]], axis=-1)
    return turned


def textured_cube(order, turns, rng):
    tilt = rng.uniform(-0.4, 0.4, (6, CHART, CHART, 2))
    charts = {
        "albedo": rng.random((6, CHART, CHART, 3)),
        "roughness": rng.random((6, CHART, CHART, 1)),
        "metallic": rng.random((6, CHART, CHART, 1)),
        "normal": turn_normals(np.concatenate([tilt, np.ones_like(tilt[..., :1])], -1), turns),
        "occlusion": rng.random((6, CHART, CHART, 1)),
    }
    return asset(cube(order, turns), {k: cube_maps(v, order, turns) for k, v in charts.items()})


def test_cube_helper_turns_its_charts():
    plain = textured_cube(range(6), [0] * 6, np.random.default_rng(0))
    turned = textured_cube(range(6), [1] * 6, np.random.default_rng(0))
    assert not np.allclose(plain.maps["albedo"], turned.maps["albedo"])
    assert not np.allclose(plain.tangents, turned.tangents)


def test_same_surface_with_other_uvs_differs_by_nothing():
    truth = textured_cube(range(6), [0] * 6, np.random.default_rng(0))
    other = textured_cube([3, 0, 5, 1, 4, 2], [1, 2, 3, 0, 2, 1], np.random.default_rng(0))
    metrics = compare(other, truth)
    for key in ERRORS:
        assert metrics[key] < 2e-4, key  # BVH searches run in float32
    assert metrics["albedo_psnr"] > 70
    np.testing.assert_allclose(metrics["albedo_scale"], 1, atol=1e-3)
    assert metrics["coverage"] == 1
    assert metrics["chamfer_l1"] < 1e-6
    assert metrics["fscore"] == 1
    different = compare(textured_cube(range(6), [0] * 6, np.random.default_rng(1)), truth)
    for key in ERRORS:
        assert different[key] > 0.1, f"{key} must see another texture"


def test_rebaked_into_shifted_uvs_differs_by_resampling_only():
    mesh, channels = sphere(), smooth_maps()
    truth = asset(mesh, channels)
    shifted = replace(mesh, uvs=mesh.uvs + np.array([0.37, 0.0]))  # out of the unit square, so it wraps
    texels = rasterize_texels(shifted.uvs, shifted.uv_faces, 256)
    old_uvs = texels.interpolate(mesh.uvs, mesh.uv_faces)
    rebaked = {}
    for name, image in channels.items():
        new = np.zeros((256, 256, image.shape[-1]))
        new[texels.covered] = bilinear(image, old_uvs)
        rebaked[name] = fill_gutter(new, texels.covered)
    metrics = compare(asset(shifted, rebaked), truth)
    for key in ERRORS:
        assert metrics[key] < (0.1 if key == "normal_deg" else 1e-3), key
    assert metrics["coverage"] == 1


@pytest.mark.parametrize("degrees", [30.0, 145.0])
def test_rotated_tangent_frame_gives_zero_degrees(degrees):
    angle = np.radians(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    mesh = quad()
    turned = replace(mesh, uvs=mesh.uvs @ turn.T)
    tilt = np.array([0.5, 0.2])
    truth = asset(mesh, maps(normal=(*tilt, 0.8)))
    metrics = compare(asset(turned, maps(normal=(*(turn @ tilt), 0.8))), truth)
    assert metrics["normal_deg"] < 1e-5
    # The same tangent-space normal in the turned frame is another world-space normal.
    wrong = compare(asset(turned, maps(normal=(*tilt, 0.8))), truth)
    a, b = np.array([*tilt, 0.8]), np.array([*(turn.T @ tilt), 0.8])
    expected = np.degrees(np.arccos(a @ b / (a @ a)))
    assert wrong["normal_deg"] == pytest.approx(expected, rel=1e-6)


def test_mirrored_uvs_flip_the_bitangent():
    mesh = quad()
    mirrored = replace(mesh, uvs=mesh.uvs * [-1, 1])
    truth = asset(mesh, maps(normal=(0.5, 0.3, 0.8)))
    assert compare(asset(mirrored, maps(normal=(-0.5, 0.3, 0.8))), truth)["normal_deg"] < 1e-5


def test_offsets_come_out_as_they_are():
    channels = smooth_maps()
    truth = asset(sphere(), channels)
    changed = {**channels, "roughness": channels["roughness"] + 0.1, "metallic": channels["metallic"] - 0.05}
    metrics = compare(asset(sphere(), changed), truth)
    assert metrics["roughness_mae"] == pytest.approx(0.1, abs=1e-5)
    assert metrics["metallic_mae"] == pytest.approx(0.05, abs=1e-5)
    assert metrics["albedo_mae"] < 1e-5


def test_swapped_part_counts_by_its_area():
    mesh = joined(quad(3, 1, z=0), quad(1, 1, z=0.5))
    mesh = replace(mesh, uvs=np.concatenate([mesh.uvs[:4] * 0 + [0.25, 0.5], mesh.uvs[4:] * 0 + [0.75, 0.5]]))
    left = np.zeros((4, 4, 1))
    left[:, :2] = 1

    def painted(on_large, on_small):
        channels = maps(4)
        channels["roughness"] = left * on_large + (1 - left) * on_small
        channels["albedo"] = np.repeat(left * on_large + (1 - left) * on_small, 3, axis=-1)
        return asset(mesh, channels)

    metrics = compare(painted(0.2, 0.7), painted(0.2, 0.3), samples=4000)
    assert metrics["roughness_mae"] == pytest.approx(0.25 * 0.4, abs=1e-9)
    difference = float(linear_to_srgb(0.7) - linear_to_srgb(0.3))
    assert metrics["albedo_mae"] == pytest.approx(0.25 * difference, abs=1e-9)
    assert metrics["albedo_psnr"] == pytest.approx(-10 * np.log10(0.25 * difference**2), abs=1e-6)
    # sum(truth * recovered) / sum(recovered^2), by area
    scale = (0.75 * 0.2 * 0.2 + 0.25 * 0.3 * 0.7) / (0.75 * 0.2**2 + 0.25 * 0.7**2)
    np.testing.assert_allclose(metrics["albedo_scale"], scale)
    swapped = compare(painted(0.3, 0.2), painted(0.2, 0.3), samples=4000)
    assert swapped["roughness_mae"] == pytest.approx(0.1, abs=1e-9)


def test_aligned_albedo_recovers_a_known_scale():
    channels = smooth_maps()
    scale = np.array([1.25, 0.8, 2.0])
    dimmed = {**channels, "albedo": channels["albedo"] / scale}
    metrics = compare(asset(sphere(), dimmed), asset(sphere(), channels))
    np.testing.assert_allclose(metrics["albedo_scale"], scale, rtol=1e-5)
    assert metrics["albedo_mae"] > 0.05
    assert metrics["albedo_mae_aligned"] < 1e-5


@pytest.mark.parametrize(
    ("roughness", "metallic", "expected"),
    [(0.1, 0.0, 0.0), (0.39, 0.0, 0.0), (0.41, 0.0, 1.0), (0.1, 0.35, 1.0), (0.0, 0.0, 0.0)],
)
def test_dark_misclassified_needs_an_excess_of_point_three(roughness, metallic, expected):
    truth = asset(quad(), maps(albedo=(0.02, 0.02, 0.02), roughness=0.1))
    recovered = asset(quad(), maps(albedo=(0.5, 0.5, 0.5), roughness=roughness, metallic=metallic))
    assert compare(recovered, truth)["dark_misclassified"] == expected


def test_dark_misclassified_is_a_share_of_the_dark_dielectric_only():
    # Four plates: dark dielectric (areas 1 and 1), bright dielectric (1), dark metal (1).
    plates = joined(*(quad(1, 1, z=0.5 * k) for k in range(4)))
    u = np.repeat((np.arange(4) + 0.5) / 4, 4)
    plates = replace(plates, uvs=np.stack([u, np.full(16, 0.5)], -1))
    channels = maps(4)
    channels["albedo"] = np.array([0.03, 0.03, 0.6, 0.03])[None, :, None] * np.ones((4, 1, 3))
    channels["metallic"] = np.array([0.0, 0, 0, 1])[None, :, None] * np.ones((4, 1, 1))
    rough = {**channels, "roughness": np.array([0.9, 0.3, 0.9, 0.9])[None, :, None] * np.ones((4, 1, 1))}
    metrics = compare(asset(plates, rough), asset(plates, channels), samples=4000)
    assert metrics["dark_misclassified"] == pytest.approx(0.5, abs=1e-3)


def test_no_dark_surface_gives_null():
    truth = asset(quad(), maps(albedo=(0.5, 0.5, 0.5)))
    assert compare(truth, truth)["dark_misclassified"] is None


def test_a_hole_lowers_coverage_and_never_pays():
    channels = smooth_maps()
    truth = asset(sphere(), channels)
    bad = {**channels, "roughness": np.clip(channels["roughness"] + 0.3, 0, 1)}
    whole = compare(asset(sphere(), bad), truth)
    centers = sphere().vertices[sphere().faces].mean(axis=1)
    hole = centers[:, 2] > 0.6
    holed = compare(asset(without_faces(sphere(), hole), bad), truth)
    share = truth.surface.areas[hole].sum() / truth.surface.areas.sum()
    assert holed["coverage"] == pytest.approx(1 - share, abs=0.03)  # the rim is within reach of a match
    assert holed["coverage"] < whole["coverage"] == 1
    for key in ("albedo_mae", "roughness_mae", "metallic_mae", "normal_deg"):
        assert holed["hole_penalized"][key] > whole["hole_penalized"][key], key
    assert holed["hole_penalized"]["albedo_psnr"] < whole["hole_penalized"]["albedo_psnr"]
    assert holed["chamfer_l1"] > whole["chamfer_l1"]
    assert whole["hole_penalized"]["roughness_mae"] == whole["roughness_mae"]


def test_nothing_recovered_nearby_gives_nulls_not_zeros():
    mesh = sphere()
    far = asset(replace(mesh, vertices=mesh.vertices * 0.5), maps())
    metrics = compare(far, asset(mesh, maps()))
    assert metrics["coverage"] == 0
    assert metrics["roughness_mae"] is None
    assert metrics["albedo_psnr"] is None
    assert metrics["chamfer_l1"] == pytest.approx(0.5, abs=0.01)  # 0.45 / 0.9
    assert metrics["hole_penalized"]["roughness_mae"] == pytest.approx(0.7)


def test_chamfer_is_in_half_extents_and_ignores_what_no_camera_sees():
    mesh = sphere(96, 48)
    truth = asset(mesh, maps())
    grown = asset(replace(mesh, vertices=mesh.vertices * 1.02), maps())
    assert compare(grown, truth)["chamfer_l1"] == pytest.approx(0.02, abs=5e-4)
    with_core = asset(joined(sphere(24, 12, radius=0.3), mesh), maps())
    poses = orbit(12)
    cameras = TrainingCameras(poses, np.tile([60.0, 60, 32, 32], (12, 1)), np.tile([64, 64], (12, 1)))
    assert compare(with_core, truth)["chamfer_l1"] > 0.01
    assert compare(with_core, truth, cameras)["chamfer_l1"] < 1e-5


def test_fscore_is_the_harmonic_mean_of_both_shares():
    # Half-extent 1.5, so surfaces agree within 0.015; plates of areas 3, 1 and 3.
    large, small, far = quad(3, 1), quad(1, 1, z=0.5), quad(3, 1, z=-0.7)
    truth = asset(joined(large, small), maps(4))
    moved = asset(joined(large, quad(1, 1, z=0.5 + 0.014)), maps(4))
    assert compare(moved, truth)["fscore"] == 1
    moved = asset(joined(large, quad(1, 1, z=0.5 + 0.016)), maps(4))
    assert compare(moved, truth)["fscore"] == pytest.approx(0.75, abs=1e-3)
    extra = compare(asset(joined(large, small, far), maps(4)), truth)
    precision, recall = 4 / 7, 1.0
    expected = 2 * precision * recall / (precision + recall)
    assert extra["fscore"] == pytest.approx(expected, abs=1e-3)
    assert compare(asset(far, maps(4)), truth)["fscore"] == 0


def test_only_what_training_cameras_see_counts():
    plates = joined(quad(z=0.1), quad(z=-0.1, flip=True))
    plates = replace(plates, uvs=np.repeat([[0.25, 0.5], [0.75, 0.5]], 4, axis=0))
    wrong_back = maps(4)
    wrong_back["roughness"] = np.array([0.3, 0.3, 0.9, 0.9])[None, :, None] * np.ones((4, 1, 1))
    pose = np.eye(4)
    pose[2, 3] = 3.0
    front = TrainingCameras(pose[None], np.array([[64.0, 64, 32, 32]]), np.array([[64.0, 64]]))
    truth, recovered = asset(plates, maps(4)), asset(plates, wrong_back)
    assert compare(recovered, truth)["roughness_mae"] == pytest.approx(0.3, abs=1e-3)
    metrics = compare(recovered, truth, front)
    assert metrics["roughness_mae"] == pytest.approx(0, abs=1e-9)
    assert metrics["samples"] == pytest.approx(SAMPLES / 2, abs=2)


def test_cameras_that_see_nothing_are_told():
    pose = np.eye(4)
    pose[2, 3] = -50.0  # behind the object's back, looking away from it
    away = TrainingCameras(pose[None], np.array([[64.0, 64, 32, 32]]), np.array([[64.0, 64]]))
    with pytest.raises(UserError, match="no training camera"):
        compare(asset(quad(), maps()), asset(quad(), maps()), away)


def test_constant_baseline_is_the_best_constant():
    channels = smooth_maps()
    truth = asset(sphere(), channels)
    baseline = compare(truth, truth)["constant"]
    for shift in (-0.02, 0.02):
        values = baseline["material"]
        guess = asset(
            sphere(), maps(roughness=values["roughness"] + shift, metallic=values["metallic"] + shift)
        )
        worse = compare(guess, truth)
        assert worse["roughness_mae"] > baseline["roughness_mae"]
        assert worse["metallic_mae"] > baseline["metallic_mae"]
    flat = compare(asset(sphere(), maps()), truth)
    assert flat["normal_deg"] == pytest.approx(baseline["normal_deg"], abs=1e-3)
    assert baseline["dark_misclassified"] is None or 0 <= baseline["dark_misclassified"] <= 1


def test_deterministic():
    channels = smooth_maps()
    noisy = {**channels, "roughness": np.random.default_rng(0).random((128, 128, 1))}
    results = [compare(asset(sphere(40, 20), noisy), asset(sphere(), channels)) for _ in range(2)]
    assert results[0] == results[1]
