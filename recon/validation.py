"""How close rendered held-out views come to the pictures: PSNR, MSE and SSIM, and the pictures to look at.

The figures compare images over black, clipped to 0..1 and coded in sRGB, as nvdiffrec and its followers do.
They say how well views are reproduced; wrong materials can score high, so textures are compared elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from recon.color import linear_to_srgb
from recon.data.views import Views
from usd_tools.files import atomic_file
from usd_tools.images import write_png

METRICS = ("psnr", "mse", "ssim")


def display_coded(linear: Tensor) -> Tensor:
    """(..., 3) scene-linear over black to sRGB values in 0..1."""
    return linear_to_srgb(linear.clamp(0.0, 1.0))


def mse(image: Tensor, reference: Tensor) -> float:
    """Mean squared error over all pixels and channels."""
    return float((image.double() - reference.double()).square().mean())


def psnr(image: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for values in 0..1; infinite where the images are equal."""
    error = mse(image, reference)
    return -10.0 * math.log10(error) if error > 0.0 else math.inf


def ssim(image: Tensor, reference: Tensor) -> float:
    """Structural similarity of two (H, W, C) images in 0..1, the mean over pixels and channels.

    Wang et al. 2004, section III.C: a Gaussian window of 11x11 pixels with a standard deviation of 1.5,
    K1 = 0.01, K2 = 0.03, and only windows that lie inside the image. Where a side is below 11 pixels, the
    window shrinks to the largest odd size that fits.
    """
    smallest = min(image.shape[:2])
    size = min(11, smallest - 1 + smallest % 2)
    window = _gaussian_window(size, 1.5)
    # Double: a variance as the difference of two means loses most of a float's digits.
    x, y = image.double(), reference.double()

    def local_mean(values: Tensor) -> Tensor:
        return _weighted_sum(_weighted_sum(values, window, axis=0), window, axis=1)

    mean_x, mean_y = local_mean(x), local_mean(y)
    variance_x = local_mean(x * x) - mean_x.square()
    variance_y = local_mean(y * y) - mean_y.square()
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float((luminance * structure).mean())


def validate(
    views: Views, render: Callable[[int], Tensor], folder: Path, limit: int | None = None
) -> dict[str, float | None]:
    """Renders held-out views, writes pictures and `metrics.json` into `folder`, returns the mean figures.

    render: index of a view -> (H, W, 3 or 4) scene-linear, associated alpha (i.e. over black).
    limit: how many views to take, evenly spread; None for all.

    Writes NAME_render.png, NAME_reference.png, and `metrics.json` with `mean` and `views` by name, each with
    psnr (null where infinite), mse and ssim. Means are null where there is no view.
    """
    chosen = _evenly_spread(len(views), limit)
    scores: dict[str, dict[str, float]] = {}
    for index in tqdm(chosen, desc="validation", unit="view", disable=None, leave=False):
        with torch.no_grad():
            image = display_coded(render(index)[..., :3])
        reference = display_coded(views.images[index, ..., :3]).to(image.device)
        name = views.names[index]
        scores[name] = {
            "psnr": psnr(image, reference),
            "mse": mse(image, reference),
            "ssim": ssim(image, reference),
        }
        write_png(folder / f"{name}_render.png", image.cpu().numpy())
        write_png(folder / f"{name}_reference.png", reference.cpu().numpy())
    mean = {
        metric: _json_number(sum(score[metric] for score in scores.values()) / len(scores))
        if scores
        else None
        for metric in METRICS
    }
    written = {
        "mean": mean,
        "views": {
            name: {metric: _json_number(value) for metric, value in score.items()}
            for name, score in scores.items()
        },
    }
    with atomic_file(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(written, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return mean


def _gaussian_window(size: int, deviation: float) -> list[float]:
    """`size` weights that sum to 1."""
    weights = [math.exp(-0.5 * ((i - (size - 1) / 2) / deviation) ** 2) for i in range(size)]
    return [weight / sum(weights) for weight in weights]


def _weighted_sum(values: Tensor, window: list[float], axis: int) -> Tensor:
    """Correlation along `axis`, where the window fits. (A conv2d in double takes several times as long.)"""
    length = values.shape[axis] - len(window) + 1
    total = window[0] * values.narrow(axis, 0, length)
    for i, weight in enumerate(window[1:], start=1):
        total.add_(values.narrow(axis, i, length), alpha=weight)
    return total


def _evenly_spread(count: int, limit: int | None) -> list[int]:
    if limit is None or limit >= count:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * limit) for i in range(limit)]


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None
