"""The same seed gives the same bits on a CPU, however many threads there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def deterministic_on_cpu(device: torch.device) -> Iterator[None]:
    """Makes torch add floats in a fixed order within the body, where `device` is a CPU.

    From 32768 values on, torch otherwise accumulates indexed float32 gradients with several threads at once,
    in whatever order they come. On CUDA nothing changes: atomics are what makes scattering fast there.
    """
    if device.type != "cpu":
        yield
        return
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic  # its attribute is made at run time, unseen by type checkers
    fill = debugging.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Meant for debugging: it would write every buffer once more.
    debugging.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        debugging.fill_uninitialized_memory = fill
