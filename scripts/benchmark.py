"""Measures training: milliseconds per iteration of both stages, wall time of whole runs, peak memory.

    python scripts/benchmark.py --data DATASET --out benchmark.json
    python scripts/benchmark.py --data DATASET --backend nvdiffrast warp --axes none --runs 2

Every row of the first table is the median of many steps after a warm-up, of one configuration; the axes vary
one setting at a time around the config's own. The second table is whole runs by `python -m recon.train`, each
in its own process, from the dataset on disk to the files on disk; "other" is what is none of its parts:
Python's start and imports above all. Everything goes into the JSON as well.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from training_steps import Problem, Problems, milliseconds_per_step

from recon.backend import BACKENDS, DEVICES, Backend, choose_backend, choose_device
from recon.config import Config, load_config, with_values
from recon.run_record import device_description, package_versions
from recon.warp_runtime import compile_kernels
from usd_tools.console import setup_logging
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_file

AXES = {
    "levels": ("material.hash_levels", (2, 4, 8, 16)),
    "resolutions": ("train.resolution", (256, 512, 1024)),
    "batches": ("train.batch", (1, 2, 4, 8, 16)),
}
RUN_STAGES = ("compile", "load", "start", "coarse", "unwrap", "bake", "search", "fine", "export", "validate")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    device = choose_device(options.device)
    config = load_config(options.config, options.overrides)
    problems = Problems(options.data, device)
    names = list(dict.fromkeys(options.backend))
    backends = [choose_backend(name, device) for name in names]
    begin = time.perf_counter()
    compile_kernels(device)
    report: dict[str, Any] = {
        "device": device_description(device),
        "versions": package_versions(),
        "settings": config.flat() | {"data.path": str(options.data)},
        "warm_up": options.warm_up,
        "steps_per_measurement": options.steps,
        "compile_seconds": time.perf_counter() - begin,
        "steps": [],
        "runs": [],
    }
    print(f"{report['device']}; kernels ready in {report['compile_seconds']:.1f} s", flush=True)
    print(_STEP_HEADER, flush=True)
    for index, backend in enumerate(backends):
        axes = options.axes if index == 0 else ()
        for changes in configurations(config, options.models, axes):
            for repeat in range(options.repeat if not varied(config, changes) else 1):
                changed = with_values(config, changes)
                row = measure_steps(problems, changed, backend, options.warm_up, options.steps)
                row |= {"repeat": repeat}
                report["steps"].append(row)
                print(step_line(row), flush=True)
                write(options.out, report)
    if options.runs:
        print(_RUN_HEADER, flush=True)
    for name, backend in zip(names, backends):
        for model in options.models:
            for _ in range(options.runs):
                row = {"backend": backend.name, "model": model} | measure_run(options, name, model)
                report["runs"].append(row)
                print(run_line(row), flush=True)
                write(options.out, report)
    print(f"written: {options.out}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark.py", description="Measures training steps, whole runs and memory."
    )
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as for recon.train")
    parser.add_argument("--out", type=Path, default=Path("benchmark.json"), help="report (%(default)s)")
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument(
        "--set", dest="overrides", metavar="KEY=VALUE", action="extend", nargs="+", default=[]
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--backend", choices=BACKENDS, nargs="+", default=["auto"])
    parser.add_argument("--models", choices=("split", "joint"), nargs="+", default=["split", "joint"])
    parser.add_argument(
        "--axes",
        choices=(*AXES, "none"),
        nargs="+",
        default=list(AXES),
        help="what to vary, with the first backend (all)",
    )
    parser.add_argument("--warm-up", type=int, default=20, help="steps before measuring (%(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="steps to take the median of (%(default)s)")
    parser.add_argument(
        "--repeat", type=int, default=2, help="measurements of the config itself (%(default)s)"
    )
    parser.add_argument(
        "--runs", type=int, default=1, help="whole runs of each backend and model; 0 for none (%(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.warm_up < 1 or options.steps < 1 or options.repeat < 1 or options.runs < 0:
        raise UserError("--warm-up, --steps and --repeat: expected 1 or more; --runs: 0 or more")
    if "none" in options.axes:
        options.axes = []
    return options


def configurations(config: Config, models: Sequence[str], axes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Changes to `config`: every model by itself, then with every value of every axis."""
    for model in models:
        yield {"material.model": model}
    own = config.flat()
    for axis in axes:
        key, values = AXES[axis]
        for model in models:
            for value in values:
                if value != own[key]:
                    yield {"material.model": model, key: value}


def varied(config: Config, changes: dict[str, Any]) -> bool:
    """Whether `changes` leaves the config's own sizes."""
    return set(changes) != {"material.model"}


def measure_steps(
    problems: Problems, config: Config, backend: Backend, warm_up: int, steps: int
) -> dict[str, Any]:
    """Medians of both stages, and the most memory that either took."""
    row: dict[str, Any] = {
        "backend": backend.name,
        "model": config.material.model,
        "hash_levels": config.material.hash_levels,
    }
    for stage, make in (("coarse", problems.coarse), ("fine", problems.fine)):
        reset_peak(problems.device)
        problem: Problem | None = None
        try:
            problem = make(config, backend, warm_up + steps)
            cameras = problem.setup.views.cameras
            row["batch"] = problem.setup.batch  # no more than there are views
            row["resolution"] = f"{cameras.width}x{cameras.height}"
            durations = milliseconds_per_step(problem, warm_up, problems.device)
            row[stage] = summary(durations) | sizes(problem) | {"peak_memory": peak(problems.device)}
        except torch.cuda.OutOfMemoryError:
            row[stage] = {"error": "out of memory"}
        del problem  # before the next one takes its memory
    return row


def summary(durations: list[float]) -> dict[str, float]:
    ordered = sorted(durations)
    return {
        "median_ms": statistics.median(ordered),
        "mean_ms": statistics.fmean(ordered),
        "slowest_ms": ordered[-1],
    }


def sizes(problem: Problem) -> dict[str, int]:
    with torch.no_grad():
        mesh = problem.scene.mesh()
    return {"triangles": len(mesh.faces), "views": len(problem.setup.views)}


def reset_peak(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int | None:
    """Most bytes that torch had allocated on the GPU; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def measure_run(options: argparse.Namespace, backend: str, model: str) -> dict[str, Any]:
    """Wall time of one whole run as a user starts it, and its parts from its run.json."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark_"))
    command = [sys.executable, "-m", "recon.train", "--data", str(options.data), "--out", str(folder / "run")]
    command += ["--device", options.device, "--backend", backend]
    command += ["--config", str(options.config)] if options.config else []
    command += ["--set", *options.overrides, f"material.model={model}"]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    try:
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"{' '.join(command)}: failed with exit code {done.returncode}: {last}")
        record = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    parts = {name: record["stages"][name]["seconds"] for name in RUN_STAGES if name in record["stages"]}
    return {
        "wall_seconds": seconds,
        "parts_seconds": parts,
        "other_seconds": seconds - sum(parts.values()),
        "ms_per_iteration": {
            name: 1000.0 * record["stages"][name]["seconds_per_iteration"]
            for name in ("coarse", "fine")
            if "seconds_per_iteration" in record["stages"].get(name, {})
        },
        "peak_memory": record["peak_memory_bytes"].get("device"),
    }


def write(path: Path, report: dict[str, Any]) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


_STEP_HEADER = (
    "\n| backend | model | levels | size | batch | coarse, ms | fine, ms | coarse, GiB | fine, GiB |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)
_RUN_HEADER = (
    "\n| backend | model | wall, s | " + " | ".join(RUN_STAGES) + " | other | peak, GiB |\n"
    "| --- | --- | --- |" + " --- |" * len(RUN_STAGES) + " --- | --- |"
)


def step_line(row: dict[str, Any]) -> str:
    stages = [row["coarse"], row["fine"]]
    times = [f"{stage['median_ms']:.2f}" if "median_ms" in stage else stage["error"] for stage in stages]
    memory = [gibibytes(stage.get("peak_memory")) for stage in stages]
    names = [
        row["backend"],
        row["model"],
        row["hash_levels"],
        row.get("resolution", ""),
        row.get("batch", ""),
    ]
    return "| " + " | ".join(map(str, [*names, *times, *memory])) + " |"


def run_line(row: dict[str, Any]) -> str:
    parts = [f"{row['parts_seconds'].get(name, 0.0):.1f}" for name in RUN_STAGES]
    parts.append(f"{row['other_seconds']:.1f}")
    cells = [row["backend"], row["model"], f"{row['wall_seconds']:.1f}", *parts]
    return "| " + " | ".join([*cells, gibibytes(row["peak_memory"])]) + " |"


def gibibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**30:.2f}"


if __name__ == "__main__":
    setup_logging()
    run_command(main)
