"""Masked picture metrics, against hand-made cases and the training side's own SSIM."""

import math

import numpy as np
import pytest

from usd_tools.image_metrics import display_coded, log_coded, psnr, ssim


def pictures(seed=0, size=(20, 26)):
    rng = np.random.default_rng(seed)
    truth = rng.random((*size, 3))
    return (truth + 0.1 * rng.normal(size=truth.shape)).clip(0, 1), truth


def test_psnr_counts_the_mask_only():
    _, truth = pictures()
    image = truth.copy()
    image[:5] += 0.1
    mask = np.zeros(truth.shape[:2], bool)
    mask[:10] = True
    assert psnr(image, truth, mask) == pytest.approx(-10 * math.log10(0.01 / 2))
    assert psnr(image, truth, ~mask) == math.inf


@pytest.mark.parametrize("size", [(20, 26), (7, 12)])
def test_ssim_is_that_of_validation(size):
    torch = pytest.importorskip("torch")
    from recon import validation

    image, truth = pictures(size=size)
    expected = validation.ssim(torch.from_numpy(image), torch.from_numpy(truth))
    everywhere = np.ones(size, bool)
    assert ssim(image, truth, everywhere) == pytest.approx(expected, rel=1e-9)
    assert ssim(truth, truth, everywhere) == pytest.approx(1.0)


def test_ssim_counts_the_mask_only():
    _, truth = pictures(size=(40, 40))
    image = truth.copy()
    image[:14] = 0.5
    mask = np.zeros((40, 40), bool)
    mask[22:] = True  # more than half a window away
    assert ssim(image, truth, mask) == pytest.approx(1.0)
    assert ssim(image, truth, ~mask) < 0.8


def test_log_coding_keeps_what_a_display_clips():
    bright = np.array([[[2.0, 2.0, 2.0]], [[9.0, 9.0, 9.0]]])
    assert np.ptp(display_coded(bright)) == 0.0
    assert np.ptp(log_coded(bright)) > 0.3
    assert (log_coded(np.array([-1.0, 0.0])) == 0.0).all()
