"""Checkpoints as safetensors files: nothing in them is code, and a resumed run goes on bit for bit.

A file holds all tensors by path ("modules/scene/field.a.table", "optimizers/a/state/0/exp_avg") and, in its
header, a JSON description of the tree they belong to, with every other value and a checksum per tensor.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from usd_tools.errors import UserError
from usd_tools.files import atomic_file

_LOG = logging.getLogger(__name__)
_FORMAT = 1


class _CorruptError(Exception):
    """The file cannot be what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, read into main memory.

    stage, iteration: where to go on: `iteration` steps of `stage` are done.
    values: what `save` was given.
    """

    path: Path
    stage: str
    iteration: int
    values: dict[str, Any]
    _tree: dict[str, Any] = field(repr=False)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The plain tensors that were saved under `name`."""
        if name not in self._tree["tensors"]:
            raise self._mismatch(f"it has no '{name}'")
        return dict(self._tree["tensors"][name])

    def restore(
        self, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        """Puts the saved state into `modules` and `optimizers`, and the random generators where they were.

        Raises:
            UserError: names, shapes or types differ; nothing is changed then.
        """
        saved_modules, saved_optimizers = self._tree["modules"], self._tree["optimizers"]
        self._check_keys("", saved_modules, modules)
        self._check_keys("optimizer ", saved_optimizers, optimizers)
        for name, module in modules.items():
            self._check_module(name, module.state_dict(), saved_modules[name])
        for name, optimizer in optimizers.items():
            self._check_optimizer(name, optimizer, saved_optimizers[name])
        for name, module in modules.items():
            module.load_state_dict(saved_modules[name])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(saved_optimizers[name])
        _set_random_state(self._tree["random"])

    def _check_module(self, name: str, expected: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
        self._check_keys(f"{name}.", saved, expected)
        for key, tensor in expected.items():
            old = saved[key]
            if not isinstance(tensor, Tensor) or not isinstance(old, Tensor):
                continue  # a module's extra state
            if (old.shape, old.dtype) != (tensor.shape, tensor.dtype):
                raise self._mismatch(
                    f"{name}.{key} is {old.dtype} {tuple(old.shape)} there and "
                    f"{tensor.dtype} {tuple(tensor.shape)} here"
                )

    def _check_optimizer(self, name: str, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
        groups = [len(group["params"]) for group in optimizer.param_groups]
        if [len(group["params"]) for group in saved["param_groups"]] != groups:
            raise self._mismatch(f"optimizer {name} has other parameter groups")
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for index, state in saved["state"].items():
            shape = parameters[index].shape
            for key, value in state.items():
                if isinstance(value, Tensor) and value.ndim > 0 and value.shape != shape:
                    raise self._mismatch(
                        f"optimizer {name}: {key} of parameter {index} is {tuple(value.shape)} there and "
                        f"{tuple(shape)} here"
                    )

    def _check_keys(self, prefix: str, saved: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        missing = [key for key in expected if key not in saved]
        surplus = [key for key in saved if key not in expected]
        if missing:
            raise self._mismatch(f"it has no {prefix}{missing[0]}")
        if surplus:
            raise self._mismatch(f"it has {prefix}{surplus[0]}, which this run has not")

    def _mismatch(self, reason: str) -> UserError:
        return UserError(
            f"{self.path}: was made with other settings ({reason}); resume with the same config, "
            "or give another --out"
        )


class Checkpoints:
    """The checkpoints of a run, numbered in the order of saving; the last `keep` of them are kept."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self._folder = folder
        self._keep = keep
        self._writer: ThreadPoolExecutor | None = None
        self._written: Future[None] | None = None

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Within the body, `save` returns once the state is copied, and a thread writes it.

        The next `save` and the body's end wait for it and raise its error; after an error of the body, the
        file is complete, too.
        """
        with ThreadPoolExecutor(1) as self._writer:
            try:
                yield
                self._wait()
            finally:
                self._writer = self._written = None

    def _wait(self) -> None:
        if self._written is not None:
            written, self._written = self._written, None
            written.result()

    def save(
        self,
        stage: str,
        iteration: int,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        *,
        tensors: Mapping[str, Mapping[str, Tensor]] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Path:
        """Writes the state after `iteration` steps of `stage`; returns the file (see also `in_background`).

        tensors: further named groups, such as the fine stage's mesh, needed before the modules can be made.
        values: further plain values (numbers, text, lists, dicts with text or integer keys).
        """
        self._wait()
        tree = {
            "stage": stage,
            "iteration": iteration,
            "modules": {name: dict(module.state_dict()) for name, module in modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            "tensors": {name: dict(group) for name, group in (tensors or {}).items()},
            "values": dict(values or {}),
            "random": _random_state(),
        }
        found: dict[str, Tensor] = {}
        description = _describe(tree, "", found)
        files = self._files()
        number = _number(files[-1]) + 1 if files else 1
        path = self._folder / f"checkpoint_{number:05d}_{stage}_{iteration:06d}.safetensors"
        flat = _writable(found, copied=self._writer is not None)
        old = [*files, path][: -self._keep]
        if self._writer is None:
            _write(path, flat, description, old)
        else:
            self._written = self._writer.submit(_write, path, flat, description, old)
        return path

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that can be read, None where there is none.

        A corrupt one is skipped with a warning.

        Raises:
            UserError: there are checkpoints, but none can be read.
        """
        files = self._files()
        for path in reversed(files):
            try:
                return _read(path)
            except _CorruptError as error:
                _LOG.warning("%s: skipped, the checkpoint is corrupt (%s)", path, error)
        if files:
            raise UserError(f"{self._folder}: no checkpoint can be read; give another --out to start over")
        return None

    def _files(self) -> list[Path]:
        found = self._folder.glob("checkpoint_*_*_*.safetensors")
        return sorted((path for path in found if path.name.split("_")[1].isdigit()), key=_number)


def _number(path: Path) -> int:
    return int(path.name.split("_")[1])


def _read(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            # Copies: the file may be deleted (which Windows forbids while it is mapped).
            flat = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no iterator
        if header.get("format") not in (None, str(_FORMAT)):
            raise UserError(f"{path}: is of format {header['format']}; resume with the version that wrote it")
        checksums = json.loads(header["checksums"])
        for name, tensor in flat.items():
            if _checksum(tensor) != checksums[name]:
                raise _CorruptError(f"{name} has another checksum")
        tree = _rebuild(json.loads(header["tree"]), flat)
        return Checkpoint(path, tree["stage"], tree["iteration"], tree["values"], tree)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise _CorruptError(str(error) or type(error).__name__) from error


def _write(path: Path, flat: dict[str, Tensor], description: Any, old: Sequence[Path]) -> None:
    """Writes a checkpoint, and removes the files `old` when it is complete."""
    header = {
        "format": str(_FORMAT),
        "tree": json.dumps(description),
        "checksums": json.dumps({name: _checksum(tensor) for name, tensor in flat.items()}),
    }
    with atomic_file(path) as temporary:
        try:
            save_file(flat, temporary, metadata=header)
        except SafetensorError as error:
            raise UserError(f"{path}: could not be written ({error}); check the disk's space") from error
    for file in old:
        file.unlink(missing_ok=True)


def _describe(value: Any, path: str, found: dict[str, Tensor]) -> Any:
    """JSON for a tree of containers, plain values and tensors; the tensors go to `found`, by path."""
    if isinstance(value, Tensor):
        found[path] = value
        return {"tensor": path}
    if isinstance(value, Mapping):
        items = list(value.items())
        if not all(isinstance(key, (str, int)) for key, _ in items):
            raise TypeError(f"{path}: expected text or integers as keys")
        return {"dict": [[key, _describe(item, f"{path}/{key}".lstrip("/"), found)] for key, item in items]}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_describe(item, f"{path}/{i}", found) for i, item in enumerate(value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise TypeError(f"{path}: a {type(value).__name__} cannot be saved in a checkpoint")


def _rebuild(description: Mapping[str, Any], flat: Mapping[str, Tensor]) -> Any:
    ((kind, content),) = description.items()
    if kind == "tensor":
        return flat[content]
    if kind == "dict":
        return {key: _rebuild(item, flat) for key, item in content}
    if kind == "value":
        return content
    items = [_rebuild(item, flat) for item in content]
    return tuple(items) if kind == "tuple" else items


def _writable(found: Mapping[str, Tensor], copied: bool) -> dict[str, Tensor]:
    """The tensors in main memory, contiguous, none sharing memory with another (safetensors' conditions).

    copied: nor with those of `found`, which may go on changing.
    """
    flat: dict[str, Tensor] = {}
    used: set[int] = set()
    for name, tensor in found.items():
        own = copied and tensor.device.type == "cpu"
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if own or storage.data_ptr() in used or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        used.add(tensor.untyped_storage().data_ptr())
        flat[name] = tensor
    return flat


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


def _random_state() -> dict[str, Any]:
    """Torch's generators; recon draws from no other."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    for index, device_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(device_state, index)
