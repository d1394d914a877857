"""Image losses on linear HDR color, and the composite losses of the two material branches.

A color loss takes `prediction` (..., 3) and `reference` (..., 4): scene-linear Rec.709, both composited over
black in the same way (associated alpha). The reference's alpha masks both sides, and the mean runs over all
pixels, the background included, so that a weight means the same at every coverage.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.color import linear_to_srgb
from usd_tools.errors import UserError

ColorLoss = Callable[[Tensor, Tensor], Tensor]


def log_l1(prediction: Tensor, reference: Tensor) -> Tensor:
    """L1 after `log(1 + x)` and the sRGB curve. Robust: a highlight counts by its logarithm.

    Negative radiance counts as black (and has no gradient).
    """
    prediction, reference = _masked(prediction, reference)
    return (_log_coded(prediction) - _log_coded(reference)).abs().mean()


def smape(prediction: Tensor, reference: Tensor) -> Tensor:
    """Symmetric mean absolute percentage error, |a - b| / (|a| + |b| + 0.01). Robust: at most 1 per value."""
    prediction, reference = _masked(prediction, reference)
    return ((prediction - reference).abs() / (prediction.abs() + reference.abs() + 0.01)).mean()


def mse(prediction: Tensor, reference: Tensor) -> Tensor:
    """Mean squared error. Sensitive to outliers: highlights dominate."""
    prediction, reference = _masked(prediction, reference)
    return (prediction - reference).square().mean()


def rel_mse(prediction: Tensor, reference: Tensor) -> Tensor:
    """Relative squared error, (a - b)^2 / (a^2 + b^2 + 0.1)."""
    prediction, reference = _masked(prediction, reference)
    return ((prediction - reference).square() / (prediction.square() + reference.square() + 0.1)).mean()


def l1(prediction: Tensor, reference: Tensor) -> Tensor:
    """Mean absolute error."""
    prediction, reference = _masked(prediction, reference)
    return (prediction - reference).abs().mean()


def mask_mse(coverage: Tensor, reference: Tensor) -> Tensor:
    """Mean squared error of coverage (..., 1) against the alpha of `reference` (..., 4)."""
    return (coverage - reference[..., 3:4]).square().mean()


COLOR_LOSSES: dict[str, ColorLoss] = {
    "log_l1": log_l1,
    "smape": smape,
    "mse": mse,
    "rel_mse": rel_mse,
    "l1": l1,
}


def color_loss(name: str) -> ColorLoss:
    """The color loss called `name`; an unknown name is a `UserError` that lists the known ones."""
    if name not in COLOR_LOSSES:
        near = difflib.get_close_matches(name, COLOR_LOSSES, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(f"loss {name!r}: unknown; use one of {', '.join(COLOR_LOSSES)}{hint}")
    return COLOR_LOSSES[name]


@dataclass(frozen=True)
class CompositeLoss:
    """first_weight * first + second_weight * second + mask_weight * mask, for one branch.

    first, second: names in `COLOR_LOSSES`. A term of weight 0 is not evaluated.
    """

    first: str
    second: str
    first_weight: float
    second_weight: float
    mask_weight: float

    def __post_init__(self) -> None:
        color_loss(self.first)
        color_loss(self.second)
        if min(self.first_weight, self.second_weight, self.mask_weight) < 0.0:
            raise UserError(
                f"loss weights: expected none below 0, got {self.first_weight}, {self.second_weight} "
                f"and {self.mask_weight} (first, second, mask); raise the negative one"
            )

    def __call__(self, prediction: Tensor, coverage: Tensor, reference: Tensor) -> Tensor:
        """Scalar loss of `prediction` (..., 3) and `coverage` (..., 1) against `reference` (..., 4)."""
        total = prediction.new_zeros(())
        if self.first_weight > 0.0:
            total = total + self.first_weight * color_loss(self.first)(prediction, reference)
        if self.second_weight > 0.0:
            total = total + self.second_weight * color_loss(self.second)(prediction, reference)
        if self.mask_weight > 0.0:
            total = total + self.mask_weight * mask_mse(coverage, reference)
        return total


# A ignores highlights and carries the silhouette; B must not miss highlights; joint is nvdiffrec's objective.
BRANCH_LOSSES: dict[str, CompositeLoss] = {
    "a": CompositeLoss("log_l1", "smape", first_weight=0.35, second_weight=0.15, mask_weight=0.5),
    "b": CompositeLoss("rel_mse", "mse", first_weight=0.7, second_weight=0.3, mask_weight=0.0),
    "joint": CompositeLoss("rel_mse", "rel_mse", first_weight=1.0, second_weight=0.0, mask_weight=1.0),
}


def _masked(prediction: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    if prediction.shape[-1] != 3 or reference.shape != (*prediction.shape[:-1], 4):
        raise ValueError(
            f"expected prediction (..., 3) and reference (..., 4) of equal leading shape, "
            f"got {tuple(prediction.shape)} and {tuple(reference.shape)}"
        )
    alpha = reference[..., 3:4]
    return prediction * alpha, reference[..., :3] * alpha


def _log_coded(linear: Tensor) -> Tensor:
    return linear_to_srgb(torch.log1p(linear.clamp(min=0.0)))
