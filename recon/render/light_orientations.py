"""A few orientations of a turning light that stand for all of them."""

from __future__ import annotations

import torch
from torch import Tensor

# Orientations whose traces of R^T S are closer to 3 than this, about a third of a degree, count as one.
_SAME = 3e-5


def spread_orientations(rotations: Tensor, most: int) -> Tensor:
    """(N, 3, 3), N <= `most`, of the `rotations` (B, 3, 3): the first, then always the one farthest from all.

    Every rotation is then as near to a chosen one as `most` allows; equal ones are chosen once.
    """
    flat = rotations.reshape(-1, 9).double().cpu()
    chosen = [0]
    similarity = flat @ flat[0]  # the trace of R^T S: 3 where they are the same
    while len(chosen) < most:
        farthest = int(similarity.argmin())
        if similarity[farthest] > 3.0 - _SAME:
            break
        chosen.append(farthest)
        similarity = torch.maximum(similarity, flat @ flat[farthest])
    return rotations[torch.tensor(chosen, device=rotations.device)].contiguous()
