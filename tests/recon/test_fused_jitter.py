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
    albedo, rest = mean_change(there, here, rows)
    inputs = [getattr(side, name) for side in (there, here) for name in ("albedo", "roughness", "metallic")]
    differences = [
        (getattr(there, name) - getattr(here, name)[rows]).abs().mean()
        for name in ("albedo", "roughness", "metallic")
    ]
    expected = differences[0], 0.5 * (differences[1] + differences[2])
    torch.testing.assert_close(torch.stack([albedo, rest]), torch.stack(expected))
    found = torch.autograd.grad(2.0 * albedo + 3.0 * rest, inputs)
    wanted = torch.autograd.grad(2.0 * expected[0] + 3.0 * expected[1], inputs)
    for own, other in zip(found, wanted):
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(own, other)
