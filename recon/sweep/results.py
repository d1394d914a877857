"""One small JSON file per run: its figures, and all that is needed to make them again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon.run_folder import write_json
from recon.sweep.plan import Sweep, SweepRun
from usd_tools.errors import UserError

_ROOT = Path(__file__).resolve().parents[2]
_KEYS = {"scene": str, "variant": str, "seed": int, "overrides": dict, "metrics": dict, "seconds": dict}


@dataclass(frozen=True)
class Result:
    """What stands in one result file.

    overrides: the settings that the sweep asked for, as text. metrics: of compare_textures. views: means over
    held-out views (psnr, mse, ssim). relighting: relighting.json of relight.py, None if not asked
    for. probe: how far a learnt light is from the true one, None for a known one. seconds: by stage,
    and `per_iteration` by stage. about: versions, device, commit and every setting, for those who read the
    file.
    """

    scene: str
    variant: str
    seed: int
    overrides: Mapping[str, str]
    metrics: Mapping[str, Any]
    views: Mapping[str, Any]
    relighting: Mapping[str, Any] | None
    probe: Mapping[str, Any] | None
    seconds: Mapping[str, Any]
    about: Mapping[str, Any]

    @property
    def order(self) -> tuple[str, str, int]:
        return self.scene, self.variant, self.seed


def result_file(folder: Path, run: SweepRun) -> Path:
    return folder / f"{run.name}.json"


def write_result(path: Path, sweep: Sweep, result: Result) -> None:
    """Writes `result`, as strict JSON, to be read by `read_result`."""
    write_json(path, {"sweep": sweep.name, **vars(result)})


def read_result(path: Path) -> Result:
    """Raises UserError if `path` is not a result file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key, kind in _KEYS.items() if not isinstance(content.get(key), kind)]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: expected a result of recon.sweep ({error}); remove it") from None
    if wrong:
        raise UserError(f"{path}: expected a result of recon.sweep (no {', '.join(wrong)}); remove it")
    return Result(**{name: content.get(name) for name in Result.__dataclass_fields__})


def read_results(folder: Path) -> list[Result]:
    """All results below `folder`, in the order of their files' names."""
    return [read_result(path) for path in sorted(folder.rglob("seed_*.json"))]


def find_result(folder: Path, run: SweepRun) -> Result | None:
    """The result of `run` in `folder`, None if it is not there.

    Raises:
        UserError: it holds one of the same name with other settings.
    """
    path = result_file(folder, run)
    if not path.is_file():
        return None
    result = read_result(path)
    have, want = result.overrides, run.overrides
    changed = [
        f"{key}: {have.get(key, 'not set')} -> {want.get(key, 'not set')}"
        for key in dict.fromkeys([*have, *want])
        if have.get(key) != want.get(key)
    ]
    if changed:
        raise UserError(
            f"{path}: was made with other settings ({'; '.join(changed)}); "
            "remove it, or give another --results"
        )
    return result


def commit() -> str | None:
    """The commit of the clone this runs from, with a + where files were changed; None without git."""
    git = ["git", "-C", str(_ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


def seconds_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds by stage, `total`, and `per_iteration` by stage, from a run's run.json."""
    stages = record["stages"]
    spent = {name: stage["seconds"] for name, stage in stages.items()}
    per_iteration = {
        name: stage["seconds_per_iteration"]
        for name, stage in stages.items()
        if "seconds_per_iteration" in stage
    }
    return {**spent, "total": sum(spent.values()), "per_iteration": per_iteration}


def grouped(results: Sequence[Result]) -> dict[str, dict[str, list[Result]]]:
    """Results by scene and variant, in the order in which they are given."""
    groups: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        groups.setdefault(result.scene, {}).setdefault(result.variant, []).append(result)
    return groups
