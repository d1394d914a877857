"""Polygons to triangles: fans where that is right, ears where it is not."""

import numpy as np
import pytest

from usd_tools.polygons import triangulate

L_SHAPE = np.array([[0, 0], [3, 0], [3, 1], [1, 1], [1, 3], [0, 3]], float)
ARROW = np.array([[0, 0], [2, 1], [0, 2], [1, 1]], float)
COMB = np.array(
    [[0, 0], [7, 0], [7, 4], [6, 4], [6, 1], [4, 1], [4, 4], [3, 4], [3, 1], [1, 1], [1, 4], [0, 4]]
)


def in_space(polygon):
    """Somewhere on a slanted plane."""
    right, up = np.array([0.6, 0.0, 0.8]), np.array([0.0, 1.0, 0.0])
    return polygon[:, :1] * right + polygon[:, 1:] * up + [5, 6, 7]


def area(polygon):
    x, y = polygon.T
    return 0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()


@pytest.mark.parametrize("polygon", [L_SHAPE, ARROW, COMB.astype(float)])
def test_concave_polygons_are_covered_once(polygon):
    for start in range(len(polygon)):  # whatever corner comes first
        turned = np.roll(polygon, start, axis=0)
        points = in_space(turned)
        corners, face_of = triangulate(points, np.array([len(points)]), np.arange(len(points)))
        assert len(corners) == len(points) - 2 and not face_of.any()
        a, b, c = (points[corners[:, k]] for k in range(3))
        vectors = np.cross(b - a, c - a) / 2
        normal = np.cross([0.6, 0.0, 0.8], [0.0, 1.0, 0.0])
        signed = vectors @ normal
        assert signed.min() > -1e-12  # none is turned over
        assert signed.sum() == pytest.approx(area(polygon))


def test_convex_polygons_are_fans_beside_concave_ones():
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    arrow = np.concatenate([ARROW, np.ones((4, 1))], axis=1)
    points = np.concatenate([square, arrow])
    counts = np.array([4, 4, 3])
    indices = np.array([3, 2, 1, 0, 4, 5, 6, 7, 0, 1, 2])
    corners, face_of = triangulate(points, counts, indices)
    np.testing.assert_array_equal(face_of, [0, 0, 1, 1, 2])
    np.testing.assert_array_equal(corners[[0, 1, 4]], [[0, 1, 2], [0, 2, 3], [8, 9, 10]])
    # The arrow's notch is in both of its triangles.
    assert all(7 in triangle for triangle in indices[corners[2:4]].tolist())


def test_a_polygon_without_area_stays_finite():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 0]])
    corners, _ = triangulate(points, np.array([4]), np.arange(4))
    assert corners.shape == (2, 3)
