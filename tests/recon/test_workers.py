"""Several processes learn what one does with the same batch, and only the first one writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from recon.stages.fine import FineSettings, fine_stage
from recon.stages.run_stage import run_stage
from recon.train import main
from recon.workers import Workers
from tests.recon.cuda import needs_two_gpus
from tests.recon.one_step import EXACT, one_step
from tests.recon.small_dataset import TINY, write_dataset
from tests.recon.stages.scenes import NO_PRIORS, NO_SMOOTHNESS, RATES, fine_scene, setup
from usd_tools.errors import UserError
from usd_tools.images import read_image

REPOSITORY = Path(__file__).resolve().parents[2]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            stdout, stderr = started.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            started.terminate()  # torchrun ends its processes then, which outlive it if it is killed
            raise
    return subprocess.CompletedProcess(started.args, started.returncode, stdout, stderr)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), views=4, size=32)


def test_one_process_is_alone_unless_torchrun_started_it(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert Workers.from_environment() == Workers(0, 1, 0)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", "3"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    workers = Workers.from_environment()
    assert workers == Workers(3, 4, 1) and not workers.leads


def test_shares_are_equal_and_together_the_batch():
    views = torch.arange(12)
    shares = [Workers(rank, 3).share_of(views) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    assert torch.equal(torch.cat(shares).sort().values, views)
    Workers(0, 3).check_batch(12)
    with pytest.raises(UserError, match=r"train\.batch: 8 views .* by 3 processes; set a multiple of 3"):
        Workers(0, 3).check_batch(8)


def test_alone_nothing_is_wrapped_or_copied():
    module = torch.nn.Linear(1, 1)
    tensors = {"a": torch.zeros(2)}
    alone, device = Workers(), torch.device("cpu")
    assert alone.synchronized(module, device) is module
    assert alone.from_first(tensors, device)["a"] is tensors["a"]
    assert not alone.averaged({"a": torch.ones((), requires_grad=True)})["a"].requires_grad


def assert_same_step(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert {
        "coarse loss a",
        "coarse loss sdf_sign",
        "fine material.branch_a.mlp.layers.0.weight",
    } <= found.keys()
    for name, value in expected.items():
        scale = float(value.abs().max())
        error = float((found[name] - value).abs().max())
        # Sums over views in another order.
        assert error <= 1e-4 * scale, f"{name}: differs by {error:.2e} of {scale:.2e}"


def test_two_processes_take_the_step_of_one_and_come_to_its_result(dataset, tmp_path):
    pairs = [f"{key}={value}" for key, value in {**TINY, **EXACT, "train.batch": 4}.items()]
    shared = ["--data", str(dataset), "--device", "cpu", "--set", *pairs]
    one, two, step = (tmp_path / name for name in ("one", "two", "step.safetensors"))
    done = torchrun("tests.recon.one_step", str(dataset), str(step), "cpu", "--out", str(two), *shared)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same_step(load_file(step), one_step(dataset, torch.device("cpu"), Workers()))

    assert done.stderr.count("held-out views: psnr") == 1  # one process speaks
    main(["--out", str(one), *shared])
    kept = [
        {file.relative_to(run).as_posix() for file in run.rglob("*") if "tfevents" not in file.name}
        for run in (one, two)
    ]
    assert kept[0] == kept[1] and "mesh/albedo.png" in kept[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "step.safetensors", "two"]
    assert json.loads((two / "status.json").read_text(encoding="utf-8"))["stage"] == "done"
    # Adam makes whole steps of gradients that are all but zero, so twelve iterations agree loosely.
    maps = [read_image(run / "mesh" / "albedo.png") for run in (one, two)]
    assert maps[0].std() > 0.02 and np.abs(maps[0].mean((0, 1)) - maps[1].mean((0, 1))).max() < 0.03
    assert psnr(two) == pytest.approx(psnr(one), abs=0.5)


def psnr(run: Path) -> float:
    return json.loads((run / "validation" / "metrics.json").read_text(encoding="utf-8"))["mean"]["psnr"]


@needs_two_gpus
def test_two_gpus_take_the_step_of_one(dataset, tmp_path):
    done = torchrun("tests.recon.one_step", str(dataset), str(tmp_path / "step"), "cuda")
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same_step(load_file(tmp_path / "step"), one_step(dataset, torch.device("cuda", 0), Workers()))


def test_a_batch_that_cannot_be_shared_is_refused_before_the_first_step():
    problem = setup(batch=3)
    problem.workers = Workers(0, 2)
    settings = FineSettings(1, RATES, False, 0.0, NO_SMOOTHNESS, NO_PRIORS, 0.005)
    with pytest.raises(UserError, match=r"train\.batch: 3 views cannot be shared equally by 2 processes"):
        run_stage(fine_stage(fine_scene(), problem, settings), problem, lambda result: None)
