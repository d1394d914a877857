"""The whole loop on one machine: scene, renders, dataset, training, USD, comparison.

    python3 scripts/demo.py [--with-joint]

Makes `.venv` first. Needs no GPU, no compiler and, after the install, no network.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap import ROOT, run_in_venv

MARKER = ".demo"  # tells a folder of ours, whose contents may be replaced, from any other
CONFIG = "recon/configs/demo.yaml"
TEST_EVERY = 8  # of 46 turntable frames: 6 held out, at all elevations


@dataclass(frozen=True)
class Size:
    """How much work the demo is: turntable frames, picture size, paths per pixel, changed settings."""

    frames: int
    resolution: str
    samples: int
    settings: tuple[str, ...] = ()


FULL = Size(frames=46, resolution="128x128", samples=128)
QUICK = Size(
    frames=14,
    resolution="48x48",
    samples=16,
    settings=(
        "train.coarse_iterations=6",
        "train.fine_iterations=6",
        "train.resolution=48",
        "geometry.grid=16",
        "textures.resolution=128",
    ),
)


class StepError(Exception):
    """A step failed; it has said why itself."""


class Steps:
    """Runs the loop's commands one after the other and keeps what each of them took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, name: str, *arguments: object) -> None:
        command = [sys.executable, *map(str, arguments)]
        print(f"\n[{len(self.seconds) + 1}] {name}\n    python {' '.join(command[1:])}", flush=True)
        started = time.monotonic()
        code = subprocess.run(command, cwd=ROOT).returncode
        self.seconds[name] = time.monotonic() - started
        if code:
            raise StepError(f"step {name!r} failed with exit code {code} (its message is above)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "demo_out", help="folder to write (demo_out)")
    parser.add_argument(
        "--with-joint", action="store_true", help="also train the joint baseline and show both"
    )
    parser.add_argument("--quick", action="store_true", help="tiny pictures, few iterations")
    parser.add_argument("--config", default=CONFIG, help="training settings (%(default)s)")
    options = parser.parse_args()
    run_in_venv(["render"])
    size = QUICK if options.quick else FULL
    run_loop(Steps(), prepare(options.out.resolve()), size, options.config, options.with_joint)


def run_loop(steps: Steps, out: Path, size: Size, config: str, with_joint: bool) -> None:
    """From the scene to the report, and the summary in the end."""
    started = time.monotonic()
    stage, dataset, run, report = out / "scene/scene.usda", out / "dataset", out / "run", out / "report"
    steps.run("scene", "scripts/demo_scene.py", "--out", stage.parent, "--frames", size.frames)
    renderer = ["usd_tools/render_turntable.py", stage, "--out", out / "renders"]
    steps.run("render", *renderer, "--resolution", size.resolution, "--samples", size.samples)
    converter = ["usd_tools/usd_to_llff.py", stage, "--images", out / "renders", "--out", dataset]
    steps.run("convert", *converter, "--test-every", TEST_EVERY)
    train(steps, "train", config, dataset, run, size.settings)
    compared = ["usd_tools/compare_textures.py", run, dataset, "--out", report]
    if with_joint:
        joint = out / "run_joint"
        train(steps, "train joint", config, dataset, joint, [*size.settings, "material.model=joint"])
        compared += ["--name", "split", "--also", f"joint={joint}"]
    importer = ["usd_tools/import_materials.py", run, "--out", out / "recovered.usda"]
    steps.run("import", *importer, "--stage", stage, "--object", "/World/Gourd")
    steps.run("compare", *compared)
    summarize(steps.seconds, time.monotonic() - started, run, report)


def prepare(out: Path) -> Path:
    """An empty folder for the demo's results: a new one, or an earlier demo's, whose results are removed."""
    if out.exists() and not out.is_dir():
        raise StepError(f"{out}: is a file; give another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise StepError(f"{out}: holds files that are not an earlier demo's; give another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()
    return out


def train(steps: Steps, name: str, config: str, dataset: Path, run: Path, settings: Sequence[str]) -> None:
    command = ["-m", "recon.train", "--config", config, "--data", dataset, "--out", run]
    steps.run(name, *command, *(["--set", *settings] if settings else []))


def summarize(seconds: dict[str, float], total: float, run: Path, report: Path) -> None:
    """Prints the time of every step, the metrics beside the best constant material, and the report's path."""
    from usd_tools.comparison.metrics import format_table

    compiling = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]["compile"]["seconds"]
    print("\nSeconds per step (install apart):")
    for name, spent in seconds.items():
        apart = f", of which {compiling:.0f} s loading or compiling kernels" if name == "train" else ""
        print(f"  {name:<12}{spent:6.0f}{apart}")
    print(f"  {'total':<12}{total:6.0f}\n")
    metrics = {"split": json.loads((report / "metrics.json").read_text(encoding="utf-8"))}
    joint = report / "metrics_joint.json"
    if joint.exists():
        metrics["joint"] = json.loads(joint.read_text(encoding="utf-8"))
    print(format_table(metrics))
    print(f"\n{report / 'index.html'}")


if __name__ == "__main__":
    try:
        main()
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; give another --out", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
