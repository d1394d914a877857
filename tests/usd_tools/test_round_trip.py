"""Stage to dataset to layer and back: a pseudo-run of the ground truth, imported, compared with its stage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from usd_tools.comparison.compare import TrueSurface, compare_assets
from usd_tools.comparison.sides import in_frame_of, load_recovered, load_truth
from usd_tools.import_materials import main
from usd_tools.usd_to_llff import main as convert

BENCHMARK = Path(__file__).resolve().parents[3] / "shared" / "benchmark"


@pytest.mark.parametrize(
    "name, config",
    [
        ("cow", "light:\n  mode: known\n"),
        ("ball", "light:\n  mode: learnt\n"),
        ("bishop", "geometry:\n  mesh: scene.usda:/World/bishop\n"),
    ],
)
def test_nothing_is_lost_but_by_resampling(tmp_path: Path, name: str, config: str) -> None:
    scene = BENCHMARK / name / "scene.usda"
    if not scene.is_file():
        pytest.skip("the benchmark's scenes are not beside this repository")
    dataset, run, layer = tmp_path / "dataset", tmp_path / "run", tmp_path / "layer.usdc"
    assert convert([str(scene), "--ground-truth-only", "--out", str(dataset)]) == 0
    shutil.copytree(dataset / "ground_truth", run / "mesh")
    shutil.copy(dataset / "dataset.json", run)
    (run / "config.yaml").write_text(config)
    main([str(run), "--out", str(layer), "--stage", str(scene)])
    truth = load_truth(dataset)
    recovered = in_frame_of(load_recovered(layer), truth)
    metrics = compare_assets(recovered, TrueSurface(truth.asset, None, samples=3000, seed=0))
    assert metrics["coverage"] == 1
    assert metrics["albedo_mae"] <= 0.004
    assert metrics["roughness_mae"] <= 0.004
    assert metrics["metallic_mae"] <= 0.004
    assert metrics["normal_deg"] <= 1
    assert metrics["chamfer_l1"] < 1e-4
