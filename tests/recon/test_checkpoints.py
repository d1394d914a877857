"""Checkpoints: resuming is exact to the bit, damage is noticed, and other settings are refused."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from recon import checkpoints as saving
from recon.checkpoints import Checkpoints
from usd_tools.errors import UserError


class Toy:
    """Two modules and two Adams with changing rates, trained on random numbers."""

    def __init__(self, width: int = 5, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.modules = {
            "net": nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width)),
            "head": nn.Linear(width, 1),
        }
        self.optimizers = {
            name: torch.optim.Adam(module.parameters(), lr=0.01, eps=1e-15, fused=True)
            for name, module in self.modules.items()
        }

    def train(self, start: int, end: int) -> None:
        for step in range(start, end):
            loss = (self.modules["head"](self.modules["net"](torch.randn(8, 3))) - 1).square().mean()
            for optimizer in self.optimizers.values():
                optimizer.param_groups[0]["lr"] = 0.01 * 0.9**step
                optimizer.zero_grad()
            loss.backward()
            for optimizer in self.optimizers.values():
                optimizer.step()

    def tensors(self) -> list[torch.Tensor]:
        out = [tensor.clone() for module in self.modules.values() for tensor in module.state_dict().values()]
        for optimizer in self.optimizers.values():
            for state in optimizer.state_dict()["state"].values():
                out += [tensor.clone() for tensor in state.values()]
        return out


def save(folder: Path, toy: Toy, iteration: int = 4, **more: object) -> Path:
    return Checkpoints(folder).save("coarse", iteration, toy.modules, toy.optimizers, **more)  # type: ignore[arg-type]


def test_resuming_is_exact_to_the_bit(tmp_path):
    straight = Toy()
    straight.train(0, 10)
    first = Toy()
    first.train(0, 4)
    save(tmp_path, first)
    resumed = Toy(seed=99)
    torch.manual_seed(123)
    checkpoint = Checkpoints(tmp_path).latest()
    assert checkpoint is not None and (checkpoint.stage, checkpoint.iteration) == ("coarse", 4)
    checkpoint.restore(resumed.modules, resumed.optimizers)
    resumed.train(4, 10)
    for expected, got in zip(straight.tensors(), resumed.tensors(), strict=True):
        assert torch.equal(expected, got)
    group = resumed.optimizers["net"].state_dict()["param_groups"][0]
    assert group == straight.optimizers["net"].state_dict()["param_groups"][0]
    assert isinstance(group["betas"], tuple)


def test_an_optimizer_that_never_stepped(tmp_path):
    save(tmp_path, Toy(), 0)
    Checkpoints(tmp_path).latest().restore((toy := Toy()).modules, toy.optimizers)  # type: ignore[union-attr]
    assert toy.optimizers["net"].state_dict()["state"] == {}


def test_tensors_and_values_come_back(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    group = {
        "vertices": base.t(),  # not contiguous
        "part": base[1:],  # shares memory
        "faces": torch.tensor([[0, 1, 2]]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "flag": torch.tensor([True, False]),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
    }
    values = {"seconds": {"coarse": 0.1, 3: [1, (2, None)]}, "name": "Kuh", "done": False}
    save(tmp_path, Toy(), tensors={"mesh": group}, values=values)
    checkpoint = Checkpoints(tmp_path).latest()
    assert checkpoint is not None and checkpoint.values == values
    back = checkpoint.tensors("mesh")
    assert list(back) == list(group)
    for name, tensor in group.items():
        assert torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype
    with pytest.raises(UserError, match="no 'light'"):
        checkpoint.tensors("light")
    with pytest.raises(TypeError, match="values/path"):
        save(tmp_path, Toy(), values={"path": tmp_path})


def test_the_last_two_are_kept(tmp_path):
    assert Checkpoints(tmp_path).latest() is None
    toy = Toy()
    for iteration in (1, 2, 3):
        save(tmp_path, toy, iteration)
    Checkpoints(tmp_path).save("fine", 0, toy.modules, toy.optimizers)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint_00003_coarse_000003.safetensors",
        "checkpoint_00004_fine_000000.safetensors",
    ]
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None and (latest.stage, latest.iteration) == ("fine", 0)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_last_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [cut, flip_last_bit, lambda content: b"", lambda content: b"\0" * 64])
def test_a_damaged_file_falls_back_to_the_previous_one(tmp_path, caplog, damage):
    toy = Toy()
    save(tmp_path, toy, 1)
    path = save(tmp_path, toy, 2)
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        checkpoint = Checkpoints(tmp_path).latest()
    assert checkpoint is not None and checkpoint.iteration == 1
    assert path.name in caplog.text and "corrupt" in caplog.text
    other = checkpoint.path
    other.write_bytes(damage(other.read_bytes()))
    with pytest.raises(UserError, match="no checkpoint can be read"):
        Checkpoints(tmp_path).latest()


def test_other_settings_are_refused_and_change_nothing(tmp_path):
    save(tmp_path, Toy(width=5))
    checkpoint = Checkpoints(tmp_path).latest()
    assert checkpoint is not None
    wide, toy = Toy(width=6), Toy(seed=7)
    cases = [
        (wide.modules, {}, "it has optimizer net"),
        (wide.modules, wide.optimizers, r"net\.0\.weight is torch\.float32 \(5, 3\) there"),
        (toy.modules | {"light": nn.Linear(1, 1)}, toy.optimizers, "it has no light"),
        ({"net": toy.modules["net"]}, toy.optimizers, "it has head"),
        (toy.modules | {"head": nn.Linear(5, 1, bias=False)}, toy.optimizers, r"it has head\.bias"),
        (toy.modules | {"head": nn.Linear(5, 1).double()}, toy.optimizers, r"torch\.float64"),
        (
            toy.modules,
            toy.optimizers | {"head": torch.optim.Adam([nn.Parameter(torch.ones(1))])},
            "parameter groups",
        ),
    ]
    before = toy.tensors() + wide.tensors()
    for modules, optimizers, told in cases:
        with pytest.raises(UserError, match=told) as caught:
            checkpoint.restore(modules, optimizers)
        assert "resume with the same config" in str(caught.value)
    assert all(torch.equal(old, new) for old, new in zip(before, toy.tensors() + wide.tensors(), strict=True))


def test_an_optimizer_of_other_shapes_is_refused(tmp_path):
    toy = Toy()
    toy.train(0, 1)
    save(tmp_path, toy)
    checkpoint = Checkpoints(tmp_path).latest()
    assert checkpoint is not None
    other = torch.optim.Adam([nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(1))])
    with pytest.raises(UserError, match="optimizer head: exp_avg of parameter 0"):
        checkpoint.restore(toy.modules, toy.optimizers | {"head": other})


def test_a_later_format_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.ones(1)}, tmp_path / "checkpoint_00001_fine_000001.safetensors", {"format": "9"})
    with pytest.raises(UserError, match="format 9"):
        Checkpoints(tmp_path).latest()


def test_written_in_background_is_the_state_when_it_was_saved(tmp_path, monkeypatch):
    """Training goes on while a slow disk writes."""
    go_on = threading.Event()
    write = saving.save_file

    def slow(*arguments: object, **options: object) -> None:
        assert go_on.wait(20)
        write(*arguments, **options)

    toy = Toy()
    toy.train(0, 4)
    expected = toy.tensors()
    monkeypatch.setattr(saving, "save_file", slow)
    checkpoints = Checkpoints(tmp_path)
    with checkpoints.in_background():
        checkpoints.save("coarse", 4, toy.modules, toy.optimizers)
        toy.train(4, 6)
        assert Checkpoints(tmp_path).latest() is None
        go_on.set()
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None
    latest.restore((other := Toy(seed=99)).modules, other.optimizers)
    assert all(torch.equal(a, b) for a, b in zip(expected, other.tensors(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(expected, toy.tensors(), strict=True))


def test_background_errors_are_raised_and_interruptions_leave_whole_files(tmp_path, monkeypatch):
    toy = Toy()
    checkpoints = Checkpoints(tmp_path, keep=1)
    with pytest.raises(KeyboardInterrupt), checkpoints.in_background():
        checkpoints.save("coarse", 0, toy.modules, toy.optimizers)
        checkpoints.save("coarse", 4, toy.modules, toy.optimizers)
        raise KeyboardInterrupt
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None and latest.iteration == 4
    assert len(list(tmp_path.iterdir())) == 1

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(OSError, match="No space left"), checkpoints.in_background():
        checkpoints.save("coarse", 5, toy.modules, toy.optimizers)
    kept = Checkpoints(tmp_path).latest()
    assert kept is not None and kept.iteration == 4
