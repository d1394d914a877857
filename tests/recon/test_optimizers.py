"""One Adam per part: rates by schedule, steps that do not depend on the gradient's scale."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recon.optimizers import LearntPart, ScheduledOptimizers


def parameter(value: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.full((3,), value))


def half_way(iteration: int, total: int) -> float:
    return 1.0 if iteration < total // 2 else 0.25


def make(**parts: LearntPart) -> ScheduledOptimizers:
    return ScheduledOptimizers(parts, iterations=10)


def test_rates_are_base_times_schedule():
    optimizers = make(
        a=LearntPart([parameter()], 0.2, half_way),
        b=LearntPart([parameter()], 0.1, lambda iteration, total: iteration / total),
    )
    assert optimizers.learning_rates(0) == {"a": 0.2, "b": 0.0}
    assert optimizers.learning_rates(5) == pytest.approx({"a": 0.05, "b": 0.05})


def test_each_part_steps_at_its_own_rate():
    """Adam's first step is the rate times the gradient's sign."""
    a, b = parameter(), parameter()
    optimizers = make(a=LearntPart([a], 0.2, half_way), b=LearntPart([b], 0.2, lambda i, n: 0.5))
    (a.sum() - b.sum()).backward()
    optimizers.step(9)
    torch.testing.assert_close(a.detach(), torch.full((3,), 1 - 0.05))
    torch.testing.assert_close(b.detach(), torch.full((3,), 1 + 0.1))


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e6])
def test_tiny_gradients_make_steps_as_long(scale):
    """With Adam's usual epsilon of 1e-8 a gradient of 1e-10 would move a hundredth as far."""
    weight = parameter()
    optimizers = make(a=LearntPart([weight], 0.1, lambda i, n: 1.0))
    (scale * weight.sum()).backward()
    optimizers.step(0)
    torch.testing.assert_close(weight.detach(), torch.full((3,), 0.9))


def test_rate_zero_does_not_move_yet_counts_moments():
    weight = parameter()
    optimizers = make(b=LearntPart([weight], 0.1, lambda i, n: float(i)))
    weight.sum().backward()
    optimizers.step(0)
    assert (weight == 1.0).all()
    state = optimizers.state_dicts()["b"]["state"][0]
    assert float(state["step"]) == 1.0 and (state["exp_avg"] > 0.0).all()


def test_several_steps_equal_plain_adam():
    ours, plain = parameter(), parameter()
    optimizers = make(a=LearntPart([ours], 0.05, half_way))
    adam = torch.optim.Adam([plain], lr=0.05, eps=1e-15)
    for iteration in range(10):
        adam.param_groups[0]["lr"] = 0.05 * half_way(iteration, 10)
        for weight in (ours, plain):
            weight.grad = None
            (weight - torch.tensor([0.3, 1.5, -2.0])).square().sum().backward()
        optimizers.step(iteration)
        adam.step()
    torch.testing.assert_close(ours.detach(), plain.detach())
    assert (ours != 1.0).all()


def test_zero_grad_forgets_every_gradient():
    a, b = parameter(), parameter()
    optimizers = make(a=LearntPart([a], 0.1, half_way), b=LearntPart([b], 0.1, half_way))
    (a.sum() + b.sum()).backward()
    optimizers.zero_grad()
    assert a.grad is None and b.grad is None


def test_parts_without_parameters_are_left_out():
    optimizers = make(a=LearntPart([parameter()], 0.1, half_way), light=LearntPart([], 0.1, half_way))
    assert list(optimizers.adams) == ["a"] == list(optimizers.state_dicts())
    assert list(optimizers.learning_rates(0)) == ["a"]
    optimizers.step(0)  # a part without a gradient stays where it is


def test_parameters_without_gradient_stay():
    a, b = parameter(), parameter()
    optimizers = make(a=LearntPart([a, b], 0.1, half_way))
    a.sum().backward()
    optimizers.step(0)
    assert (b == 1.0).all() and (a != 1.0).all()


def uniform(parameter: nn.Parameter, rate: float = 0.1) -> ScheduledOptimizers:
    return make(geometry=LearntPart([parameter], rate, lambda i, n: 1.0, uniform=True))


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e6])
def test_uniform_steps_keep_the_gradient_s_proportions(scale):
    """The first one's root mean square length is the rate; Adam's own would be the rate everywhere."""
    weight = parameter()
    optimizers = uniform(weight)
    slopes = torch.tensor([1.0, -2.0, 0.0])
    (scale * (weight * slopes).sum()).backward()
    optimizers.step(0)
    moved = weight.detach() - 1.0
    torch.testing.assert_close(moved, -0.1 * slopes / slopes.square().mean().sqrt())


def test_uniform_steps_go_on_from_a_saved_state():
    def slopes(i: int) -> torch.Tensor:
        return torch.tensor([1.0, 0.5, -0.25]) * (1 + i)

    straight, saved, resumed = parameter(), parameter(), parameter()
    first, second = uniform(straight), uniform(saved)
    for i in range(4):
        straight.grad = slopes(i)
        first.step(i)
    for i in range(2):
        saved.grad = slopes(i)
        second.step(i)
    third = uniform(resumed)
    with torch.no_grad():
        resumed.copy_(saved)
    third.adams["geometry"].load_state_dict(second.state_dicts()["geometry"])
    for i in range(2, 4):
        resumed.grad = slopes(i)
        third.step(i)
    assert torch.equal(resumed, straight)


def test_uniform_steps_reach_a_minimum():
    weight = parameter(3.0)
    target = torch.tensor([1.0, 2.0, -1.0])
    part = LearntPart([weight], 0.1, lambda i, n: 1.0 - i / n, uniform=True)
    optimizers = ScheduledOptimizers({"geometry": part}, iterations=200)
    for i in range(200):
        optimizers.zero_grad()
        (weight - target).square().sum().backward()
        optimizers.step(i)
    torch.testing.assert_close(weight.detach(), target, atol=0.02, rtol=0)
