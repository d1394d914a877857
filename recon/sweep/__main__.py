"""`python -m recon.sweep`: trains and compares every run of a sweep, and tabulates what came out.

    python -m recon.sweep FILE.yaml [--data SCENE=DATASET ...] [--out DIR] [--jobs N]
    python -m recon.sweep FILE.yaml --collect-only [--results DIR]

FILE.yaml holds `scenes` (names with dataset folders, or without, for --data to give), and optionally `name`,
`seeds`, `config` (a settings file to start from), `overrides` (settings of all runs), `variants` (names with
settings), `grid` (keys with lists of values, all combined), `relight: true` and `targets` (bounds that the
tables check). `{dataset}` in a value stands for the folder of the scene's dataset.

Finished runs are skipped and interrupted ones resumed, so the same command goes on where it was stopped. A
run that fails is told of and the others go on; the exit code is then 1. `--out` gets index.html, table.csv,
table.md, the runs with their reports, and one small JSON per run under results/: several machines' result
folders put together make one table with --collect-only.
"""

from __future__ import annotations

import argparse
import fnmatch
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from recon.backend import BACKENDS, DEVICES
from recon.sweep.execution import Execution, RunPaths, gpus_to_share
from recon.sweep.page import sweep_page
from recon.sweep.plan import Sweep, SweepRun, load_sweep, slug
from recon.sweep.results import Result, read_results
from recon.sweep.tables import csv_table, markdown_table, rows_of
from usd_tools.console import positive_integer, setup_logging
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_file

_LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    setup_logging()
    sweep = load_sweep(options.file, options.overrides)
    if options.no_relight:
        sweep = replace(sweep, relight=False)
    out = options.out or Path("runs") / "sweeps" / slug(sweep.name)
    results = options.results or out / "results"
    failed: dict[str, str] = {}
    if not options.collect_only:
        execution = Execution(
            sweep,
            _datasets(sweep, options.data),
            out / "runs",
            results,
            options.jobs,
            ["--device", options.device, "--backend", options.backend],
            gpus_to_share(options.device),
        )
        # What stops a program (a batch system, a time limit) shall leave runs to be resumed and a table.
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            failed = _run(execution, options.only)
        except KeyboardInterrupt:
            _write_tables(sweep, results, out, {})
            raise
    _write_tables(sweep, results, out, failed)
    return 1 if failed else 0


def _run(execution: Execution, only: Sequence[str]) -> dict[str, str]:
    asked = [run for run in execution.sweep.runs if run.scene in execution.datasets and _wanted(run, only)]
    if not asked:
        names = ", ".join(run.name for run in execution.sweep.runs[:3])
        raise UserError(
            f"--only {' '.join(only)}: no run of a scene with a dataset fits; runs are {names} ..."
        )
    left = [run for run in asked if not execution.is_done(run)]
    _LOG.info(
        "%d runs, %d of them done already, %d at a time", len(asked), len(asked) - len(left), execution.jobs
    )
    with tqdm(total=len(left), desc="sweep", unit="run", disable=None) as bar:

        def on_done(run: SweepRun, result: Result | None, why: str) -> None:
            bar.update()
            bar.clear()
            if result is None:
                _LOG.error("%s: %s", run.name, why)
                return
            figures = result.metrics
            told = ", ".join(
                f"{key} {figures[key]:.3f}"
                for key in ("roughness_mae", "albedo_mae")
                if figures[key] is not None
            )
            _LOG.info("%s: %s, %.0f s", run.name, told, result.seconds["total"])

        return execution.perform(left, on_done)


def _wanted(run: SweepRun, only: Sequence[str]) -> bool:
    """A pattern names a run, or some of the parts SCENE/VARIANT/seed_N of its name."""
    parts = run.name.split("/")
    names = [run.name, *parts, "/".join(parts[:2]), "/".join(parts[1:]), run.variant]
    return not only or any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in only)


def _datasets(sweep: Sweep, given: Sequence[str]) -> dict[str, Path]:
    datasets = dict(sweep.datasets)
    for pair in given:
        scene, equals, folder = pair.partition("=")
        if not equals or not folder:
            raise UserError(f"--data {pair}: expected SCENE=DATASET")
        if scene not in datasets:
            raise UserError(f"--data {pair}: no such scene; the sweep has {', '.join(datasets)}")
        datasets[scene] = Path(folder)
    usable = {scene: folder.resolve() for scene, folder in datasets.items() if folder is not None}
    for scene, path in usable.items():
        if not path.is_dir():
            raise UserError(f"{path}: no such dataset folder; give one with --data {scene}=DATASET")
    without = [scene for scene in datasets if scene not in usable]
    if not usable:
        raise UserError(f"--data: no scene has a dataset; give one with --data {without[0]}=DATASET")
    if without:
        _LOG.warning("left out: %s; give a dataset by --data SCENE=DATASET", ", ".join(without))
    return usable


def _write_tables(sweep: Sweep, results: Path, out: Path, failed: dict[str, str]) -> None:
    order = {run.name: i for i, run in enumerate(sweep.runs)}
    found = sorted(
        read_results(results), key=lambda result: (order.get(_name(result), len(order)), result.order)
    )
    if not found:
        _LOG.warning("%s: holds no results yet; there is no table to write", results)
        return
    rows = rows_of(found, sweep.targets)
    page = sweep_page(
        f"Sweep: {sweep.name}",
        rows,
        found,
        failed,
        lambda result: RunPaths(out / "runs" / _name(result)).report,
        out,
    )
    table = markdown_table(rows)
    for name, text in (("table.csv", csv_table(rows)), ("table.md", table), ("index.html", page)):
        with atomic_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    sys.stdout.write(f"{table}\n{out / 'index.html'}\n")


def _name(result: Result) -> str:
    return SweepRun(result.scene, result.variant, result.seed, {}).name


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recon.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="such as recon/configs/sweeps/*.yaml")
    parser.add_argument(
        "--data",
        action="extend",
        nargs="+",
        default=[],
        metavar="SCENE=DATASET",
        help="datasets of the scenes",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/sweeps/NAME")
    parser.add_argument("--results", type=Path, metavar="DIR", help="one JSON per run (default: OUT/results)")
    parser.add_argument(
        "--jobs",
        type=positive_integer,
        default=1,
        metavar="N",
        help="runs at a time (default: 1), spread over the GPUs where there are several",
    )
    parser.add_argument(
        "--only",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="these runs only: a scene, a variant, seed_0 or all three, as cow/split/seed_0; * fits anything",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change settings of all runs; the sweep's variants have the last word",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument(
        "--no-relight",
        action="store_true",
        help="leave out relighting, which needs Mitsuba; the same command without this makes up for it",
    )
    parser.add_argument(
        "--collect-only", action="store_true", help="run nothing; write the tables of the results so far"
    )
    return parser


if __name__ == "__main__":
    run_command(main)
