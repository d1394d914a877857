"""The small network between the hash encoding and a branch's channels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

# Slope of inactive units; tiny-cuda-nn's. Were it 0, all units of a layer could die where a channel is pushed
# to the end of its range, and then nothing would bring the network back.
_LEAK = 0.01


class Mlp(nn.Module):
    """Bias-free leaky-ReLU network with `depth` hidden layers of `width` units and a linear output.

    Without biases it maps zero to zero, so a freshly initialized (nearly zero) encoding yields the channels'
    configured starting values. Weights follow He et al. 2015 (uniform, fan-in).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 32,
        depth: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth, outputs]
        layers = [nn.Linear(a, b, bias=False) for a, b in pairwise(sizes)]
        for layer in layers:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """(P, outputs) from (P, inputs)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = leaky_relu(layer(x), _LEAK)
        return last(x)
