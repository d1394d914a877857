"""A Warp kernel's launch, recorded once and replayed with other tensors.

`wp.launch` looks at every argument anew, through the array interface of each torch tensor: some ten
microseconds each, more than the launch itself. Here a launch keeps its arguments' descriptors, and a replay
writes addresses and shapes into them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
import warp as wp
from torch import Tensor

_REMEMBERED = threading.local()  # descriptors are written just before they are read: one set per thread


def launch_command(
    kernel: wp.Kernel, first: int, count: int, inputs: Sequence[Any], device: wp.Device, stream: Any
) -> None:
    """Launches `kernel` with the arguments (first, *inputs) over `count` > 0 indices.

    inputs: numbers, `wp.array`s, or torch tensors on `device`, whose type and trailing dimensions must be
    what the kernel asks for; they may be strided, but vectors and matrices lie together. stream: None on
    a CPU.

    Raises:
        ValueError: a tensor does not fit its argument.
    """
    values = (first, *inputs)
    _recorded(kernel, values, device).launch(values, count, stream)


def record_command(kernel: wp.Kernel, inputs: Sequence[Any], device: wp.Device) -> None:
    """Records the calling thread's launch of `kernel` without running it, which loads and links the kernel.

    Once before the first launches from several threads: Warp links a CPU kernel when it is first looked up,
    and a second thread that looks it up meanwhile crashes.
    """
    _recorded(kernel, (0, *inputs), device)


def _recorded(kernel: wp.Kernel, values: Sequence[Any], device: wp.Device) -> _Command:
    commands = _REMEMBERED.__dict__.setdefault("commands", {})
    command = commands.get((kernel, device.alias))
    if command is None:
        command = commands[kernel, device.alias] = _Command(kernel, device, values)
    return command


class _Command:
    def __init__(self, kernel: wp.Kernel, device: wp.Device, values: Sequence[Any]) -> None:
        arguments = kernel.adj.args
        if len(values) != len(arguments):
            raise ValueError(f"{kernel.key}: takes {len(arguments)} arguments, got {len(values)}")
        self._slots = [
            _ArraySlot(f"{kernel.key}: {argument.label}", argument.type, device)
            if isinstance(value, Tensor)
            else None
            for argument, value in zip(arguments, values)
        ]
        # Numbers as last written; what else is passed may have changed since, and is always written.
        self._written = [value if slot is None else None for slot, value in zip(self._slots, values)]
        inputs = [value if slot is None else slot.descriptor for slot, value in zip(self._slots, values)]
        self._launch = wp.launch(kernel, dim=1, inputs=inputs, device=device, record_cmd=True)
        self._count = 1

    def launch(self, values: Sequence[Any], count: int, stream: Any) -> None:
        for position, (slot, value) in enumerate(zip(self._slots, values, strict=True)):
            if slot is not None:
                slot.write(value)
            elif type(value) not in (int, float) or value != self._written[position]:
                self._launch.set_param_at_index(position, value)
                self._written[position] = value
        if count != self._count:
            self._launch.set_dim(count)
            self._count = count
        self._launch.launch(stream)


class _ArraySlot:
    """The descriptor of one array argument, filled in with torch tensors."""

    def __init__(self, name: str, annotation: Any, device: wp.Device) -> None:
        dtype = annotation.dtype
        self._name = name
        self._on_cuda = device.is_cuda
        self._ndim = annotation.ndim
        self._inner = tuple(getattr(dtype, "_shape_", ()))  # of vectors and matrices
        self._torch = wp.dtype_to_torch(getattr(dtype, "_wp_scalar_type_", dtype))
        empty = torch.empty((0,) * self._ndim + self._inner, dtype=self._torch)
        self._inner_strides = empty.stride()[self._ndim :]
        self.descriptor = wp.from_torch(empty, dtype=dtype, return_ctype=True)
        self._layout: tuple[torch.Size, tuple[int, ...]] | None = None

    def write(self, tensor: Tensor) -> None:
        if tensor.dtype is not self._torch or tensor.is_cuda != self._on_cuda:
            raise ValueError(
                f"{self._name}: expected a tensor of {self._torch} {'on' if self._on_cuda else 'off'} CUDA, "
                f"got {tensor.dtype} on {tensor.device}"
            )
        layout = tensor.shape, tensor.stride()
        if layout != self._layout:
            self._write_layout(tensor)
            self._layout = layout
        self.descriptor.data = tensor.data_ptr()

    def _write_layout(self, tensor: Tensor) -> None:
        """The array's dimensions are those of the tensor in front of its items' (vectors or matrices)."""
        outer, inner = tensor.shape[: self._ndim], tuple(tensor.shape[self._ndim :])
        strides = tensor.stride()
        together = tensor.is_contiguous() or strides[self._ndim :] == self._inner_strides
        if len(outer) != self._ndim or inner != self._inner or not together:
            items = f" of items {self._inner} that lie together" if self._inner else ""
            raise ValueError(
                f"{self._name}: expected {self._ndim} dimensions{items}, "
                f"got the shape {tuple(tensor.shape)} with strides {strides}"
            )
        size = tensor.element_size()
        for axis in range(self._ndim):
            self.descriptor.shape[axis] = outer[axis]
            self.descriptor.strides[axis] = size * strides[axis]
