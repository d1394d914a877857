"""Assets as artists made them: what the dataset says is true agrees with the stage, channel by channel.

They lie beside the repository, in ../shared, and are not part of it.
"""

from pathlib import Path

import numpy as np
import pytest

from usd_tools.comparison.compare import TrueSurface, compare_assets
from usd_tools.comparison.sides import load_truth
from usd_tools.images import read_image
from usd_tools.usd_to_llff import main as convert

SHARED = Path(__file__).resolve().parents[3] / "shared"
BISHOP = SHARED / "assets" / "openchessset_bishop"
STAGES = {
    "bishop black": (BISHOP / "Bishop.usd", "shadingVariant=Black"),
    "bishop white": (BISHOP / "Bishop.usd", "shadingVariant=White"),
    "cow": (SHARED / "benchmark" / "cow" / "scene.usda", None),
    "ball": (SHARED / "benchmark" / "ball" / "scene.usda", None),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A function that gives the dataset of one of STAGES, converted once."""
    base = tmp_path_factory.mktemp("datasets")

    def converted(name):
        stage, variant = STAGES[name]
        if not stage.is_file():
            pytest.skip(f"{stage} is not there")
        folder = base / name.replace(" ", "_")
        options = ["--variant", variant] if variant else []
        if not folder.exists():
            assert convert([str(stage), "--ground-truth-only", *options, "--out", str(folder)]) == 0
        return folder

    return converted


@pytest.mark.parametrize("name", list(STAGES))
def test_ground_truth_agrees_with_its_stage(dataset, name):
    written = load_truth(dataset(name))
    stage, variant = STAGES[name]
    read = load_truth(stage, None, [variant] if variant else [])
    metrics = compare_assets(written.asset, TrueSurface(read.asset, None, samples=5000))
    assert metrics["albedo_mae"] < 0.004 and metrics["coverage"] == 1
    assert metrics["roughness_mae"] < 0.004 and metrics["metallic_mae"] < 0.004
    assert metrics["normal_deg"] < 1 and metrics["chamfer_l1"] < 1e-5


@pytest.mark.parametrize("variant", ["black", "white"])
def test_the_bishops_maps_are_its_pictures(dataset, variant):
    """Both go through a .mtlx that usd-core cannot open; a node graph reads JPEGs with color spaces."""
    folder = dataset(f"bishop {variant}") / "ground_truth"
    for channel, name, tolerance in (
        ("albedo", f"{variant}_base_color", 0.0),
        ("roughness", f"{variant}_roughness", 0.0),
        ("metallic", "shared_metallic", 0.0),
        ("normal", f"{variant}_normal", 1 / 255),  # stored vectors are not exactly of length 1
    ):
        written = read_image(folder / f"{channel}.png")
        stored = read_image(BISHOP / "tex" / f"bishop_{name}.jpg")[..., : written.shape[2]]
        assert np.abs(written - stored).mean() <= tolerance, channel
