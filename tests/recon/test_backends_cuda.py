"""Whole runs on a GPU, with either backend, from a dataset to files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recon.train import main
from tests.recon.cuda import needs_cuda, needs_nvdiffrast, needs_tinycudann
from tests.recon.small_dataset import write_dataset
from usd_tools.images import read_image

pytestmark = needs_cuda

SETTINGS = {
    "train.coarse_iterations": 60,
    "train.fine_iterations": 40,
    "train.batch": 4,
    "train.checkpoint_every": 20,
    "geometry.grid": 24,
    "material.hash_levels": 8,
    "textures.resolution": 128,
    "light.resolution": 32,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), views=12, size=96)


def learn(dataset: Path, out: Path, *more: str, **changes: object) -> Path:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    pairs = [f"{key}={value}" for key, value in settings.items()]
    main(["--data", str(dataset), "--out", str(out), "--device", "cuda", "--set", *pairs, *more])
    return out


def psnr(run: Path) -> float:
    return json.loads((run / "validation" / "metrics.json").read_text(encoding="utf-8"))["mean"]["psnr"]


def backend(run: Path) -> str:
    return json.loads((run / "run.json").read_text(encoding="utf-8"))["backend"]


@needs_nvdiffrast
@needs_tinycudann
@pytest.mark.parametrize("model", ["split", "joint"])
def test_both_backends_come_to_the_same_asset(dataset, tmp_path, model):
    runs = {
        "warp": learn(dataset, tmp_path / "warp", "--backend", "warp", material__model=model),
        "nvdiffrast + tinycudann": learn(
            dataset, tmp_path / "fast", "--backend", "nvdiffrast", material__model=model
        ),
    }
    assert [backend(run) for run in runs.values()] == list(runs)
    figures = [psnr(run) for run in runs.values()]
    assert min(figures) > 20 and abs(figures[0] - figures[1]) < 1.5, f"PSNR of held-out views: {figures}"
    for channel, tolerance in (("albedo", 0.05), ("roughness", 0.1), ("metallic", 0.1)):
        means = [float(np.mean(read_image(run / "mesh" / f"{channel}.png"))) for run in runs.values()]
        assert abs(means[0] - means[1]) < tolerance, f"mean {channel}: {means}"


@needs_tinycudann
def test_mixed_precision_learns_the_same(dataset, tmp_path):
    one = learn(dataset, tmp_path / "single")
    half = learn(dataset, tmp_path / "mixed", material__mixed_precision="true")
    assert abs(psnr(one) - psnr(half)) < 1.0, f"PSNR of held-out views: {psnr(one)}, {psnr(half)}"
