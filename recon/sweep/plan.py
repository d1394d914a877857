"""What a sweep file asks for: its scenes, seeds and variants, and the runs that follow from them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recon.config import Config, load_config, read_yaml
from recon.sweep.figures import FIGURE_NAMES
from usd_tools.errors import UserError

DATASET = "{dataset}"
"""Stands in a setting's value for the folder of the run's dataset."""

_KEYS = ("name", "config", "scenes", "seeds", "overrides", "variants", "grid", "relight", "targets")
_ONLY_VARIANT = "default"


@dataclass(frozen=True)
class SweepRun:
    """One training run of a sweep.

    overrides: dotted keys with their values as `--set` takes them, the seed included, where `DATASET` still
    stands for the dataset's folder.
    """

    scene: str
    variant: str
    seed: int
    overrides: Mapping[str, str]

    @property
    def name(self) -> str:
        """`SCENE/VARIANT/seed_N`, fit for a relative path."""
        return f"{slug(self.scene)}/{slug(self.variant)}/seed_{self.seed}"

    def settings(self, dataset: Path) -> list[str]:
        """The `KEY=VALUE` arguments of recon.train."""
        folder = dataset.as_posix()
        return [f"{key}={value.replace(DATASET, folder)}" for key, value in self.overrides.items()]


@dataclass(frozen=True)
class Sweep:
    """A sweep file, read and checked.

    config: the settings file that all runs start from; None: the defaults. datasets: folder of each scene's
    dataset, None where the file leaves it to the command line. runs: scene by scene, variant by variant.
    relight: whether every run is also judged under lights that it never saw. targets: bounds on figures of
    `recon.sweep.tables`, by scene and variant.
    """

    name: str
    config: Path | None
    datasets: Mapping[str, Path | None]
    runs: Sequence[SweepRun]
    relight: bool = False
    targets: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)

    @property
    def variants(self) -> list[str]:
        return list(dict.fromkeys(run.variant for run in self.runs))

    def config_of(self, run: SweepRun, dataset: Path) -> Config:
        """All settings of `run`. Raises UserError for what is wrong with them."""
        return load_config(self.config, run.settings(dataset))


def load_sweep(path: Path, extra: Sequence[str] = ()) -> Sweep:
    """Reads the sweep file `path`; every run's settings are checked.

    extra: `KEY=VALUE` for all runs; the file's `overrides` yield to them, variants and grid do not.

    Raises:
        UserError: the file is not a sweep, or a setting is not one (all problems in one line).
    """
    content = read_yaml(path)
    problems = [f"unknown key '{key}' (expected {', '.join(_KEYS)})" for key in content if key not in _KEYS]
    scenes = _scenes(content.get("scenes"), path, problems)
    seeds = _seeds(content.get("seeds", [0]), problems)
    shared = _settings(content.get("overrides"), "overrides", problems)
    for pair in extra:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {pair}: expected KEY=VALUE")
        shared[key.strip()] = value.strip()
    variants = _variants(content.get("variants"), problems)
    points = _grid_points(content.get("grid"), problems)
    relight = content.get("relight", False)
    if not isinstance(relight, bool):
        problems.append(f"relight: expected true or false, got {relight!r}")
    name = content.get("name", path.stem)
    if not isinstance(name, str) or not slug(name):
        problems.append(f"name: expected text with letters or digits, got {name!r}")
    config = content.get("config")
    if config is not None and not isinstance(config, str):
        problems.append(f"config: expected the path of a settings file, got {config!r}")
    if problems:
        raise UserError("; ".join(f"{path}: {problem}" for problem in problems))

    combined = {
        ", ".join(part for part in (variant, point) if part) or _ONLY_VARIANT: {**shared, **own, **at}
        for (variant, own), (point, at) in itertools.product(variants.items(), points.items())
    }
    _refuse_same_slugs(path, "scenes", scenes)
    _refuse_same_slugs(path, "variants", combined)
    sweep = Sweep(
        name,
        None if config is None else path.parent / config,
        scenes,
        [
            SweepRun(scene, variant, seed, {**overrides, "seed": str(seed)})
            for scene, (variant, overrides), seed in itertools.product(scenes, combined.items(), seeds)
        ],
        bool(relight),
        _targets(content.get("targets") or {}, path, scenes, combined),
    )
    _check_settings(sweep, path)
    return sweep


def slug(text: str) -> str:
    """`text` for use in file names."""
    return re.sub(r"[^A-Za-z0-9_.=+]+", "-", text).strip("-.")


def _scenes(value: Any, path: Path, problems: list[str]) -> dict[str, Path | None]:
    usable = isinstance(value, dict) and all(
        isinstance(key, str) and slug(key) and (folder is None or isinstance(folder, str))
        for key, folder in value.items()
    )
    if not usable or not value:
        problems.append(
            "scenes: expected names with dataset folders, such as `cow: data/cow`, or `cow:` alone"
        )
        return {}
    return {key: None if folder is None else path.parent / folder for key, folder in value.items()}


def _seeds(value: Any, problems: list[str]) -> list[int]:
    usable = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    if not usable or not value or len(set(value)) < len(value):
        problems.append(
            f"seeds: expected a list of different whole numbers, such as [0, 1, 2], got {value!r}"
        )
        return []
    return value


def _settings(value: Any, where: str, problems: list[str]) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        problems.append(f"{where}: expected settings by dotted keys, such as `train.batch: 4`, got {value!r}")
        return {}
    return {key: _as_text(setting) for key, setting in value.items()}


def _variants(value: Any, problems: list[str]) -> dict[str, dict[str, str]]:
    if value is None:
        return {"": {}}
    if not isinstance(value, dict) or not value or not all(isinstance(name, str) for name in value):
        problems.append("variants: expected names with settings, such as `joint: {material.model: joint}`")
        return {}
    return {name: _settings(own, f"variants: {name}", problems) for name, own in value.items()}


def _grid_points(value: Any, problems: list[str]) -> dict[str, dict[str, str]]:
    """Every combination of the grid's values, by a label such as "hash_levels=4, mode=learnt"."""
    if value is None:
        return {"": {}}
    if not isinstance(value, dict) or not all(isinstance(v, list) and v for v in value.values()):
        problems.append("grid: expected keys with lists of values, such as `material.hash_levels: [4, 16]`")
        return {}
    last = [str(key).rpartition(".")[2] for key in value]
    labels = {key: name if last.count(name) == 1 else str(key) for key, name in zip(value, last)}
    points = {}
    for values in itertools.product(*value.values()):
        point = dict(zip(value, values))
        label = ", ".join(f"{labels[key]}={_label(setting)}" for key, setting in point.items())
        points[label] = {str(key): _as_text(setting) for key, setting in point.items()}
    return points


def _targets(
    value: Any, path: Path, scenes: Mapping[str, Any], variants: Mapping[str, Any]
) -> dict[tuple[str, str], dict[str, float]]:
    """Checked `targets: {SCENE: {VARIANT: {FIGURE: BOUND}}}`."""
    try:
        flat = {(scene, variant): dict(own) for scene, of in value.items() for variant, own in of.items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{path}: targets: expected {{SCENE: {{VARIANT: {{FIGURE: BOUND}}}}}}") from None
    for (scene, variant), bounds in flat.items():
        where = f"{path}: targets: {scene}: {variant}"
        if scene not in scenes:
            raise UserError(f"{where}: no such scene; expected one of {', '.join(scenes)}")
        if variant not in variants:
            raise UserError(f"{where}: no such variant; expected one of {'; '.join(variants)}")
        for key, bound in bounds.items():
            if key not in FIGURE_NAMES:
                raise UserError(f"{where}: {key}: expected one of {', '.join(FIGURE_NAMES)}")
            if isinstance(bound, bool) or not isinstance(bound, (int, float)):
                raise UserError(f"{where}: {key}: expected a number, got {bound!r}")
    return flat


def _as_text(value: Any) -> str:
    """`value` as `--set KEY=` takes it: text as it is, all else as JSON, which is YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def _label(value: Any) -> str:
    return "+".join(map(_label, value)) if isinstance(value, list) else _as_text(value)


def _refuse_same_slugs(path: Path, what: str, names: Mapping[str, Any]) -> None:
    by_slug: dict[str, str] = {}
    for name in names:
        other = by_slug.setdefault(slug(name).lower(), name)
        if other != name or not slug(name):
            raise UserError(f"{path}: {what}: {other!r} and {name!r} would share a folder; rename one")


def _check_settings(sweep: Sweep, path: Path) -> None:
    problems: dict[str, SweepRun] = {}
    for run in sweep.runs:
        try:
            sweep.config_of(run, Path("dataset"))
        except UserError as error:
            problems.setdefault(str(error), run)
    if problems:
        told = "; ".join(f"{run.variant}: {problem}" for problem, run in problems.items())
        raise UserError(f"{path}: {told}")
