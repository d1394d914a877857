"""The history of a run's errors ends where compare_textures finds them."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import error_history
import pytest
import torch

from recon.export import export_asset
from tests.recon.small_dataset import TINY, painted_maps, write_dataset
from tests.recon.stages.scenes import sphere_mesh
from usd_tools.compare_textures import compare
from usd_tools.errors import UserError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = write_dataset(tmp_path_factory.mktemp("history") / "dataset")
    asset = folder.with_name("asset")
    export_asset(asset, sphere_mesh(), painted_maps(), torch.ones(16, 32, 3))
    (asset / "probe.exr").unlink()  # the dataset has the light that it was rendered with
    shutil.copytree(asset, folder / "ground_truth", dirs_exist_ok=True)
    return folder


def follow(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["error_history.py", *map(str, arguments)])
    error_history.main()


def test_last_row_is_what_compare_textures_finds(dataset, tmp_path, monkeypatch):
    changes = TINY | {"textures.resolution": 256}  # what is baked is what was measured
    settings = [f"{key}={value}" for key, value in changes.items()]
    out = tmp_path / "out"
    follow(monkeypatch, dataset, "--out", out, "--every", 3, "--device", "cpu", "--set", *settings)
    with (out / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["iteration"]) for row in rows] == [
        (stage, iteration) for stage in ("coarse", "fine") for iteration in ("3", "6")
    ]
    figures = compare(out / "run", dataset, tmp_path / "report")
    nearness = {"normal_deg": 1.0, "roughness_mae": 0.02, "albedo_mae": 0.02, "coverage": 0.02}
    for name, near in nearness.items():
        assert float(rows[-1][name]) == pytest.approx(figures[name], abs=near), name
    assert float(rows[0]["roughness_mae"]) > 0.0
    chart = ElementTree.parse(out / "history.svg").getroot()
    circles = chart.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(rows) + 2, "a point for each row, and the legend's two"


def test_texels_are_not_followed(dataset, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"textures\.learnt: expected false"):
        follow(monkeypatch, dataset, "--out", tmp_path / "out", "--set", "textures.learnt=true")
    assert not (tmp_path / "out").exists()
