"""How many threads a process may have."""

from __future__ import annotations

import os


def allowed_threads() -> int | None:
    """What `OMP_NUM_THREADS` allows; None where it says no number above 0."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return int(threads) if threads.isdecimal() and int(threads) > 0 else None
