"""A hash grid followed by a small network: what a material branch is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recon.material.hash_grid import HashGrid
from recon.material.mlp import Mlp


@dataclass(frozen=True)
class EncoderSettings:
    """Size of one network: its hash grid (see `HashGrid`) and its MLP of `depth` hidden layers of `width`."""

    levels: int = 16
    features: int = 2
    table_log2: int = 19
    base: int = 16
    finest: int = 4096
    width: int = 32
    depth: int = 2


# (settings, outputs, generator) -> a module that maps points (P, 3) of the unit cube to raw outputs
# (P, outputs), float32, almost zero when new; without `generator` it draws from torch's global one.
NetworkFactory = Callable[[EncoderSettings, int, torch.Generator | None], nn.Module]


class EncodedNetwork(nn.Module):
    """A hash grid on Warp and an MLP in torch: raw outputs (P, outputs) at points (P, 3) of the unit cube."""

    def __init__(self, settings: EncoderSettings, outputs: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.encoder = HashGrid(
            settings.levels,
            settings.features,
            settings.table_log2,
            settings.base,
            settings.finest,
            generator,
        )
        self.mlp = Mlp(self.encoder.width, outputs, settings.width, settings.depth, generator)

    def forward(self, points: Tensor) -> Tensor:
        return self.mlp(self.encoder(points))
