"""Image metrics against hand-computed values and a slow SSIM, and what validation writes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from recon.data.cameras import Cameras
from recon.data.views import Views
from recon.validation import display_coded, mse, psnr, ssim, validate
from usd_tools.images import read_png


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, window by window."""
    offset = np.arange(11) - 5
    weights = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for channel in range(x.shape[2]):
        for row in range(x.shape[0] - 10):
            for column in range(x.shape[1] - 10):
                a = x[row : row + 11, column : column + 11, channel]
                b = y[row : row + 11, column : column + 11, channel]
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                variance_a = (weights * (a - mean_a) ** 2).sum()
                variance_b = (weights * (b - mean_b) ** 2).sum()
                covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
                luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
                values.append(luminance * (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4))
    return float(np.mean(values))


def random_views(count: int, size: int = 16) -> Views:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, size, size, 4, generator=generator) * 1.5
    eye = torch.eye(4).repeat(count, 1, 1)
    cameras = Cameras(eye, torch.ones(count, 2), torch.ones(count, 2), size, size)
    return Views(cameras, images, tuple(f"frame_{i:04d}" for i in range(count)))


def test_mse_and_psnr_by_hand():
    black = torch.zeros(2, 2, 3)
    image = black.clone()
    image[0, 0, 0] = 0.6  # 0.36 over 12 values
    assert mse(image, black) == pytest.approx(0.03)
    assert psnr(image, black) == pytest.approx(-10 * math.log10(0.03))
    assert psnr(black + 0.1, black) == pytest.approx(20.0, abs=1e-5)
    assert psnr(image, image) == math.inf


def test_ssim_equals_the_slow_twin():
    generator = np.random.default_rng(3)
    x = generator.random((14, 17, 3))
    y = np.clip(x + 0.2 * generator.standard_normal(x.shape), 0, 1)
    expected = reference_ssim(x, y)
    assert 0.3 < expected < 0.99
    assert ssim(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected, abs=1e-10)
    assert ssim(torch.from_numpy(x).float(), torch.from_numpy(y).float()) == pytest.approx(expected, abs=1e-5)


def test_ssim_by_hand():
    grey, white = torch.full((12, 12, 3), 0.5), torch.ones(12, 12, 3)
    assert ssim(grey, white) == pytest.approx((2 * 0.5 + 1e-4) / (0.25 + 1 + 1e-4), abs=1e-6)
    assert ssim(white, white) == pytest.approx(1.0)
    assert ssim(torch.rand(6, 5, 3), torch.rand(6, 5, 3)) < 1.0  # smaller than the window


def test_display_coding_clips():
    values = display_coded(torch.tensor([-1.0, 0.0, 0.0031308, 0.5, 1.0, 7.0]))
    np.testing.assert_allclose(values, [0, 0, 0.04045, 0.735357, 1, 1], atol=1e-5)


def test_validate_writes_pictures_and_figures(tmp_path):
    views = random_views(3)
    noisy = views.images + 0.1
    mean = validate(views, lambda i: noisy[i], tmp_path / "validation")
    written = json.loads((tmp_path / "validation" / "metrics.json").read_text())
    assert written["mean"] == mean
    assert list(written["views"]) == list(views.names)
    for metric in ("psnr", "mse", "ssim"):
        per_view = [score[metric] for score in written["views"].values()]
        assert mean[metric] == pytest.approx(np.mean(per_view))
    one = written["views"]["frame_0001"]
    shown, truth = display_coded(noisy[1, ..., :3]), display_coded(views.images[1, ..., :3])
    assert one["mse"] == pytest.approx(float((shown - truth).square().mean()), rel=1e-5)
    for kind, expected in (("render", shown), ("reference", truth)):
        picture = read_png(tmp_path / "validation" / f"frame_0001_{kind}.png")
        np.testing.assert_allclose(picture, expected, atol=0.5 / 255 + 1e-6)
    assert len(list((tmp_path / "validation").iterdir())) == 7


def test_validate_takes_an_even_selection(tmp_path):
    asked: list[int] = []
    views = random_views(9)

    def render(index: int) -> torch.Tensor:
        asked.append(index)
        return views.images[index, ..., :3]

    mean = validate(views, render, tmp_path, limit=3)
    assert asked == [1, 4, 7]
    assert mean == {"psnr": None, "mse": 0.0, "ssim": pytest.approx(1.0)}  # equal images: infinite PSNR


def test_nothing_held_out(tmp_path):
    mean = validate(Views.none(), lambda i: torch.zeros(1, 1, 3), tmp_path)
    assert mean == {"psnr": None, "mse": None, "ssim": None}
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"mean": mean, "views": {}}
