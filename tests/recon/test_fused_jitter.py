"""The jittered subset's statistics, and the change of the material against its definition in torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recon.fused_jitter import jittered_subset, mean_change
from recon.material.channels import Channels


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def channels(count: int, seed: int) -> Channels:
    """As networks give them: slices of one output."""
    values = random((count, 5), seed).requires_grad_()
    fixed = torch.zeros(count, 3)
    return Channels(values[:, :3], fixed, values[:, 3:4], values[:, 4:5], fixed[:, :1])


@pytest.mark.parametrize(("total", "count"), [(10, 3), (7, 7), (1, 1), (1001, 250), (6, 5)])
def test_every_row_is_as_likely_and_none_comes_twice(total: int, count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    hits = torch.zeros(total)
    draws = 4000 if total < 100 else 400
    for _ in range(draws):
        _, rows = jittered_subset(torch.zeros(total, 2), count, 0.1, generator)
        assert len(rows.unique()) == count and rows.min() >= 0 and rows.max() < total
        hits[rows] += 1
    expected = draws * count / total
    # Five standard deviations of a binomial count.
    assert (hits - expected).abs().max() <= 5 * (expected * (1 - count / total)) ** 0.5


@pytest.mark.parametrize("dimensions", [2, 3])
def test_noise_is_normal_and_new_in_every_draw(dimensions: int) -> None:
    positions = 10.0 * random((40000, dimensions), 1)
    generator = torch.Generator().manual_seed(2)
    steps = []
    for _ in range(2):
        moved, rows = jittered_subset(positions, 10000, 0.05, generator)
        steps.append((moved - positions[rows]) / 0.05)
    for step in steps:
        assert step.mean(dim=0).abs().max() < 0.05
        assert (step.std(dim=0) - 1.0).abs().max() < 0.05
        assert ((step.abs() < 1.0).float().mean() - 0.6827).abs() < 0.02
    every = torch.cat([*steps[0].T, *steps[1].T]).view(2 * dimensions, -1)
    correlation = torch.corrcoef(every) - torch.eye(2 * dimensions)
    assert correlation.abs().max() < 0.05


def test_the_seed_decides() -> None:
    def draw(seed: int) -> Tensor:
        return jittered_subset(random((500, 3), 0), 100, 0.1, torch.Generator().manual_seed(seed))[0]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_change_and_its_gradients_equal_the_definition() -> None:
    here, there = channels(40, 3), channels(10, 4)
    rows = torch.arange(0, 40, 4) + 1
    changes = mean_change(there, here, rows)
    inputs = [getattr(side, name) for side in (there, here) for name in ("albedo", "roughness", "metallic")]
    logs = [(side.roughness + 1e-3).log() for side in (there, here)]
    expected = (
        (there.albedo - here.albedo[rows]).abs().mean(),
        (logs[0] - logs[1][rows]).abs().mean(),
        (there.metallic - here.metallic[rows]).abs().mean(),
    )
    torch.testing.assert_close(torch.stack(changes), torch.stack(expected))
    weights = torch.tensor([2.0, 3.0, 4.0])
    found = torch.autograd.grad(weights @ torch.stack(changes), inputs)
    wanted = torch.autograd.grad(weights @ torch.stack(expected), inputs)
    for own, other in zip(found, wanted):
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(own, other)


def test_a_roughness_of_zero_has_a_gradient() -> None:
    zero, one = torch.zeros(1, 1, requires_grad=True), torch.ones(1, 1)
    there, here = (Channels(one.expand(1, 3), one, roughness, one, one) for roughness in (zero, one))
    _, change, _ = mean_change(there, here, torch.zeros(1, dtype=torch.int64))
    (gradient,) = torch.autograd.grad(change, zero)
    assert change.isfinite() and gradient.isfinite() and gradient < 0.0
