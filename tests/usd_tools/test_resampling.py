"""Resizing and turning pictures."""

import numpy as np

from usd_tools.resampling import latlong_directions, resize_box, sample_latlong, turn_latlong

PICTURE = np.random.default_rng(0).random((12, 8, 3))


def test_box_is_the_mean_of_blocks():
    expected = PICTURE.reshape(4, 3, 2, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_box(PICTURE, 2, 4), expected, atol=1e-12)
    np.testing.assert_allclose(resize_box(PICTURE, 5, 7).mean((0, 1)), PICTURE.mean((0, 1)), atol=1e-12)
    assert resize_box(PICTURE, 8, 12) is PICTURE


def test_latlong_directions_follow_the_convention():
    directions = latlong_directions(400, 200)
    for row, column, axis in (
        (100, 200, (0, 0, 1)),
        (100, 100, (1, 0, 0)),
        (0, 7, (0, 1, 0)),
        (100, 0, (0, 0, -1)),
    ):
        np.testing.assert_allclose(directions[row, column], axis, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1)


def test_latlong_sampling_and_turning():
    picture = np.random.default_rng(1).random((16, 32, 3))
    np.testing.assert_allclose(sample_latlong(picture, 3 * latlong_directions(32, 16)), picture, atol=1e-9)
    assert (turn_latlong(picture, np.eye(3)) == picture).all()
    quarter = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # x -> -z, z -> x
    turned = turn_latlong(picture, quarter)
    # Direction +z (center) is looked up at +x (a quarter): the picture moves right by a quarter of its width.
    np.testing.assert_allclose(turned, np.roll(picture, 8, axis=1), atol=1e-9)


def latlong_energy(picture):
    height = len(picture)
    edges = np.cos(np.linspace(0, np.pi, height + 1))
    return (picture.mean(axis=1) * (edges[:-1] - edges[1:])[:, None]).sum(axis=0)


def test_a_sun_of_one_pixel_keeps_its_energy_when_turned():
    """Point sampling at pixel centers loses or doubles it, depending on where it falls."""
    random = np.random.default_rng(3)
    for _ in range(8):
        picture = np.full((32, 64, 1), 1e-9)
        picture[random.integers(6, 26), random.integers(64)] = 1000.0
        rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
        np.testing.assert_allclose(
            latlong_energy(turn_latlong(picture, rotation)), latlong_energy(picture), rtol=0.05
        )


def test_a_small_picture_is_enlarged_with_its_energy():
    picture = np.random.default_rng(4).random((8, 16, 3))
    enlarged = turn_latlong(picture, np.eye(3), (24, 48))
    np.testing.assert_allclose(latlong_energy(enlarged), latlong_energy(picture), rtol=0.01)
    np.testing.assert_allclose(enlarged[1::3, 1::3], picture, atol=1e-9)
