"""The hash encoding spelled out in torch: slow, any dtype, differentiable by autograd."""

import itertools

import torch


def encode(points, table, resolutions, table_log2):
    """(P, levels * features) at points (P, 3) from a table (entries, features) laid out level after level."""
    points = points.clamp(0, 1)
    base, columns = 0, []
    for n in resolutions:
        dense = (n + 1) ** 3 <= 2**table_log2
        scaled = points * n
        cell = scaled.detach().floor().long().clamp(max=n - 1)
        fraction = scaled - cell
        value = 0
        for corner in itertools.product((0, 1), repeat=3):
            x, y, z = (cell + torch.tensor(corner)).unbind(1)
            if dense:
                slot = x + (n + 1) * y + (n + 1) ** 2 * z
            else:
                # 64-bit products, cut to 32 bits as unsigned arithmetic would.
                key = x ^ (y * 2654435761 & 0xFFFFFFFF) ^ (z * 805459861 & 0xFFFFFFFF)
                slot = key % 2**table_log2
            weight = 1
            for axis in range(3):
                weight = weight * (fraction[:, axis] if corner[axis] else 1 - fraction[:, axis])
            value = value + weight[:, None] * table[base + slot]
        columns.append(value)
        base += (n + 1) ** 3 if dense else 2**table_log2
    assert base == len(table)
    return torch.cat(columns, 1)
