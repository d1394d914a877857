"""Stage to dataset to layer and back: a pseudo-run of the ground truth, imported, compared with its stage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from usd_tools.comparison.compare import TrueSurface, compare_assets
from usd_tools.comparison.sides import in_frame_of, load_recovered, load_truth
from usd_tools.import_materials import main
from usd_tools.stage import open_stage
from usd_tools.usd_to_llff import main as convert

SHARED = Path(__file__).resolve().parents[3] / "shared"


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


@pytest.mark.parametrize(
    "name, config",
    [
        ("cow", "light:\n  mode: known\n"),
        ("ball", "light:\n  mode: learnt\n"),
        ("bishop", "geometry:\n  mesh: scene.usda:/World/bishop\n"),
    ],
)
def test_scenes_of_the_benchmark(tmp_path: Path, name: str, config: str) -> None:
    assert_nothing_is_lost(measure_round_trip(tmp_path, SHARED / "benchmark" / name / "scene.usda", config))


@pytest.mark.parametrize("variant", ["White", "Black"])
def test_an_asset_with_variants(tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload, left-handed quads, looks in a .mtlx file; its own variant set is chosen in the layer."""
    monkeypatch.setattr("usd_tools.texture_baking.LARGEST_SIZE", 512)  # a sixteenth of the work
    stage = SHARED / "assets" / "openchessset_bishop" / "Bishop.usd"
    chosen = (f"shadingVariant={variant}",)
    assert_nothing_is_lost(measure_round_trip(tmp_path, stage, "light:\n  mode: known\n", chosen))
    layer = open_stage(tmp_path / "layer.usdc")
    assert layer.GetPrimAtPath("/Bishop").GetVariantSet("shadingVariant").GetVariantSelection() == variant
