"""From small pictures to large ones: how a stage sees its views while it goes on."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from recon.data.views import Views

# Pixels along the longer side: the object has to be more than a few of them wide.
_SMALLEST = 64


def picture_sizes(
    views: Views, growth: tuple[float, float], iterations: int
) -> Iterator[tuple[int, int, int]]:
    """(factor, first iteration, end) of a stage's parts, within which pictures are 1 / factor as large.

    growth: until these shares of the stage, in order, a quarter and half as large.

    In small pictures a reflection is as wide as the surface is wrong about its place, so that the surface
    finds its way. In large ones the two are beside each other, and what helps then is to fade the reflection
    by roughness. No picture becomes smaller than 64 pixels, and those that are rendered when asked for stay
    as they are.
    """
    longest = max(views.cameras.width, views.cameras.height)
    resizable = isinstance(views.images, Tensor)
    first = 0
    for factor, share in zip((4, 2, 1), (*growth, 1.0), strict=True):
        end = round(share * iterations)
        while factor > 1 and (not resizable or longest < factor * _SMALLEST):
            factor //= 2
        if end > first:
            yield factor, first, end
            first = end
