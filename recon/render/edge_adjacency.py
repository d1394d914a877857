"""Which faces share an edge."""

from __future__ import annotations

import torch
from torch import Tensor

BOUNDARY = -1
NON_MANIFOLD = -2


def edge_mates(faces: Tensor) -> Tensor:
    """The half-edge on the other side of each half-edge.

    faces: (F, 3) integer. Half-edge k of face f runs from corner k to corner (k + 1) % 3 and has the number
    3 f + k. Returns (F, 3) int32: that number for the face across the edge, whichever way round that face
    is wound; BOUNDARY where there is none, NON_MANIFOLD where three or more faces meet.
    """
    flat = faces.reshape(-1)
    mates = torch.full((flat.shape[0],), BOUNDARY, dtype=torch.int32, device=faces.device)
    if flat.shape[0] == 0:
        return mates.view(-1, 3)
    start = faces.long()
    end = start.roll(-1, dims=1)
    # One sortable number per undirected edge.
    key = (torch.minimum(start, end) * (start.max() + 1) + torch.maximum(start, end)).view(-1)
    key, order = key.sort()
    same_as_next = key[1:] == key[:-1]
    edge = torch.zeros_like(order)
    edge[1:] = (~same_as_next).long().cumsum(0)
    count = torch.zeros_like(order).index_add_(0, edge, torch.ones_like(edge))[edge]
    first = torch.ones_like(count, dtype=torch.bool)
    first[1:] = ~same_as_next
    neighbor = torch.where(first, order.roll(-1), order.roll(1))
    found = torch.where(count == 2, neighbor, torch.where(count == 1, BOUNDARY, NON_MANIFOLD))
    mates[order] = found.to(torch.int32)
    return mates.view(-1, 3)
