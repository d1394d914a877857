"""Stage to dataset to layer and back: a pseudo-run of the ground truth, imported, compared with its stage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from usd_tools.comparison.compare import TrueSurface, compare_assets
from usd_tools.comparison.sides import in_frame_of, load_recovered, load_truth
from usd_tools.import_materials import main
from usd_tools.usd_to_llff import main as convert

KNOWN_LIGHT = "light:\n  mode: known\n"
LEARNT_LIGHT = "light:\n  mode: learnt\n"


def measure_round_trip(
    folder: Path, stage: Path, config: str, variants: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Figures of an imported layer against the ground truth that it was made of."""
    if not stage.is_file():
        pytest.skip(f"{stage.name} is not beside this repository")
    dataset, run, layer = folder / "dataset", folder / "run", folder / "layer.usdc"
    choices = ["--variant", *variants] if variants else []
    assert convert([str(stage), "--ground-truth-only", "--out", str(dataset), *choices]) == 0
    shutil.copytree(dataset / "ground_truth", run / "mesh")
    shutil.copy(dataset / "dataset.json", run)
    (run / "config.yaml").write_text(config)
    main([str(run), "--out", str(layer), "--stage", str(stage)])
    truth = load_truth(dataset)
    recovered = in_frame_of(load_recovered(layer), truth)
    return compare_assets(recovered, TrueSurface(truth.asset, None, samples=3000, seed=0))


def assert_nothing_is_lost(metrics: dict[str, Any]) -> None:
    assert metrics["coverage"] == 1
    assert metrics["albedo_mae"] <= 0.004
    assert metrics["roughness_mae"] <= 0.004
    assert metrics["metallic_mae"] <= 0.004
    assert metrics["normal_deg"] <= 1
    assert metrics["chamfer_l1"] < 1e-4
