"""Half-edges to their undirected edges: a number per edge, and, once sorted by it, who shares it."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def number_edges(start: int, faces: wp.array2d[wp.int64], keys: wp.array[wp.int64]) -> None:
    """One sortable number per undirected edge."""
    i = start + wp.tid()
    a = faces[i // 3, i % 3]
    b = faces[i // 3, (i + 1) % 3]
    keys[i] = wp.min(a, b) * wp.int64(0x80000000) + wp.max(a, b)


@wp.kernel
def link_half_edges(
    start: int, keys: wp.array[wp.int64], order: wp.array[wp.int64], mates: wp.array[int]
) -> None:
    """keys: sorted. order: which half-edge each key is of. mates: -1 for a boundary, -2 where three meet."""
    i = start + wp.tid()
    last = keys.shape[0] - 1
    key = keys[i]
    before = i > 0 and keys[wp.max(i - 1, 0)] == key
    after = i < last and keys[wp.min(i + 1, last)] == key
    mate = -1
    if before and after:
        mate = -2
    elif before:
        mate = int(order[i - 1])
        if i > 1 and keys[wp.max(i - 2, 0)] == key:
            mate = -2
    elif after:
        mate = int(order[i + 1])
        if i < last - 1 and keys[wp.min(i + 2, last)] == key:
            mate = -2
    mates[int(order[i])] = mate
