"""Runs cases one after another and reports each as a line of JSON; started by test_malformed.py.

    python -m tests.usd_tools.malformed.worker BASE SANDBOX SEED NUMBER [NUMBER ...]

Each case has TIME_LIMIT seconds (the process is ended by SIGALRM, whatever library hangs) and MEMORY_LIMIT
bytes of address space beyond what the imports take.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIME_LIMIT = 10
MEMORY_LIMIT = 2 << 30


def commands(folder: Path) -> dict[str, Callable[[], Any]]:
    """What a case may be given to, by name; `out` is the only place where they may write."""
    from recon.data.dataset import load_views
    from usd_tools import check_dataset, colmap_to_dataset, dataset_to_colmap, import_materials, usd_to_llff
    from usd_tools.obj import read_obj

    def convert(stage: str) -> Callable[[], Any]:
        renders = str(Path(stage).parent / "renders")
        return lambda: usd_to_llff.main([stage, "--images", renders, "--out", "out"])

    def load(without: tuple[str, ...] = ()) -> Callable[[], Any]:
        def run() -> None:
            for name in without:
                (folder / "dataset" / name).unlink()
            for split in ("train", "test"):
                load_views("dataset", split)  # type: ignore[arg-type]

        return run

    return {
        "convert": convert("scene/scene.usda"),
        "convert binary": convert("scene_c/scene.usdc"),
        "convert package": convert("scene_z/scene.usdz"),
        "load": load(),
        "load as nerf": load(("dataset.json",)),
        "load as llff": load(("dataset.json", "transforms_train.json")),
        "import": lambda: import_materials.main(["run", "--out", "out/asset.usda"]),
        "photographs": lambda: colmap_to_dataset.main(["model", "--images", "dataset", "--out", "out"]),
        "mesh": lambda: read_obj("dataset/ground_truth/mesh.obj"),
        "check": lambda: check_dataset.main(["dataset", "--out", "out"]),
        "colmap": lambda: dataset_to_colmap.main(["dataset", "--out", "out"]),
    }


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file outside `out`, with size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.relative_to(folder).parts[0] != "out":
            status = path.lstat()
            found[str(path)] = (status.st_size, 0 if path.is_dir() else status.st_mtime_ns)
    return found


def run_case(case: Any) -> dict[str, Any]:
    """The outcomes of a case's commands: "accepted", "refused: ...", or "BUG: ..."."""
    from usd_tools.errors import UserError

    outcomes = []
    for name in case.commands:
        before = listing(case.folder)
        run = commands(case.folder)[name]
        try:
            run()
            outcome = "accepted"
        except (UserError, MemoryError) as error:  # of both, `run_command` makes one line and exit code 2
            outcome = f"refused: {error}"
            if (case.folder / "out").exists():
                outcome = f"BUG: left something in out after: {error}"
        except Exception as error:
            import traceback

            where = traceback.extract_tb(error.__traceback__)[-1]
            outcome = f"BUG: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        kept = {path: facts for path, facts in listing(case.folder).items() if path in before}
        unwanted = set(listing(case.folder)).symmetric_difference(before)
        unwanted -= {
            str(case.folder / "dataset" / gone) for gone in ("dataset.json", "transforms_train.json")
        }
        if unwanted or any(kept[path] != before[path] for path in kept):
            outcome = f"BUG: changed {sorted(unwanted)[:3] or 'its input'}"
        outcomes.append(f"{name}: {outcome}")
        shutil.rmtree(case.folder / "out", ignore_errors=True)
    return {"label": case.label, "outcomes": outcomes}


def main(base: Path, sandbox: Path, seed: int, numbers: list[int]) -> None:
    from tests.usd_tools.malformed.cases import make_case

    commands(sandbox)  # imports, before memory is counted
    import imageio.v3  # noqa: F401
    import OpenEXR  # noqa: F401
    from PIL import Image

    Image.init()
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not the report
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_LIMIT, size + MEMORY_LIMIT))
    for number in numbers:
        folder = sandbox / f"case_{number:05d}"
        report.write(json.dumps({"start": number}) + "\n")
        case = make_case(base, folder, number, seed)
        os.chdir(folder)
        signal.alarm(TIME_LIMIT)
        started = time.perf_counter()
        result = run_case(case)
        signal.alarm(0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        result |= {"number": number, "seconds": time.perf_counter() - started, "peak": peak}
        report.write(json.dumps(result) + "\n")
        os.chdir(sandbox)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), [int(word) for word in sys.argv[4:]])
