"""How close two pictures are where the object is: PSNR and SSIM over a mask."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from usd_tools.color import linear_to_srgb

# Wang et al. 2004, "Image Quality Assessment", section III.C.
_WINDOW, _DEVIATION, _K1, _K2 = 11, 1.5, 0.01, 0.03


def display_coded(linear: NDArray) -> NDArray[np.float64]:
    """Scene-linear values as a display shows them: clipped to 0..1, sRGB-coded."""
    return linear_to_srgb(np.clip(np.asarray(linear, np.float64), 0, 1)).astype(np.float64, copy=False)


def log_coded(linear: NDArray) -> NDArray[np.float64]:
    """Scene-linear values tone mapped by log(1 + x) and sRGB-coded: highlights keep their differences."""
    return linear_to_srgb(np.log1p(np.maximum(np.asarray(linear, np.float64), 0))).astype(
        np.float64, copy=False
    )


def psnr(image: NDArray, reference: NDArray, mask: NDArray) -> float:
    """Peak signal-to-noise ratio in dB of (H, W, C) values, peak 1, over the pixels of `mask` (H, W).

    Infinite where they are equal.
    """
    error = float(np.square(image[mask] - reference[mask]).mean())
    return -10 * math.log10(error) if error > 0 else math.inf


def ssim(image: NDArray, reference: NDArray, mask: NDArray) -> float:
    """Structural similarity of (H, W, C) values in 0..1, the mean over channels and the pixels of `mask`.

    Gaussian windows of 11 x 11 pixels (less in smaller pictures) that lie inside the picture; a pixel of
    `mask` nearer to the border than that does not count.
    """
    x, y = np.asarray(image, np.float64), np.asarray(reference, np.float64)
    smallest = min(x.shape[:2])
    size = min(_WINDOW, smallest - 1 + smallest % 2)
    offsets = np.arange(size) - (size - 1) / 2
    window = np.exp(-0.5 * (offsets / _DEVIATION) ** 2)
    window /= window.sum()

    def local_mean(values: NDArray) -> NDArray[np.float64]:
        rows = np.lib.stride_tricks.sliding_window_view(values, size, axis=0) @ window
        return np.lib.stride_tricks.sliding_window_view(rows, size, axis=1) @ window

    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x * x) - mean_x**2 + local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    similarity = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    similarity *= (2 * covariance + c2) / (variances + c2)
    margin = size // 2
    inner = mask[margin : mask.shape[0] - margin, margin : mask.shape[1] - margin]
    return float(similarity[inner].mean())
