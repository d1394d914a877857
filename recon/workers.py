"""Training by several processes, one per GPU, as `torchrun` starts them.

    torchrun --nproc-per-node 4 -m recon.train --data DATASET --out RUN

Every process holds the whole model and renders an equal share of each batch's views; their gradients are
averaged by DistributedDataParallel. Losses are means over pixels and shares are equal, so the average is the
gradient of the whole batch. Only the first process writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from usd_tools.errors import UserError


@dataclass(frozen=True)
class Workers:
    """The processes that train together, seen from one of them.

    rank: this process's number, from 0. count: how many there are. local_rank: its number on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Workers:
        """As torchrun says it in the environment; a single process where it did not start this one."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        return cls(*(int(os.environ[name]) for name in names))

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Connects the processes for the body: NCCL between GPUs, gloo between CPUs.

        Processes that are connected already stay so. Once disconnected they must not connect again: torch
        would look up the first connection's addresses, which torchrun's store keeps, and wait for them.
        """
        if self.count == 1 or dist.is_initialized():
            yield
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield
        finally:
            dist.destroy_process_group()

    def check_batch(self, batch: int) -> None:
        """Refuses a batch that cannot be shared equally."""
        if batch % self.count:
            raise UserError(
                f"train.batch: {batch} views cannot be shared equally by {self.count} processes; "
                f"set a multiple of {self.count} (no more than there are training views)"
            )

    def share_of(self, views: Tensor) -> Tensor:
        """This process's part of a batch (B,) of view indices."""
        return views[self.rank :: self.count]

    def synchronized(self, losses: nn.Module, device: torch.device) -> nn.Module:
        """`losses`, a module that returns scalars by name, with gradients averaged in its backward pass.

        Parameters start as those of the first process.
        """
        if self.count == 1:
            return losses
        return DistributedDataParallel(
            losses,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,  # constants
            find_unused_parameters=True,  # a share may show nothing of the object
        )

    def averaged(self, scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The means of detached scalars over the processes, by name."""
        values = {name: value.detach() for name, value in scalars.items()}
        if self.count == 1:
            return values
        together = torch.stack(list(values.values()))
        dist.all_reduce(together)
        return dict(zip(values, together / self.count))

    def from_first(self, tensors: Mapping[str, Tensor] | None, device: torch.device) -> dict[str, Tensor]:
        """The first process's `tensors` in every process; what the others pass does not matter."""
        if self.count == 1:
            assert tensors is not None
            return dict(tensors)
        described: list[object] = [None]
        if self.leads:
            assert tensors is not None
            described = [{name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}]
        dist.broadcast_object_list(described, device=device)
        layout = described[0]
        assert isinstance(layout, dict)
        received = {}
        for name, (shape, dtype) in layout.items():
            own = tensors[name].contiguous() if self.leads and tensors is not None else None
            received[name] = torch.empty(shape, dtype=dtype, device=device) if own is None else own
            dist.broadcast(received[name], src=0)
        return received

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process runs the body before the others do, who find what it has made."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.count > 1:
            dist.barrier()
