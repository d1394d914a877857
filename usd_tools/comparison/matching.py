"""Which point of the recovered surface stands for a point of the true one."""

from __future__ import annotations

from numpy.typing import NDArray

from usd_tools.comparison.surface import Surface, SurfacePoints

REACH = 0.05
"""How far a match may be, as a share of the true object's half-extent."""

MIN_COSINE = 0.3
"""How well the geometric normals must agree: the back of a thin plate does not stand for its front."""


def match(recovered: Surface, positions: NDArray, normals: NDArray, half_extent: float) -> SurfacePoints:
    """The closest agreeing point of `recovered` for each of `positions` (N, 3) with geometric `normals`.

    Closest among *all* points whose face agrees, not only if the nearest point happens to: next to a crease
    or on a thin plate the nearest face may be the wrong one.
    """
    return recovered.closest_agreeing(positions, normals, REACH * half_extent, MIN_COSINE)
