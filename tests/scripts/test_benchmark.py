"""Benchmark and profile on a tiny dataset: what they write, and that the figures can be what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import benchmark
import profile_step
import pytest
import torch
import training_steps
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

from tests.recon.small_dataset import TINY, write_dataset
from usd_tools.errors import UserError

SETTINGS = [f"{key}={value}" for key, value in TINY.items()]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), views=4, size=32)


def test_benchmark_measures_steps_and_whole_runs(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(benchmark.AXES, "batches", ("train.batch", (1, 2)))
    out = tmp_path / "benchmark.json"
    few = ["--warm-up", "1", "--steps", "3", "--repeat", "2", "--runs", "1", "--models", "split"]
    where = ["--data", str(dataset), "--out", str(out), "--device", "cpu"]
    benchmark.main([*where, *few, "--axes", "batches", "--set", *SETTINGS])
    report = json.loads(out.read_text(encoding="utf-8"))
    rows = report["steps"]
    assert [(row["batch"], row["repeat"]) for row in rows] == [(2, 0), (2, 1), (1, 0)]
    for row in rows:
        assert (row["backend"], row["model"], row["resolution"]) == ("warp", "split", "32x32")
        for stage in ("coarse", "fine"):
            assert 0 < row[stage]["median_ms"] <= row[stage]["slowest_ms"]
            assert row[stage]["triangles"] > 0 and row[stage]["peak_memory"] is None
    (run,) = report["runs"]
    assert set(run["parts_seconds"]) == set(benchmark.RUN_STAGES)
    parts = sum(run["parts_seconds"].values())
    assert 0 < parts < run["wall_seconds"]
    assert run["other_seconds"] == pytest.approx(run["wall_seconds"] - parts)
    assert set(run["ms_per_iteration"]) == {"coarse", "fine"}
    printed = capsys.readouterr().out
    assert printed.count("| warp | split |") == 4


def test_axes_vary_one_setting_at_a_time():
    config = benchmark.load_config(None, [])
    changes = list(benchmark.configurations(config, ["split", "joint"], ["levels", "batches"]))
    assert changes[:2] == [{"material.model": "split"}, {"material.model": "joint"}]
    assert {len(change) for change in changes[2:]} == {2}
    levels = [change["material.hash_levels"] for change in changes if "material.hash_levels" in change]
    own = config.material.hash_levels
    assert sorted(levels) == sorted(2 * [value for value in (2, 4, 8, 16) if value != own])


def test_resolutions_above_the_datasets_are_measured_on_enlarged_views(dataset):
    problems = training_steps.Problems(dataset, torch.device("cpu"))
    config = benchmark.load_config(None, [*SETTINGS, "train.resolution=48"])
    row = benchmark.measure_steps(problems, config, benchmark.choose_backend("warp", problems.device), 1, 2)
    assert row["resolution"] == "48x48"
    views = training_steps.load_views(dataset, "train")
    larger = training_steps.enlarged(views, 64)
    assert larger.images.shape == (len(views), 64, 64, 4) and larger.cameras.width == 64
    assert larger.cameras.focal == pytest.approx(2.0 * views.cameras.focal)
    assert float(larger.images.mean()) == pytest.approx(float(views.images.mean()), rel=1e-3)


def test_only_the_views_that_are_measured_take_the_devices_memory(dataset, monkeypatch):
    read = []
    load_views = training_steps.load_views

    def counted(*arguments):
        read.append(arguments[2:])
        return load_views(*arguments)

    monkeypatch.setattr(training_steps, "load_views", counted)
    problems = training_steps.Problems(dataset, torch.device("cpu"))
    backend = benchmark.choose_backend("warp", problems.device)
    for size in (32, 48):  # the dataset's own, and a larger one
        problems.coarse(benchmark.load_config(None, [*SETTINGS, f"train.resolution={size}"]), backend, 1)
    assert list(problems._views) == [32, 48]
    assert len(read) == 1, "the pictures are read once"


def test_benchmark_says_which_run_failed(dataset, tmp_path):
    options = benchmark.parse(["--data", str(tmp_path / "absent"), "--device", "cpu"])
    with pytest.raises(UserError, match=r"recon\.train .*exit code 2: .*absent"):
        benchmark.measure_run(options, "warp", "split")
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "benchmark.py"), "--data", str(dataset), "--steps", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "expected 1 or more" in done.stderr


@pytest.mark.parametrize("pixels", [0, 128])
def test_profile_finds_every_part_forward_and_backward(pixels, dataset, tmp_path, capsys):
    out = tmp_path / "profile.json"
    few = ["--warm-up", "2", "--steps", "2", "--out", str(out)]
    settings = [*SETTINGS, f"train.fine_pixels={pixels}"]
    profile_step.main(["--data", str(dataset), "--device", "cpu", *few, "--set", *settings])
    stages = json.loads(out.read_text(encoding="utf-8"))["stages"]
    assert set(stages) == {"coarse", "fine"}
    for table in stages.values():
        rows = {row["part"]: row for row in table["parts"]}
        assert set(rows) == set(profile_step.PARTS)
        for part in (profile_step.SURFACE, profile_step.RASTER, profile_step.MATERIAL, "shading", "losses"):
            assert rows[part]["forward_ms"] > 0, part
            assert rows[part]["backward_ms"] > 0, part
        assert rows["optimizer"]["forward_ms"] > 0
        total = sum(row["forward_ms"] + row["backward_ms"] for row in rows.values())
        # Python between the operations is nobody's.
        assert 0.3 * table["step_ms"] < total <= 1.05 * table["step_ms"]
        rest = rows["rest"]["forward_ms"] + rows["rest"]["backward_ms"]
        assert rest < 0.5 * total
        assert table["captured_step_ms"] is None  # nothing is captured on a CPU
    assert "| rasterize, interpolate, antialias |" in capsys.readouterr().out


def test_profile_tells_captured_steps_from_those_launched_one_by_one():
    table = {"parts": [], "waiting_ms": 1.0, "step_ms": 8.0, "captured_step_ms": None}
    assert profile_step.table_text(table).endswith("| step | | | 8.00 | 100% | |")
    *_, single, captured = profile_step.table_text(table | {"captured_step_ms": 2.5}).splitlines()
    assert single == "| step, one by one | | | 8.00 | 100% | |"
    assert captured == "| step, captured as a CUDA graph | | | 2.50 | | |"


def event(name: str, start: float, end: float, **more: object) -> FunctionEvent:
    return FunctionEvent(**{"id": 0, "name": name, "thread": 1, "start_us": start, "end_us": end} | more)


def test_kernels_belong_to_the_part_that_launched_them():
    """Recorded as on a GPU: one kernel by a torch operation, one by another library, one by its backward."""
    part = event("part: shading", 0, 100)
    inner = event("part: material", 40, 60)
    operation = event("aten::mul", 10, 20, id=5, sequence_nr=7, use_device="cuda")
    operation.append_kernel("mul", 0, 30.0)
    operation.set_cpu_parent(part)
    backward = event("autograd::engine::evaluate_function: MulBackward0", 200, 210, sequence_nr=7)
    backward.use_device = "cuda"
    backward.append_kernel("mul_backward", 0, 11.0)
    launch = event("cuLaunchKernel", 50, 51, id=9, thread=2)
    kernels = [
        event("mul", 30, 60, id=8, device_type=DeviceType.CUDA, linked_correlation_id=5),
        event("trace", 60, 77, id=9, device_type=DeviceType.CUDA),
        event("mul_backward", 210, 221, id=10, device_type=DeviceType.CUDA, linked_correlation_id=6),
        event("part: shading", 30, 77, id=3, device_type=DeviceType.CUDA, is_user_annotation=True),
    ]
    events = [part, inner, operation, backward, launch, *kernels]
    spent = {place: time for place, time in profile_step.microseconds(events, True).items() if time > 0}
    assert spent == {
        ("shading", "forward"): 30.0,
        ("material", "forward"): 17.0,
        ("shading", "backward"): 11.0,
    }


def test_floors_go_through_what_was_measured():
    floor = profile_step.FLOORS[profile_step.MATERIAL]
    assert floor.at(16 * 0.5e6) == pytest.approx(3.0) and floor.at(16 * 2.1e6) == pytest.approx(15.0)
    assert floor.at(0.0) == 0.0 and floor.at(16 * 4.2e6) == pytest.approx(30.0)


def test_a_named_part_is_what_it_was(dataset):
    def double(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    assert profile_step.named(double, "losses")(torch.tensor(3.0)) == 6.0
