"""Texel rasterisation against a brute-force loop, and gutters against brute-force nearest texels."""

import numpy as np
import pytest

from usd_tools.texel_raster import fill_gutter, nearest_covered, rasterize_texels


def texel_centers(resolution):
    row, column = np.mgrid[:resolution, :resolution]
    return np.stack([(column + 0.5) / resolution, 1 - (row + 0.5) / resolution], axis=-1)


def brute_force_inside(uvs, faces, resolution):
    """(F, R, R) signed containment of texel centres, one triangle at a time."""
    points = texel_centers(resolution)
    inside = []
    for triangle in uvs[faces]:
        signs = []
        for k in range(3):
            a, b = triangle[k], triangle[(k + 1) % 3]
            signs.append((b[0] - a[0]) * (points[..., 1] - a[1]) - (b[1] - a[1]) * (points[..., 0] - a[0]))
        inside.append(np.all(np.array(signs) >= 0, axis=0) | np.all(np.array(signs) <= 0, axis=0))
    return np.array(inside)


def test_agrees_with_brute_force_on_random_triangles():
    rng = np.random.default_rng(0)
    uvs = rng.random((60, 2))
    faces = np.arange(60).reshape(20, 3)
    texel_map = rasterize_texels(uvs, faces, 37)
    inside = brute_force_inside(uvs, faces, 37)
    expected = np.where(inside.any(axis=0), inside.argmax(axis=0), -1)
    np.testing.assert_array_equal(texel_map.face, expected)
    np.testing.assert_allclose(
        texel_map.interpolate(uvs, faces), texel_centers(37)[texel_map.covered], atol=1e-6
    )


def test_unit_square_covers_every_texel_once_diagonal_included():
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    texel_map = rasterize_texels(uvs, faces, 16)  # the diagonal passes through 16 centres
    assert texel_map.covered.all()
    assert (texel_map.face == 0).sum() == 16 * 17 // 2
    np.testing.assert_allclose(texel_map.barycentrics.sum(axis=-1), 1, atol=1e-6)


def test_row_zero_is_v_one():
    uvs = np.array([[0, 0.75], [1, 0.75], [1, 1], [0, 1]])
    texel_map = rasterize_texels(uvs, np.array([[0, 1, 2], [0, 2, 3]]), 8)
    assert texel_map.covered[:2].all()
    assert not texel_map.covered[2:].any()


def test_irregular_fan_leaves_no_cracks():
    rng = np.random.default_rng(1)
    angle = np.sort(rng.random(200)) * 2 * np.pi
    ring = 0.5 + 0.49 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    uvs = np.concatenate([[[0.5, 0.5]], ring])
    index = np.arange(200)
    faces = np.stack([np.zeros(200, int), 1 + index, 1 + (index + 1) % 200], axis=-1)
    texel_map = rasterize_texels(uvs, faces, 256)
    inside = np.linalg.norm(texel_centers(256) - 0.5, axis=-1) < 0.48
    # Only the ring's polygon (inscribed, so a little inside the circle) is certain to be covered.
    polygon = brute_force_inside(uvs, faces, 256).any(axis=0)
    assert texel_map.covered[polygon & inside].all()


@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (3, -2), (0.5, 0.25)])
def test_uvs_outside_the_unit_square_wrap(shift):
    uvs = np.array([[0.1, 0.1], [0.6, 0.15], [0.3, 0.7]])
    faces = np.array([[0, 1, 2]])
    plain = rasterize_texels(uvs, faces, 32)
    moved = rasterize_texels(uvs + np.array(shift), faces, 32)
    texels = (round(-32 * shift[1]), round(32 * shift[0]))
    np.testing.assert_array_equal(moved.face, np.roll(plain.face, texels, axis=(0, 1)))


def test_mirrored_and_flat_triangles():
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0.5, 0.5]], float)
    assert rasterize_texels(uvs, np.array([[2, 1, 0]]), 8).covered.sum() == 36
    assert not rasterize_texels(uvs, np.array([[0, 3, 2], [1, 1, 1]]), 8).covered.any()
    assert not rasterize_texels(uvs, np.zeros((0, 3), int), 8).covered.any()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="finite"):
        rasterize_texels(np.array([[0, 0], [1, 0], [np.nan, 1]]), np.array([[0, 1, 2]]), 8)
    with pytest.raises(ValueError, match="resolution"):
        rasterize_texels(np.zeros((3, 2)), np.array([[0, 1, 2]]), 0)


def wrapped_distances(covered):
    """Brute force: wrapped distance from every texel to its nearest covered texel."""
    size = covered.shape
    row, column = np.mgrid[: size[0], : size[1]]
    best = np.full(size, np.inf)
    for y, x in np.argwhere(covered):
        dy = np.minimum(np.abs(row - y), size[0] - np.abs(row - y))
        dx = np.minimum(np.abs(column - x), size[1] - np.abs(column - x))
        best = np.minimum(best, np.hypot(dy, dx))
    return best


@pytest.mark.parametrize("density", [0.002, 0.05, 0.5])
def test_gutter_takes_the_nearest_covered_texel(density):
    covered = np.random.default_rng(2).random((40, 56)) < density
    covered[7, 50] = True
    index = nearest_covered(covered)
    assert covered.ravel()[index].all()
    row, column = np.mgrid[:40, :56]
    dy, dx = np.abs(row - index // 56), np.abs(column - index % 56)
    found = np.hypot(np.minimum(dy, 40 - dy), np.minimum(dx, 56 - dx))
    expected = wrapped_distances(covered)
    assert (found > expected + 1e-9).mean() < 0.002  # jump flooding may miss the nearest on rare texels
    assert (found - expected).max() < 1.0


def test_gutter_fills_everything_and_keeps_covered_texels():
    rng = np.random.default_rng(3)
    covered = np.zeros((16, 16), bool)
    covered[2:5, 2:5] = True
    image = rng.random((16, 16, 3))
    filled = fill_gutter(image, covered)
    np.testing.assert_array_equal(filled[covered], image[covered])
    np.testing.assert_array_equal(filled[3, 8], image[3, 4])
    np.testing.assert_array_equal(filled[3, 15], image[3, 2])  # three texels over the edge, not eleven
    assert np.isin(filled.reshape(-1, 3), image[covered]).all()
    np.testing.assert_array_equal(fill_gutter(image[..., 0], covered), filled[..., 0])


def test_gutter_of_limited_width():
    covered = np.zeros((16, 16), bool)
    covered[8, 8] = True
    image = np.zeros((16, 16, 1))
    image[8, 8] = 1
    filled = fill_gutter(image, covered, distance=2)[..., 0]
    row, column = np.mgrid[:16, :16]
    np.testing.assert_array_equal(filled == 1, np.hypot(row - 8, column - 8) <= 2)


def test_gutter_without_coverage_changes_nothing():
    image = np.random.default_rng(4).random((8, 8, 2))
    np.testing.assert_array_equal(fill_gutter(image, np.zeros((8, 8), bool)), image)
    with pytest.raises(ValueError, match="same size"):
        fill_gutter(image, np.zeros((4, 8), bool))
