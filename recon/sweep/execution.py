"""Runs a sweep: every run is a chain of commands in processes of their own, several chains at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from recon.sweep.plan import Sweep, SweepRun
from recon.sweep.probe_error import probe_error
from recon.sweep.results import Result, commit, find_result, result_file, seconds_of, write_result
from usd_tools.comparison.sides import RELIGHTING
from usd_tools.errors import UserError
from usd_tools.threads import allowed_threads, available_cores

_ROOT = Path(__file__).resolve().parents[2]
# What libraries with thread pools of their own look at. Too many threads on too few cores cost far more than
# they bring: each pool spins while it waits.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class RunError(Exception):
    """A run failed: what its last command said."""


@dataclass(frozen=True)
class RunPaths:
    """Where one run keeps its things, below `folder`."""

    folder: Path

    @property
    def training(self) -> Path:
        return self.folder / "run"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def probe(self) -> Path:
        return self.training / "mesh" / "probe.exr"

    @property
    def alignment(self) -> Path:
        return self.folder / "alignment.json"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"


@dataclass(frozen=True)
class Execution:
    """How the runs of `sweep` are carried out.

    datasets: folder of each scene. runs, results: folders for what runs leave and for the result files.
    jobs: runs at a time. train_options: more arguments for recon.train (`--device`, `--backend`).
    gpus: what the runs are spread over, see `gpus_to_share`; none: each run chooses for itself.
    """

    sweep: Sweep
    datasets: Mapping[str, Path]
    runs: Path
    results: Path
    jobs: int
    train_options: Sequence[str] = ()
    gpus: Sequence[str] = ()

    def paths(self, run: SweepRun) -> RunPaths:
        return RunPaths(self.runs / run.name)

    def is_done(self, run: SweepRun) -> bool:
        """Whether `run` has its result, or one without relighting that can no longer be relit here.

        Raises:
            UserError: there is a result of the same name with other settings.
        """
        result = find_result(self.results, run)
        if result is None:
            return False
        has_all = result.relighting is not None or not self.sweep.relight
        return has_all or not (self.paths(run).training / "mesh" / "mesh.obj").is_file()

    def perform(
        self, runs: Sequence[SweepRun], on_done: Callable[[SweepRun, Result | None, str], None]
    ) -> dict[str, str]:
        """Carries out `runs`; what fails is told and the others go on.

        on_done: called after each run with its result, or with None and why it failed. Returns the reasons by
        run's name. An interrupt ends all running commands, which are resumed the next time.
        """
        processes = Processes()
        # One for each run at a time. A run takes one and hands it back, so that GPUs stay evenly loaded.
        environments: SimpleQueue[dict[str, str]] = SimpleQueue()
        for environment in run_environments(self.jobs, self.gpus):
            environments.put(environment)
        revision = commit()
        failed: dict[str, str] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            waiting = {
                pool.submit(self._perform, run, processes, environments, revision): run for run in runs
            }
            try:
                for future in as_completed(waiting):
                    run = waiting[future]
                    try:
                        on_done(run, future.result(), "")
                    except (RunError, UserError, OSError) as error:
                        failed[run.name] = str(error)
                        on_done(run, None, str(error))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                processes.end()
                raise
        return failed

    def _perform(
        self,
        run: SweepRun,
        processes: Processes,
        environments: SimpleQueue[dict[str, str]],
        revision: str | None,
    ) -> Result:
        paths, dataset = self.paths(run), self.datasets[run.scene]
        paths.folder.mkdir(parents=True, exist_ok=True)
        environment = environments.get()
        try:
            for command in self._commands(run):
                processes.run(command, paths.log, environment)
        finally:
            environments.put(environment)
        result = self._collect(run, paths, dataset, revision)
        write_result(result_file(self.results, run), self.sweep, result)
        return result

    def _commands(self, run: SweepRun) -> list[list[str]]:
        paths, dataset = self.paths(run), self.datasets[run.scene]
        train = ["recon.train", "--data", str(dataset), "--out", str(paths.training), "--resume"]
        if self.sweep.config is not None:
            train += ["--config", str(self.sweep.config)]
        train += ["--set", *run.settings(dataset), *self.train_options]
        sides = [str(paths.training), str(dataset)]
        relight = [["usd_tools.relight", *sides]] if self.sweep.relight else []  # for the report to show
        compare = [["usd_tools.compare_textures", *sides, "--out", str(paths.report)]]
        return [train, *relight, *compare, *self._align(run, paths, dataset)]

    def _align(self, run: SweepRun, paths: RunPaths, dataset: Path) -> list[list[str]]:
        """What compares a learnt light with the true one, where that is known."""
        probe = dataset / "ground_truth" / "probe.exr"
        if self.sweep.config_of(run, dataset).light.mode != "learnt" or not probe.is_file():
            return []
        return [["usd_tools.align_hdri", str(paths.probe), str(probe), "--out", str(paths.alignment)]]

    def _collect(self, run: SweepRun, paths: RunPaths, dataset: Path, revision: str | None) -> Result:
        record = _read(paths.training / "run.json")
        config = self.sweep.config_of(run, dataset)
        true_probe = dataset / "ground_truth" / "probe.exr"
        aligned = bool(self._align(run, paths, dataset))
        validation = paths.training / "validation" / "metrics.json"
        return Result(
            run.scene,
            run.variant,
            run.seed,
            run.overrides,
            _read(paths.report / "metrics.json"),
            _read(validation)["mean"] if validation.is_file() else {},
            _read(paths.training / RELIGHTING / "relighting.json") if self.sweep.relight else None,
            probe_error(paths.probe, true_probe, _read(paths.alignment)) if aligned else None,
            seconds_of(record),
            {
                "commit": revision,
                "versions": record["versions"],
                "device": record["device"],
                "backend": record["backend"],
                "runs_at_a_time": self.jobs,
                "peak_memory_bytes": record["peak_memory_bytes"],
                # Of the data, the scene's name tells; folders are different everywhere.
                "settings": {
                    key: run.overrides.get(key, value)
                    for key, value in config.flat().items()
                    if key != "data.path"
                },
            },
        )


class Processes:
    """Commands that run now, so that all of them can be ended."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Runs `python -m command`, its output appended to `log`. Raises RunError if it fails."""
        with log.open("ab") as output:
            output.write(f"\n$ python -m {' '.join(command)}\n".encode())
            output.flush()
            with self._lock:
                if self._ended:
                    raise RunError("interrupted")
                process = subprocess.Popen(
                    [sys.executable, "-m", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
                self._running.add(process)
            code = process.wait()
        with self._lock:
            self._running.discard(process)
        if code:
            raise RunError(f"{command[0]} ended with exit code {code}: {_last_line(log)} (see {log})")

    def end(self) -> None:
        with self._lock:
            self._ended = True
            for process in self._running:
                process.terminate()


def gpus_to_share(device: str) -> list[str]:
    """GPUs that several runs on `device` (of `DEVICES`) can share, as CUDA_VISIBLE_DEVICES names them.

    Those that this process may use; none if they are fewer than two, since runs have no choice then.
    """
    # Counting makes no CUDA context, which would hold memory of a GPU in this process that needs none.
    count = 0 if device == "cpu" else torch.cuda.device_count()
    if count < 2:
        return []
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in listed.split(",")][:count]  # CUDA stops at the first that is not there


def run_environments(jobs: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """What commands find in the environment, for each of `jobs` runs at a time; `gpus` go round.

    Cores are shared out evenly, but no run gets more threads than `OMP_NUM_THREADS` here says.
    """
    threads = max(1, available_cores() // jobs)
    allowed = allowed_threads()
    if allowed is not None:  # who starts several sweeps side by side sets it
        threads = min(threads, allowed)
    path = os.pathsep.join(part for part in (str(_ROOT), os.environ.get("PYTHONPATH")) if part)
    shared = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads)), "PYTHONPATH": path}
    if not gpus:
        return [shared] * jobs
    return [{**shared, "CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} for slot in range(jobs)]


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else "it gave no reason"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
