"""How many cores and threads a process may have."""

from __future__ import annotations

import os
from pathlib import Path

# Of a container: microseconds of processor time per period, or "max". Linux, control groups of version 2.
_CONTAINERS_SHARE = Path("/sys/fs/cgroup/cpu.max")


def allowed_threads() -> int | None:
    """What `OMP_NUM_THREADS` allows; None where it says no number above 0."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return int(threads) if threads.isdecimal() and int(threads) > 0 else None


def available_cores() -> int:
    """Processors this process may use: its affinity, and its container's share where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CONTAINERS_SHARE.read_text(encoding="ascii").split()
        share = int(quota) // int(period)
    except (OSError, ValueError):  # another system, or no limit ("max")
        return cores
    return max(1, min(cores, share))
