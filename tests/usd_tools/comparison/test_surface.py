"""BVH searches, sampling and lookups against brute force."""

import numpy as np
import pytest

from tests.usd_tools.comparison.reference_surface import closest_agreeing_distance, is_seen
from tests.usd_tools.comparison.scenes import joined, orbit, quad, sphere
from usd_tools.comparison.lookup import bilinear
from usd_tools.comparison.matching import match
from usd_tools.comparison.sampling import sample_surface
from usd_tools.comparison.surface import Surface
from usd_tools.comparison.visibility import TrainingCameras, visible


def random_unit(rng, count):
    vectors = rng.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cameras_around(count=3, focal=75.0):
    poses = orbit(count)
    return TrainingCameras(poses, np.tile([focal, focal, 32, 32], (count, 1)), np.tile([64, 64], (count, 1)))


def test_closest_agreeing_point_is_the_brute_force_one():
    rng = np.random.default_rng(0)
    corners = rng.random((40, 1, 3)) + 0.3 * rng.normal(size=(40, 3, 3))
    vertices, faces = corners.reshape(-1, 3), np.arange(120).reshape(40, 3)
    surface = Surface(vertices, faces)
    points, normals = rng.random((150, 3)) * 1.5 - 0.25, random_unit(rng, 150)
    found = surface.closest_agreeing(points, normals, 0.3, 0.3)
    distances = np.linalg.norm(surface.positions(found) - points, axis=1)
    distances[~found.found] = np.inf
    expected = [closest_agreeing_distance(vertices, faces, p, n, 0.3, 0.3) for p, n in zip(points, normals)]
    np.testing.assert_allclose(distances, expected, atol=1e-5)
    assert 20 < found.found.sum() < 140, "the case must hold matched and unmatched points"
    nearest = surface.closest(points)
    disagrees = (surface.normals[nearest.face] * normals).sum(1) <= 0.3
    assert (found.found & disagrees).sum() > 10, "the case must hold points whose nearest face disagrees"
    cosines = (surface.normals[found.face] * normals).sum(1)[found.found]
    assert (cosines > 0.3).all()


def test_thin_plate_matches_its_own_side():
    plate = joined(quad(z=0.001), quad(z=-0.001, flip=True))
    surface = Surface(plate.vertices, plate.faces)
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.random((100, 2)) * 1.8 - 0.9, np.full((100, 1), -0.004)], axis=1)
    found = match(surface, points, np.tile([0.0, 0, 1], (100, 1)), half_extent=1.0)
    # The back (faces 2 and 3) is nearer, but looks the other way.
    assert np.isin(surface.closest(points).face, [2, 3]).all()
    assert np.isin(found.face, [0, 1]).all()


def test_match_reaches_five_percent_of_the_half_extent():
    plate = quad()
    surface = Surface(plate.vertices, plate.faces)
    points = np.array([[0, 0, 0.0999], [0, 0, 0.1001]])
    found = match(surface, points, np.tile([0.0, 0, 1], (2, 1)), half_extent=2.0)
    assert found.found.tolist() == [True, False]


def test_visibility_is_the_brute_force_one():
    # A plate shadows part of a ball from some cameras.
    mesh = joined(sphere(12, 8, radius=0.5), quad(0.6, 0.6, z=0.8), quad(0.6, 0.6, z=0.799, flip=True))
    surface = Surface(mesh.vertices, mesh.faces)
    points = sample_surface(surface, 400, seed=0)
    cameras = cameras_around(3)
    seen = visible(surface, points, cameras)
    positions, normals = surface.positions(points), surface.normals[points.face]
    expected = [
        any(
            is_seen(mesh.vertices, mesh.faces, p, n, pose, k, size)
            for pose, k, size in zip(cameras.camera_to_world, cameras.intrinsics, cameras.sizes)
        )
        for p, n in zip(positions, normals)
    ]
    assert 0.2 < np.mean(expected) < 0.95
    assert (seen != expected).sum() <= 2  # rays that graze an edge may go either way in float32
    assert visible(surface, points, None).all()


def test_a_camera_sees_only_what_its_image_holds():
    plate = quad()
    surface = Surface(plate.vertices, plate.faces)
    points = sample_surface(surface, 4000, seed=0)
    pose = np.eye(4)
    pose[2, 3] = 2.0
    # Half the plate's width fills the image's half, its height does not: focal / depth = 16 pixels per unit.
    camera = TrainingCameras(pose[None], np.array([[32.0, 32, 8, 32]]), np.array([[16.0, 64]]))
    seen = visible(surface, points, camera)
    x = surface.positions(points)[:, 0]
    np.testing.assert_array_equal(seen, np.abs(x) < 0.5)
    behind = pose.copy()
    behind[2, 3] = -2.0
    behind[:3, :3] = np.diag([-1.0, 1, -1])
    back = TrainingCameras(behind[None], np.array([[32.0, 32, 32, 32]]), np.array([[64.0, 64]]))
    assert not visible(surface, points, back).any()


def test_samples_are_uniform_by_area_and_repeatable():
    mesh = joined(quad(3, 1, z=0), quad(1, 1, z=1))
    surface = Surface(mesh.vertices, mesh.faces)
    points = sample_surface(surface, 10_000, seed=3)
    np.testing.assert_allclose(np.bincount(points.face), [3750, 3750, 1250, 1250], atol=1)
    np.testing.assert_allclose(points.barycentrics.sum(axis=1), 1)
    assert (points.barycentrics >= 0).all()
    x = surface.positions(points)[points.face < 2, 0]
    np.testing.assert_allclose([x.mean(), x.var()], [0, 9 / 12], atol=0.03)
    again = sample_surface(surface, 10_000, seed=3)
    np.testing.assert_array_equal(points.barycentrics, again.barycentrics)
    assert not np.array_equal(points.barycentrics, sample_surface(surface, 10_000, seed=4).barycentrics)


def test_bilinear_lookup_at_centres_between_and_over_the_edge():
    image = np.arange(12, dtype=float).reshape(3, 4, 1)
    centers = np.array([[0.5 / 4, 1 - 0.5 / 3], [2.5 / 4, 1 - 1.5 / 3]])
    np.testing.assert_allclose(bilinear(image, centers)[:, 0], [0, 6], atol=1e-12)
    halfway = np.array([[1.0 / 4, 1 - 0.5 / 3], [0.5 / 4, 1 - 1.0 / 3]])
    np.testing.assert_allclose(bilinear(image, halfway)[:, 0], [0.5, 2], atol=1e-12)
    corner = np.array([[0.0, 1.0]])
    np.testing.assert_allclose(bilinear(image, corner)[:, 0], [(0 + 3 + 8 + 11) / 4])
    np.testing.assert_allclose(
        bilinear(image, halfway + np.array([3, -2])), bilinear(image, halfway), atol=1e-9
    )


@pytest.mark.parametrize("count", [0, 1])
def test_searches_of_few_points(count):
    plate = quad()
    surface = Surface(plate.vertices, plate.faces)
    points = np.zeros((count, 3))
    assert len(surface.closest(points)) == count
    assert surface.half_extent == 1.0
