"""One Adam per learnt part (geometry, branch A, branch B, light), each with its own schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Hash-grid entries see few, small gradients; with Adam's default of 1e-8 their step would shrink with the
# gradient (Müller et al. 2022, section 4, use the same value).
_EPSILON = 1e-15


@dataclass(frozen=True)
class LearntPart:
    """Parameters that share a rate. schedule: (iteration, total) -> multiplier of `learning_rate`.

    uniform: `UniformAdam` steps them in place of Adam.
    """

    parameters: Sequence[nn.Parameter]
    learning_rate: float
    schedule: Callable[[int, int], float]
    uniform: bool = False


class UniformAdam(torch.optim.Optimizer):
    """Adam with one second moment for all entries of a tensor: steps keep the gradient's proportions.

    The rate is the typical (root mean square) length of a step. Nicolet et al. 2021 (Large Steps in Inverse
    Rendering of Geometry, section 4) normalize by the largest entry instead, which a single silhouette edge
    sets. Works in a captured CUDA graph: the state, and there the rate, are tensors on the device.
    """

    def __init__(
        self, params: Sequence[nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step for all parameters that have a gradient; a closure is not taken."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group["lr"], *group["betas"])

    def _step(
        self, parameter: nn.Parameter, gradient: Tensor, rate: float | Tensor, mean: float, square: float
    ) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros((), device=parameter.device)
        state["step"] += 1.0
        state["exp_avg"].lerp_(gradient, 1.0 - mean)
        state["exp_avg_sq"].lerp_(gradient.square().mean(), 1.0 - square)
        length = (state["exp_avg_sq"] / (1.0 - square ** state["step"])).sqrt() + _EPSILON
        parameter.sub_(state["exp_avg"] * (rate / ((1.0 - mean ** state["step"]) * length)))


class ScheduledOptimizers:
    """Steps every part's Adam at the rate its schedule gives for the iteration."""

    def __init__(self, parts: Mapping[str, LearntPart], iterations: int) -> None:
        self._parts = {name: part for name, part in parts.items() if part.parameters}
        self._iterations = iterations
        self._adams: dict[str, torch.optim.Optimizer] = {
            name: UniformAdam(part.parameters, part.learning_rate)
            if part.uniform
            else torch.optim.Adam(list(part.parameters), lr=part.learning_rate, eps=_EPSILON, fused=True)
            for name, part in self._parts.items()
        }
        # On a GPU rates are tensors, so that a captured step can be replayed with others.
        self._rates = {
            name: torch.zeros((), device=part.parameters[0].device)
            for name, part in self._parts.items()
            if part.parameters[0].is_cuda
        }

    def learning_rates(self, iteration: int) -> dict[str, float]:
        """The rate of each part at `iteration` (0-based)."""
        return {
            name: part.learning_rate * part.schedule(iteration, self._iterations)
            for name, part in self._parts.items()
        }

    def zero_grad(self) -> None:
        for adam in self._adams.values():
            adam.zero_grad(set_to_none=True)

    def step(self, iteration: int) -> None:
        self.set_rates(iteration)
        self.step_at_set_rates()

    def set_rates(self, iteration: int) -> None:
        for name, rate in self.learning_rates(iteration).items():
            kept: float | Tensor = rate
            if name in self._rates:
                kept = self._rates[name].fill_(rate)
            for group in self._adams[name].param_groups:
                group["lr"], group["capturable"] = kept, name in self._rates

    def step_at_set_rates(self) -> None:
        for adam in self._adams.values():
            adam.step()

    def state_dicts(self) -> dict[str, dict[str, Any]]:
        return {name: adam.state_dict() for name, adam in self._adams.items()}

    @property
    def adams(self) -> dict[str, torch.optim.Optimizer]:
        return dict(self._adams)
