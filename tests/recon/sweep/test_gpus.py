"""Runs of a sweep that share a machine's GPUs: which one the commands of each run are shown."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from recon.sweep.__main__ import main
from recon.sweep.execution import Execution, run_environments
from usd_tools.threads import available_cores

SWEEP = """
name: shared
scenes: {ball: }
seeds: [0, 1, 2, 3]
"""
SEEDS = 4
# Notes the GPU that it is shown, and stays until as many runs as asked have done so.
NOTE = """
import os, pathlib, time
folder = pathlib.Path({folder!r})
(folder / "{seed}.part").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
(folder / "{seed}.part").rename(folder / "{seed}.txt")
last = time.monotonic() + 60
while len(list(folder.glob("*.txt"))) < {awaited} and time.monotonic() < last:
    time.sleep(0.02)
assert {seed} != 2, "some runs fail in a command, and some of what follows"
"""


@pytest.fixture
def gpus_shown(tmp_path, monkeypatch):
    """Runs the sweep with `options` where there are `count` GPUs; returns the one shown to each seed's run.

    waiting: how many of the first runs go on until all runs have begun.
    """

    def sweep(count: int, *options: str, waiting: int = 0) -> list[str]:
        folder = tmp_path / "notes"
        folder.mkdir()
        sweep_file = tmp_path / "shared.yaml"
        sweep_file.write_text(SWEEP, encoding="utf-8")

        def commands(execution, run):
            awaited = SEEDS if run.seed < waiting else 0
            code = NOTE.format(folder=str(folder), seed=run.seed, awaited=awaited)
            return [["timeit", "-n", "1", "-r", "1", code]]

        monkeypatch.setattr(Execution, "_commands", commands)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        out = ["--data", f"ball={tmp_path}", "--out", str(tmp_path / "out")]
        assert main([str(sweep_file), *out, *options]) == 1, "these runs leave no results"
        return [(folder / f"{seed}.txt").read_text() for seed in range(SEEDS)]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return sweep


def test_runs_at_a_time_are_shown_different_gpus(gpus_shown):
    first, *others = gpus_shown(3, "--jobs", "2", waiting=1)
    assert {first, *others} == {"0", "1"}
    assert len(set(others)) == 1, "while the first run went on, the others took the other GPU in turn"


def test_more_runs_than_gpus_load_them_evenly(gpus_shown):
    assert Counter(gpus_shown(2, "--jobs", "4", waiting=4)) == {"0": 2, "1": 2}


def test_only_gpus_that_the_environment_lists_are_shown(gpus_shown, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 3,99")  # there is no GPU 99, so that torch counts two
    assert Counter(gpus_shown(2, "--jobs", "4", waiting=4)) == {"5": 2, "3": 2}


@pytest.mark.parametrize("count, device", [(0, "auto"), (1, "auto"), (2, "cpu")])
@pytest.mark.parametrize("listed", [None, "7,5"])
def test_without_a_choice_the_environment_stays(gpus_shown, monkeypatch, count, device, listed):
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert gpus_shown(count, "--jobs", "2", "--device", device) == [listed or "unset"] * SEEDS


@pytest.mark.parametrize("allowed", ["1", "100000", "", "many", "0"])
def test_no_run_has_more_threads_than_its_share_of_the_cores_and_than_the_environment_allows(
    monkeypatch, allowed
):
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    share = max(1, available_cores() // 2)
    expected = "1" if allowed == "1" else str(share)
    assert [run["OMP_NUM_THREADS"] for run in run_environments(2, ())] == [expected] * 2
    assert [run["MKL_NUM_THREADS"] for run in run_environments(2, ())] == [expected] * 2
    assert run_environments(1, ())[0]["OMP_NUM_THREADS"] == (
        "1" if allowed == "1" else str(available_cores())
    )
