"""Slow twin of tiny-cuda-nn's hash grid and fused network, in plain torch and any precision."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor

PRIMES = (1, 2654435761, 805459861)


def level_sizes(settings: dict[str, Any]) -> list[tuple[float, int, int]]:
    """(cells per axis, vertices per axis, entries) of every level."""
    levels = []
    for level in range(settings["n_levels"]):
        scale = settings["per_level_scale"] ** level * settings["base_resolution"] - 1
        # Its own arithmetic is in single precision: a scale that is whole but for rounding counts as whole.
        vertices = math.ceil(round(scale, 3)) + 1
        entries = min(-(-(vertices**3) // 8) * 8, 1 << settings["log2_hashmap_size"])
        levels.append((scale, vertices, entries))
    return levels


def encode(points: Tensor, table: Tensor, settings: dict[str, Any]) -> Tensor:
    """(P, levels * features) at points (P, 3); table: (entries, features)."""
    features = []
    offset = 0
    for scale, vertices, entries in level_sizes(settings):
        position = points * scale + 0.5  # every level is shifted by half a cell
        cell = position.detach().floor()
        value = 0
        for corner in product((0, 1), repeat=3):
            where = cell + points.new_tensor(corner)
            weight = (1 - (position - where).abs()).prod(dim=1)
            x, y, z = where.long().unbind(1)
            if vertices**3 <= entries:
                slot = x + vertices * (y + vertices * z)
            else:
                slot = (x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])
            value = value + weight[:, None] * table[offset + slot % entries]
        features.append(value)
        offset += entries
    return torch.cat(features, dim=1)


def layer_sizes(settings: dict[str, Any], width: int, depth: int) -> list[tuple[int, int]]:
    """(outputs, inputs) of a fused network's matrices, padded to multiples of 16; at most 16 outputs."""
    encoded = settings["n_levels"] * settings["n_features_per_level"]
    return [(width, -(-encoded // 16) * 16), *[(width, width)] * (depth - 1), (16, width)]


def network(points: Tensor, params: Tensor, sizes: list[tuple[int, int]], settings: dict[str, Any]) -> Tensor:
    """(P, 16) outputs of a fused network; params: the matrices, then the table, flat."""
    counts = [rows * columns for rows, columns in sizes]
    *matrices, table = params.split([*counts, len(params) - sum(counts)])
    x = encode(points, table.view(-1, settings["n_features_per_level"]), settings)
    x = torch.nn.functional.pad(x, (0, sizes[0][1] - x.shape[1]))
    for index, (matrix, size) in enumerate(zip(matrices, sizes)):
        x = x @ matrix.view(size).T
        if index + 1 < len(sizes):
            x = torch.nn.functional.leaky_relu(x, 0.01)
    return x
