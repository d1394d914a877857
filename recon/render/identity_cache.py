"""Remembers what was derived from one tensor for as long as that very tensor is in use."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

Derived = TypeVar("Derived")


class IdentityCache(Generic[Derived]):
    """Holds the last result of `derive(tensor)`; valid while the same, unmodified tensor object is passed.

    Identity stands in for a comparison of contents, which would cost a pass over the data and, on a GPU, a
    synchronization. In-place changes are seen through the tensor's version counter.
    """

    def __init__(self, derive: Callable[[Tensor], Derived]) -> None:
        self._derive = derive
        self._source: weakref.ref[Tensor] | None = None
        self._version = -1
        self._derived: Derived | None = None

    def holds(self, tensor: Tensor) -> bool:
        """Whether `get(tensor)` would return the remembered result."""
        same = self._source is not None and self._source() is tensor
        return same and not tensor.is_inference() and tensor._version == self._version

    def get(self, tensor: Tensor) -> Derived:
        if self._derived is None or not self.holds(tensor):
            self._derived = self._derive(tensor)
            self._source = weakref.ref(tensor)
            # Inference tensors keep no version; `holds` never trusts them.
            self._version = -1 if tensor.is_inference() else tensor._version
        return self._derived
