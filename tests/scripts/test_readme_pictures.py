"""The README's pictures are put together from a report's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from usd_tools.images import read_png, write_png

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "readme_pictures.py"
CHANNELS = ("albedo", "roughness", "metallic", "normal")


def run(report: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, report, "--name", "thing", "--out", out, *more]
    return subprocess.run(command, capture_output=True, text=True)


def test_rows_and_columns(tmp_path):
    pictures = tmp_path / "report" / "pictures"
    pictures.mkdir(parents=True)
    for column, channel in enumerate(CHANNELS):
        shade = 0.2 * (column + 1)
        write_png(pictures / f"{channel}_front_recovered_recovered.png", np.full((10, 8, 3), shade))
        write_png(pictures / f"{channel}_front_true.png", np.full((10, 8), shade))
        write_png(pictures / f"{channel}_front_recovered_error.png", np.full((14, 8, 3), shade))
    for name in ("a", "b"):
        write_png(pictures / f"recovered_{name}_render.png", np.full((5, 5, 3), 1.0))
        write_png(pictures / f"recovered_{name}_reference.png", np.full((5, 5, 3), 0.4))
    result = run(tmp_path / "report", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    textures = read_png(tmp_path / "out" / "thing_textures.png")
    gap = 6
    assert textures.shape[:2] == (10 + 10 + 14 + 3 * gap, 4 * (8 + gap))
    for column in range(4):
        for row, top in enumerate((0, 10 + gap, 20 + 2 * gap)):
            found = textures[top + 2, column * (8 + gap) + 2]
            np.testing.assert_allclose(found, 0.2 * (column + 1), atol=0.01, err_msg=f"row {row}")
    renders = read_png(tmp_path / "out" / "thing_renders.png")
    assert renders[0, 0, 0] == 1.0 and abs(renders[5 + gap, 0, 0] - 0.4) < 0.01


def test_columns_below_the_truth(tmp_path):
    pictures = tmp_path / "report" / "pictures"
    pictures.mkdir(parents=True)
    for channel in CHANNELS:
        for name, shade in (("true", 0.2), ("split_recovered", 0.4), ("joint_recovered", 0.6)):
            write_png(pictures / f"{channel}_front_{name}.png", np.full((10, 8), shade))
    result = run(tmp_path / "report", tmp_path / "out", "--compare", "split", "joint")
    assert result.returncode == 0, result.stderr
    compared = read_png(tmp_path / "out" / "thing_compared.png")
    assert compared.shape[:2] == (3 * (10 + 6), 4 * (8 + 6))
    for row, shade in enumerate((0.2, 0.4, 0.6)):
        np.testing.assert_allclose(compared[row * 16 + 2, 2], shade, atol=0.01)
    unknown = run(tmp_path / "report", tmp_path / "out", "--compare", "other")
    assert unknown.returncode == 2 and "no column 'other'" in unknown.stderr


def test_folder_without_report(tmp_path):
    result = run(tmp_path, tmp_path / "out")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "compare_textures.py" in result.stderr
