"""Directions, charts, cameras and alpha of the Mitsuba scene, each against what the conventions say."""

from __future__ import annotations

import numpy as np
import pytest

from usd_tools.demo.studio import latlong_directions
from usd_tools.errors import UserError
from usd_tools.mitsuba_scene import (
    Material,
    MitsubaScene,
    PinholeCamera,
    Surface,
    _rows_from_pole_to_pole,
    import_mitsuba,
)

mitsuba = pytest.importorskip("mitsuba", reason="Mitsuba is not installed (extra `render`)")

AXES = np.concatenate([np.eye(3), -np.eye(3)])
AXIS_COLORS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=np.float32)
WHITE = np.ones((16, 32, 3), dtype=np.float32)


def axis_probe() -> np.ndarray:
    """Each direction shows the color of the axis it is nearest to."""
    directions = latlong_directions((np.arange(128) + 0.5) / 128, (np.arange(64) + 0.5) / 64)
    return AXIS_COLORS[(directions @ AXES.T).argmax(axis=-1)]


def constant(albedo: float, roughness: float, metallic: float, normal: np.ndarray | None = None) -> Material:
    return Material(
        np.full((1, 1, 3), albedo),
        np.full((1, 1), roughness),
        np.full((1, 1), metallic),
        None if normal is None else np.asarray(normal).reshape(1, 1, 3),
    )


def look_at(eye: np.ndarray, target: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    back = (eye - target) / np.linalg.norm(eye - target)
    up = np.array([0.0, 0.0, 1.0]) if abs(back[1]) > 0.9 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, np.cross(back, right), back, eye], axis=-1)
    return matrix


def camera(pose: np.ndarray, size: int = 32, principal: tuple[float, float] | None = None) -> PinholeCamera:
    return PinholeCamera(pose, (size, size), principal or (size / 2, size / 2), size, size, 0.01, 100.0)


def quad(pose: np.ndarray, material: Material, mirrored: bool = False, half: float = 1.0) -> Surface:
    """A square around the origin that faces the camera at `pose`; u to the camera's right, v up."""
    right, up, normal = pose[:3, 0], pose[:3, 1], pose[:3, 2]
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    points = half * (corners[:, :1] * right + corners[:, 1:] * up)
    uvs = (corners + 1) / 2
    if mirrored:
        uvs = uvs * [-1, 1] + [1, 0]
    index = np.array([[0, 1, 2], [0, 2, 3]])
    return Surface(points[index], np.broadcast_to(normal, (2, 3, 3)), uvs[index], material)


@pytest.mark.parametrize("axis", range(6))
def test_mirror_shows_the_probe_behind_the_camera(axis: int) -> None:
    pose = look_at(4 * AXES[axis])
    scene = MitsubaScene([quad(pose, constant(1, 0.01, 1))], axis_probe(), np.eye(3))
    center = scene.render(camera(pose), samples=4)[16, 16]
    np.testing.assert_allclose(center, [*AXIS_COLORS[axis], 1], atol=0.03)


def test_turned_light_turns_with_its_matrix() -> None:
    """Rotated by 90 degrees about +Z, what the probe holds at +X is seen at +Y."""
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    pose = look_at(4 * AXES[1])
    scene = MitsubaScene([quad(pose, constant(1, 0.01, 1))], axis_probe(), turn)
    center = scene.render(camera(pose), samples=4)[16, 16, :3]
    np.testing.assert_allclose(center, AXIS_COLORS[0], atol=0.03)


def test_probe_rows_lie_where_their_directions_are() -> None:
    """A horizontal line in the probe is met at its own latitude, not half a row off."""
    probe = np.zeros((16, 32, 3), dtype=np.float32)
    probe[3] = 1.0
    rows = _rows_from_pole_to_pole(probe)[:, 0, 0]
    latitude = np.linspace(0, 1, len(rows))  # Mitsuba's rows run from pole to pole
    assert np.average(latitude, weights=rows) == pytest.approx(3.5 / 16, abs=1e-6)
    assert rows.max() == 1.0


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("tilt", "seen"), [((1, 0), 0), ((-1, 0), 3), ((0, 1), 1), ((0, -1), 4)])
def test_normal_map_is_opengl_in_plain_and_mirrored_charts(
    mirrored: bool, tilt: tuple[int, int], seen: int
) -> None:
    """Normals that lean by 35 degrees reflect by 70: towards +u for +x, towards +v for +y."""
    pose = look_at(np.array([0.0, 0.0, 4.0]))
    lean = np.radians(35)
    normal = np.array([tilt[0] * np.sin(lean), tilt[1] * np.sin(lean), np.cos(lean)])
    scene = MitsubaScene([quad(pose, constant(1, 0.01, 1, normal), mirrored)], axis_probe(), np.eye(3))
    center = scene.render(camera(pose), samples=4)[16, 16, :3]
    if mirrored and tilt[1] == 0:
        seen = {0: 3, 3: 0}[seen]
    # A tenth is lost to shading normals that lean away from the surface.
    np.testing.assert_allclose(center, AXIS_COLORS[seen], atol=0.12)


def test_textures_lie_v_up() -> None:
    pose = look_at(np.array([0.0, 0.0, 4.0]))
    albedo = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]], dtype=np.float32)  # row 0: v = 1
    material = Material(albedo, np.ones((1, 1)), np.zeros((1, 1)))
    image = MitsubaScene([quad(pose, material)], WHITE, np.eye(3)).render(camera(pose), samples=16)
    # The quad covers half the frame; its texel centers project a quarter of that from the middle.
    for (row, column), texel in {(12, 12): 0, (12, 19): 1, (19, 12): 2, (19, 19): 3}.items():
        pixel = image[row, column, :3]
        color = albedo.reshape(-1, 3)[texel]
        assert pixel[color > 0].min() > pixel[color == 0].max(initial=0) + 0.3, (row, column, pixel)


@pytest.mark.parametrize("principal", [(16.0, 16.0), (12.0, 20.5), (21.0, 9.0)])
def test_small_object_lands_at_its_projected_pixel(principal: tuple[float, float]) -> None:
    pose = look_at(np.array([1.0, 2.0, 3.0]), (0.3, -0.1, 0.2))
    view = camera(pose, principal=principal)
    image = MitsubaScene([quad(pose, constant(0.5, 1, 0), half=0.12)], WHITE, np.eye(3)).render(view, 64)
    alpha = image[..., 3]
    rows, columns = np.indices(alpha.shape) + 0.5
    found = np.array([np.average(columns, weights=alpha), np.average(rows, weights=alpha)])
    local = np.linalg.inv(pose) @ [0, 0, 0, 1]
    expected = np.array([local[0], -local[1]]) / -local[2] * 32 + principal
    np.testing.assert_allclose(found, expected, atol=0.05)  # area centroid against center: perspective
    # The plane faces the camera, so its area is that of the projected square.
    assert alpha.sum() == pytest.approx((0.24 / -local[2] * 32) ** 2, rel=0.05)


def test_color_is_associated_with_alpha() -> None:
    pose = look_at(np.array([0.0, 0.0, 4.0]))
    surface = quad(pose, constant(0.5, 1, 0), half=0.8125)
    image = MitsubaScene([surface], WHITE, np.eye(3)).render(camera(pose), samples=256)
    alpha = image[..., 3]
    assert (image[alpha == 0] == 0).all()  # the light itself is hidden
    edge = (alpha > 0.2) & (alpha < 0.8)
    assert edge.sum() > 20
    inside = image[alpha == 1][:, :3].mean()
    np.testing.assert_allclose(image[edge][:, :3].mean() / alpha[edge].mean(), inside, rtol=0.03)


def test_both_sides_are_shaded() -> None:
    pose = look_at(np.array([0.0, 0.0, 4.0]))
    behind = look_at(np.array([0.0, 0.0, -4.0]))
    scene = MitsubaScene([quad(pose, constant(0.5, 1, 0))], WHITE, np.eye(3))
    front, back = (scene.render(camera(view), 64)[16, 16, :3].mean() for view in (pose, behind))
    assert back == pytest.approx(front, rel=0.1)


def test_seeds_repeat_pictures() -> None:
    pose = look_at(np.array([0.0, 0.0, 4.0]))
    scene = MitsubaScene([quad(pose, constant(0.5, 0.5, 0))], axis_probe(), np.eye(3))
    first, again, other = (scene.render(camera(pose), 4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_rounded_sample_count_is_not_warned_of(capfd: pytest.CaptureFixture[str]) -> None:
    pose = look_at(np.array([0.0, 0.0, 4.0]))
    MitsubaScene([quad(pose, constant(0.5, 1, 0))], WHITE, np.eye(3)).render(camera(pose), samples=7)
    assert capfd.readouterr() == ("", "")


def test_pixels_that_are_not_square_are_refused() -> None:
    pose = look_at(np.array([0.0, 0.0, 4.0]))
    scene = MitsubaScene([quad(pose, constant(0.5, 1, 0))], WHITE, np.eye(3))
    with pytest.raises(UserError, match="square pixels"):
        scene.render(PinholeCamera(pose, (32, 40), (16, 16), 32, 32, 0.01, 100), 1)


def test_threads_are_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import drjit

    before = drjit.thread_count()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        import_mitsuba("scalar_rgb")
        assert drjit.thread_count() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "many")
        import_mitsuba("scalar_rgb")
        assert drjit.thread_count() == 3
    finally:
        drjit.set_thread_count(before)


def test_unknown_variant_is_refused() -> None:
    with pytest.raises(UserError, match="--mitsuba-variant scalar_nonsense"):
        import_mitsuba("scalar_nonsense")
