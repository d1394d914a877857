import math

import pytest
import torch

from recon import losses
from usd_tools.errors import UserError


def image(prediction, reference, alpha=1.0):
    """One pixel whose three channels share a value."""
    p = torch.full((1, 1, 1, 3), prediction, dtype=torch.float64)
    r = torch.full((1, 1, 1, 4), reference, dtype=torch.float64)
    r[..., 3] = alpha
    return p.requires_grad_(), r


def curve(x):
    """log(1 + x), then the sRGB power law."""
    return 1.055 * math.log(1 + x) ** (1 / 2.4) - 0.055


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("log_l1", curve(3.0) - curve(1.0)),
        ("smape", 2.0 / 4.01),
        ("mse", 4.0),
        ("rel_mse", 4.0 / 10.1),
        ("l1", 2.0),
    ],
)
def test_values_by_hand(name, expected):
    prediction, reference = image(3.0, 1.0)
    assert losses.color_loss(name)(prediction, reference).item() == pytest.approx(expected, abs=1e-12)


def test_log_l1_uses_the_linear_toe_of_the_curve():
    prediction, reference = image(0.002, 0.0)
    assert losses.log_l1(prediction, reference).item() == pytest.approx(12.92 * math.log(1.002))


@pytest.mark.parametrize("name", losses.COLOR_LOSSES)
def test_alpha_masks_and_the_mean_counts_the_background(name):
    loss = losses.color_loss(name)
    prediction, reference = image(3.0, 1.0)
    outside, background = image(7.0, 2.0, alpha=0.0)
    both = loss(torch.cat([prediction, outside], 2), torch.cat([reference, background], 2))
    assert both.item() == pytest.approx(loss(prediction, reference).item() / 2)
    both.backward()
    assert outside.grad.abs().max() == 0.0
    assert prediction.grad.abs().min() > 0.0


@pytest.mark.parametrize("name", losses.COLOR_LOSSES)
@pytest.mark.parametrize("prediction", [0.0, 1e-8, 1e6])
@pytest.mark.parametrize("reference", [0.0, 0.3, 1e6])
def test_gradients_are_finite_for_black_and_for_fireflies(name, prediction, reference):
    p, r = image(prediction, reference)
    p, r = p.detach().float().requires_grad_(), r.float()
    value = losses.color_loss(name)(p, r)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(p.grad).all()


@pytest.mark.parametrize("name", losses.COLOR_LOSSES)
def test_gradient_against_finite_differences(name):
    generator = torch.Generator().manual_seed(3)
    p = torch.rand(2, 3, 3, 3, dtype=torch.float64, generator=generator) * 4
    r = torch.rand(2, 3, 3, 4, dtype=torch.float64, generator=generator) * 4
    r[..., 3] = r[..., 3] / 4
    assert torch.autograd.gradcheck(lambda x: losses.color_loss(name)(x, r), p.requires_grad_())


def test_robust_losses_bound_the_pull_of_a_highlight():
    """What the split rests on: a missed highlight of 1000 dominates MSE and barely moves A's losses."""

    def pull(name, highlight):
        prediction, reference = image(0.5, highlight)
        losses.color_loss(name)(prediction, reference).backward()
        return prediction.grad.abs().max().item()

    assert pull("mse", 1000.0) > 500 * pull("mse", 2.0)
    assert pull("log_l1", 1000.0) == pytest.approx(pull("log_l1", 2.0))
    assert pull("smape", 1000.0) < pull("smape", 2.0)


def test_branch_weights_follow_the_method():
    prediction, reference = image(3.0, 1.0)
    coverage = torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64)
    mask = 0.75**2
    value = {name: losses.color_loss(name)(prediction, reference).item() for name in losses.COLOR_LOSSES}
    expected = {
        "a": 0.35 * value["log_l1"] + 0.15 * value["smape"] + 0.5 * mask,
        "b": 0.7 * value["rel_mse"] + 0.3 * value["mse"],
        "joint": value["rel_mse"] + mask,
    }
    for branch, loss in losses.BRANCH_LOSSES.items():
        assert loss(prediction, coverage, reference).item() == pytest.approx(expected[branch])


def test_mask_loss_reaches_coverage_and_only_through_a():
    prediction, reference = image(3.0, 1.0)
    coverage = torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64, requires_grad=True)
    losses.BRANCH_LOSSES["a"](prediction, coverage, reference).backward()
    assert coverage.grad.item() == pytest.approx(0.5 * 2 * -0.75)
    loss = losses.BRANCH_LOSSES["b"](prediction, coverage, reference)
    assert torch.autograd.grad(loss, coverage, allow_unused=True)[0] is None


def test_unknown_names_and_negative_weights_are_refused():
    with pytest.raises(UserError, match="rel_mse"):
        losses.color_loss("relmse")
    with pytest.raises(UserError, match="unknown"):
        losses.CompositeLoss("log_l1", "nonsense", 1.0, 1.0, 0.0)
    with pytest.raises(UserError, match="below 0"):
        losses.CompositeLoss("log_l1", "mse", 1.0, -1.0, 0.0)


def test_a_reference_without_alpha_is_refused():
    with pytest.raises(ValueError, match=r"\(\.\.\., 4\)"):
        losses.mse(torch.zeros(2, 2, 3), torch.zeros(2, 2, 3))
