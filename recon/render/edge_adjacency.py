"""Which faces share an edge."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.render.identity_cache import IdentityCache
from recon.render.warp_kernels.edges import link_half_edges, number_edges
from recon.warp_runtime import launch

BOUNDARY = -1
NON_MANIFOLD = -2


def edge_mates(faces: Tensor) -> Tensor:
    """The half-edge on the other side of each half-edge.

    faces: (F, 3) integer. Half-edge k of face f runs from corner k to corner (k + 1) % 3 and has the number
    3 f + k. Returns (F, 3) int32: that number for the face across the edge, whichever way round that face
    is wound; BOUNDARY where there is none, NON_MANIFOLD where three or more faces meet.
    """
    mates = torch.empty(faces.shape, dtype=torch.int32, device=faces.device)
    keys = torch.empty(faces.numel(), dtype=torch.int64, device=faces.device)
    launch(number_edges, len(keys), (faces.long(), keys), faces.device)
    keys, order = keys.sort()
    launch(link_half_edges, len(keys), (keys, order, mates.view(-1)), faces.device)
    return mates


_SHARED = IdentityCache(edge_mates)


def mates_of(faces: Tensor) -> Tensor:
    """`edge_mates(faces)`, remembered while the same tensor is asked for."""
    return _SHARED.get(faces)
