"""Area averaging against a slow supersampled twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.data.resize import area_average, area_averages, fitted_size


def reference_area_average(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Every pixel cut into width x height equal parts, so that new pixels hold whole parts."""
    fine = np.repeat(np.repeat(pixels.astype(np.float64), height, axis=0), width, axis=1)
    old_height, old_width, channels = pixels.shape
    return fine.reshape(height, old_height, width, old_width, channels).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("old", "new"), [((9, 7), (3, 5)), ((8, 8), (4, 2)), ((5, 4), (5, 4)), ((7, 6), (1, 1))]
)
def test_equals_the_twin_and_keeps_the_mean(old, new):
    pixels = np.random.default_rng(1).random((*old, 4)).astype(np.float32)
    small = area_average(pixels, new[1], new[0])
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, reference_area_average(pixels, new[1], new[0]), rtol=1e-5)
    np.testing.assert_allclose(small.mean(axis=(0, 1)), pixels.mean(axis=(0, 1)), rtol=1e-5)


def test_many_at_once_are_as_one_by_one():
    pictures = np.random.default_rng(2).random((3, 9, 7, 4)).astype(np.float32)
    small = area_averages(torch.from_numpy(pictures), 3, 4)
    expected = np.stack([area_average(picture, 3, 4) for picture in pictures])
    np.testing.assert_allclose(small.numpy(), expected, rtol=1e-5)


def test_fitted_size():
    assert fitted_size(512, 512, 128) == (128, 128)
    assert fitted_size(1920, 1080, 960) == (960, 540)
    assert fitted_size(10, 1000, 50) == (1, 50)
