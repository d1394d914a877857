"""TensorBoard, without a wait for the device in every step.

Scalars are kept as tensors on the device and fetched together every so many steps. Those of a step are one
record, for a record of its own for each would take as long as much of the step, and a thread compresses
pictures. TensorBoard is imported when a log is opened, since that takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import cast

import torch
from torch import Tensor

from recon.color import linear_to_srgb


class TensorBoardLog:
    """Writes to `folder`; scalars are fetched from the device after `flush_every` calls of `scalars`.

    first_step: where a resumed run goes on; what an earlier run logged from there on is dropped.
    """

    def __init__(self, folder: Path, *, flush_every: int = 50, first_step: int = 0) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from torch.utils.tensorboard import FileWriter, SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=first_step if first_step > 0 else None)
        self._file = cast(FileWriter, self._writer.file_writer)
        self._summary = Summary
        self._compressor = ThreadPoolExecutor(1)
        self._compressed: list[Future[None]] = []
        self._flush_every = flush_every
        self._pending: list[tuple[int, dict[str, Tensor | float]]] = []
        self._latest: dict[str, float] = {}

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def latest(self) -> Mapping[str, float]:
        """The newest value of each scalar that has been fetched; at most `flush_every` steps old."""
        return self._latest

    def scalars(self, values: Mapping[str, Tensor | float], step: int) -> bool:
        """Logs scalars by name, such as losses ("coarse/loss/a") or rates; True when they were fetched now.

        Tensors hold one element; they must not be changed in place afterwards.
        """
        kept = {
            name: value.detach() if isinstance(value, Tensor) else value for name, value in values.items()
        }
        self._pending.append((step, kept))
        if len(self._pending) < self._flush_every:
            return False
        self.flush()
        return True

    def image(self, name: str, linear: Tensor, step: int) -> None:
        """Logs (H, W, 3 or 1) scene-linear values over black, clipped to 0..1 and coded in sRGB."""
        self.data_image(name, linear_to_srgb(linear.detach().clamp(0.0, 1.0)), step)

    def data_image(self, name: str, values: Tensor, step: int) -> None:
        """Logs (H, W, 3 or 1) values in 0..1 as they are: roughness, metallic, coded normals."""
        pixels = (values.detach() * 255.0).round().clamp(0.0, 255.0).to(torch.uint8).cpu().numpy()
        added = self._compressor.submit(self._writer.add_image, name, pixels, step, dataformats="HWC")
        self._compressed.append(added)

    def text(self, name: str, text: str, step: int = 0) -> None:
        """Logs preformatted text, such as the config."""
        indented = "".join(f"    {line}\n" for line in text.splitlines())
        self._writer.add_text(name, indented, step)

    def flush(self) -> None:
        """Fetches the pending scalars in one transfer per device, and writes everything."""
        pending, self._pending = self._pending, []
        on_device = [
            value.reshape(()).double()
            for _, values in pending
            for value in values.values()
            if isinstance(value, Tensor)
        ]
        fetched = iter(torch.stack(on_device).tolist() if on_device else ())
        for step, values in pending:
            numbers = {
                name: next(fetched) if isinstance(value, Tensor) else value for name, value in values.items()
            }
            self._latest |= numbers
            record = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
            self._file.add_summary(self._summary(value=record), step)
        self._writer.flush()

    def close(self) -> None:
        self._compressor.shutdown()
        self.flush()
        self._writer.close()
        for added in self._compressed:
            added.result()  # raises what went wrong
