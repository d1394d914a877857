"""Which of the covered pixels are chosen."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def choose_runs(
    start: int,
    covered_before: wp.array[int],
    order: wp.array[int],
    drawn: wp.array[wp.int64],
    run_length: int,
    runs: wp.int64,
    pixels: wp.array[wp.int64],
) -> None:
    """covered_before: (N,) along `order`, covered pixels up to each, inclusive. drawn: (1,) large, random."""
    i = start + wp.tid()
    last = covered_before.shape[0] - 1
    total = wp.int64(covered_before[last])
    if total == wp.int64(0):
        pixels[i] = wp.int64(0)
        return
    run = wp.int64(i // run_length)
    first = (run * total + drawn[0] % total) / runs
    wanted = int((first + wp.int64(i % run_length)) % total) + 1
    low = int(0)  # noqa: RUF046, UP018 - a literal would be a constant to Warp
    high = int(last)
    while low < high:
        middle = (low + high) // 2
        if covered_before[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    pixels[i] = wp.int64(order[low])
