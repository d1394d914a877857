"""The material networks on tiny-cuda-nn (optional; CUDA only): same size, same task, other parameters.

tiny-cuda-nn's hash grid is that of Müller et al. 2022 with every level shifted by half a cell, and counts
vertices where `HashGrid` counts cells; its settings are chosen here so that the coarsest and the finest level
have as many cells as `HashGrid`'s. Its parameters are one flat vector, so neither can take over the other's.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import torch
from torch import Tensor, nn

from recon.material.encoded_network import EncoderSettings
from recon.material.mlp import Mlp
from recon.scaled_gradient import scale_gradient

# Widths for which tiny-cuda-nn has a fused kernel.
FUSED_WIDTHS = (16, 32, 64, 128)
# Fused layers are padded to multiples of this.
_ALIGNMENT = 16
# Gradients of a mean over millions of pixels are too small for half precision (below 6e-8 nothing is left),
# and their sum over all pixels must not exceed 65504: between the two lie four decades on either side.
_GRADIENT_SCALE = 2.0**13


class TcnnNetwork(nn.Module):
    """tiny-cuda-nn's hash grid in single precision, and an MLP in torch; see `EncodedNetwork`."""

    def __init__(self, settings: EncoderSettings, outputs: int, generator: torch.Generator | None) -> None:
        super().__init__()
        library: Any = importlib.import_module("tinycudann")
        self.encoder = library.Encoding(3, grid_settings(settings), dtype=torch.float32)
        # Scaling is for half precision; dividing again would cost a pass over the table.
        self.encoder.loss_scale = 1.0
        self.mlp = Mlp(
            settings.levels * settings.features, outputs, settings.width, settings.depth, generator
        )
        _set_(self.encoder.params, _initial_table(self.encoder.params.numel(), generator))
        self._outputs = outputs

    def forward(self, points: Tensor) -> Tensor:
        if len(points) == 0:
            return points.new_zeros(0, self._outputs)
        return self.mlp(self.encoder(points.clamp(0.0, 1.0)))


class FusedTcnnNetwork(nn.Module):
    """Hash grid and MLP as one tiny-cuda-nn network in half precision, with single-precision parameters.

    Faster than `TcnnNetwork`, less exact: outputs have 11 bits, and gradients are summed in half precision.
    They are scaled up for that, before they are rounded; a sum that overflows nevertheless counts as zero.
    """

    def __init__(self, settings: EncoderSettings, outputs: int, generator: torch.Generator | None) -> None:
        super().__init__()
        if settings.width not in FUSED_WIDTHS:
            raise ValueError(f"fused network: expected a width of {FUSED_WIDTHS}, got {settings.width}")
        library: Any = importlib.import_module("tinycudann")
        network = {
            "otype": "FullyFusedMLP",
            "activation": "LeakyReLU",
            "output_activation": "None",
            "n_neurons": settings.width,
            "n_hidden_layers": settings.depth,
        }
        self.network = library.NetworkWithInputEncoding(3, outputs, grid_settings(settings), network)
        self.network.loss_scale = 1.0  # applied after rounding; ours is applied before
        layers = _initial_layers(settings, outputs, generator)
        table = _initial_table(self.network.params.numel() - layers.numel(), generator)
        _set_(self.network.params, torch.cat([layers, table]))
        self.network.params.register_hook(_unscale)
        self._outputs = outputs

    def forward(self, points: Tensor) -> Tensor:
        if len(points) == 0:
            return points.new_zeros(0, self._outputs)
        points = points.clamp(0.0, 1.0)
        if points.requires_grad:
            points = scale_gradient(points, 1.0 / _GRADIENT_SCALE)
        return scale_gradient(self.network(points).float(), _GRADIENT_SCALE)


def grid_settings(settings: EncoderSettings) -> dict[str, Any]:
    """tiny-cuda-nn's description of the hash grid.

    Its level l has base_resolution * per_level_scale^l - 1 cells per axis.
    """
    first, last = settings.base + 1, settings.finest + 1
    growth = math.exp(math.log(last / first) / (settings.levels - 1)) if settings.levels > 1 else 1.0
    return {
        "otype": "Grid",
        "type": "Hash",
        "n_levels": settings.levels,
        "n_features_per_level": settings.features,
        "log2_hashmap_size": settings.table_log2,
        "base_resolution": first,
        "per_level_scale": growth,
        "interpolation": "Linear",
    }


def _initial_layers(settings: EncoderSettings, outputs: int, generator: torch.Generator | None) -> Tensor:
    """He-uniform weights as in `Mlp`, in the fused network's order: (out, in) matrices, padded, flat."""
    encoded = _padded(settings.levels * settings.features)
    sizes = [(settings.width, encoded)]
    sizes += [(settings.width, settings.width)] * (settings.depth - 1)
    sizes += [(_padded(outputs), settings.width)]
    layers: list[Tensor] = []
    for rows, columns in sizes:
        # The padding's inputs are zero and its outputs are dropped: only real inputs count for the fan-in.
        fan_in = settings.levels * settings.features if not layers else columns
        bound = math.sqrt(6.0 / fan_in)
        layers.append((2.0 * torch.rand(rows * columns, generator=generator) - 1.0) * bound)
    return torch.cat(layers)


def _initial_table(count: int, generator: torch.Generator | None) -> Tensor:
    """Uniform in +-1e-4, as `HashGrid`'s."""
    return (2.0 * torch.rand(count, generator=generator) - 1.0) * 1e-4


def _padded(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT


@torch.no_grad()
def _set_(parameter: Tensor, values: Tensor) -> None:
    parameter.copy_(values.to(parameter.device))


def _unscale(gradient: Tensor) -> Tensor:
    # Without the guard a single overflow would stay in the optimizer's moments for good.
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0) / _GRADIENT_SCALE
