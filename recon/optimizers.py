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
    """Parameters that share a rate. schedule: (iteration, total) -> multiplier of `learning_rate`."""

    parameters: Sequence[nn.Parameter]
    learning_rate: float
    schedule: Callable[[int, int], float]


class ScheduledOptimizers:
    """Steps every part's Adam at the rate its schedule gives for the iteration."""

    def __init__(self, parts: Mapping[str, LearntPart], iterations: int) -> None:
        self._parts = {name: part for name, part in parts.items() if part.parameters}
        self._iterations = iterations
        self._adams = {
            name: torch.optim.Adam(list(part.parameters), lr=part.learning_rate, eps=_EPSILON, fused=True)
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
