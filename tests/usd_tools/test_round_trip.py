"""Round trips of real scenes and assets. They lie beside the repository, in ../shared, not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.usd_tools.round_trip import KNOWN_LIGHT, LEARNT_LIGHT, assert_nothing_is_lost, measure_round_trip
from usd_tools.stage import open_stage

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.mark.parametrize(
    "name, config",
    [
        ("cow", KNOWN_LIGHT),
        ("ball", LEARNT_LIGHT),
        ("bishop", "geometry:\n  mesh: scene.usda:/World/bishop\n"),
    ],
)
def test_scenes_of_the_benchmark(tmp_path: Path, name: str, config: str) -> None:
    assert_nothing_is_lost(measure_round_trip(tmp_path, SHARED / "benchmark" / name / "scene.usda", config))


@pytest.mark.parametrize("variant", ["White", "Black"])
def test_an_asset_with_variants(
    tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A payload, left-handed quads, looks in a .mtlx file; its own variant set is chosen in the layer."""
    monkeypatch.setattr("usd_tools.texture_baking.LARGEST_SIZE", 512)  # a sixteenth of the work
    stage = SHARED / "assets" / "openchessset_bishop" / "Bishop.usd"
    chosen = (f"shadingVariant={variant}",)
    assert_nothing_is_lost(measure_round_trip(tmp_path, stage, KNOWN_LIGHT, chosen))
    layer = open_stage(tmp_path / "layer.usdc")
    assert layer.GetPrimAtPath("/Bishop").GetVariantSet("shadingVariant").GetVariantSelection() == variant
    assert "stage.cpp" not in capfd.readouterr().err  # USD's own words about the .mtlx, with source lines
