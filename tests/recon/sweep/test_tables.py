"""Tables and page: arithmetic over seeds, missing figures, and pictures where there are any."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from recon.sweep.page import sweep_page
from recon.sweep.results import Result
from recon.sweep.tables import csv_table, markdown_table, rows_of
from usd_tools.images import write_png


def result(scene="cow", variant="split", seed=0, *, relighting=None, **metrics) -> Result:
    metrics = {
        "roughness_mae": 0.1,
        "dark_misclassified": None,
        **metrics,
        "constant": {"roughness_mae": 0.2},
    }
    seconds = {"total": 60.0, "per_iteration": {"coarse": 0.025}}
    return Result(scene, variant, seed, {}, metrics, {"psnr": 30.0}, relighting, None, seconds, {})


RESULTS = [
    result(roughness_mae=0.1),
    result(seed=1, roughness_mae=0.2),
    result(
        variant="joint", roughness_mae=0.4, relighting={"mean": {"psnr": 21.5}, "aligned": {"psnr": None}}
    ),
    result("ball", "a | b", roughness_mae=0.3),
]


def test_rows_hold_mean_and_spread_over_seeds():
    rows = {(row.scene, row.variant): row for row in rows_of(RESULTS)}
    cell = rows["cow", "split"].cells["roughness_mae"]
    assert cell.mean == pytest.approx(0.15)
    assert cell.deviation == pytest.approx(np.std([0.1, 0.2], ddof=1))
    assert (cell.count, rows["cow", "split"].runs) == (2, 2)
    assert rows["cow", "joint"].cells["roughness_mae"].deviation == 0.0
    assert rows["cow", "flat guess"].cells["roughness_mae"].mean == 0.2
    assert "dark_misclassified" not in rows["cow", "split"].cells, "null is no figure"
    assert rows["cow", "joint"].cells["relit_psnr"].mean == 21.5
    assert "relit_aligned_psnr" not in rows["cow", "joint"].cells
    assert rows["cow", "split"].cells["coarse_ms"].mean == pytest.approx(25.0)


def test_csv_has_one_line_per_row():
    lines = list(csv.DictReader(io.StringIO(csv_table(rows_of(RESULTS)))))
    assert [(line["scene"], line["variant"]) for line in lines] == [
        ("cow", "split"),
        ("cow", "joint"),
        ("cow", "flat guess"),
        ("ball", "a | b"),
        ("ball", "flat guess"),
    ]
    assert float(lines[0]["roughness_mae"]) == pytest.approx(0.15)
    assert float(lines[0]["roughness_mae_spread"]) == pytest.approx(0.0707, abs=1e-4)
    assert lines[0]["relit_psnr"] == ""
    assert "dark_misclassified" not in lines[0]


def test_markdown_has_a_table_per_scene():
    text = markdown_table(rows_of(RESULTS))
    assert text.count("###") == 2
    assert "| split | 2 | 0.150 ± 0.071 |" in text
    assert "| joint | 1 | 0.400 |" in text
    assert r"| a \| b | 1 |" in text
    for table in text.split("###")[1:]:
        widths = {line.replace(r"\|", "").count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(widths) == 1, "every row has every column"


def test_targets_stand_beside_what_they_bound():
    targets = {
        ("cow", "split"): {"roughness_mae": 0.15 + 1e-9, "view_psnr": 30.5},
        ("cow", "joint"): {"roughness_mae": 0.05, "coverage": 0.98},
    }
    rows = rows_of(RESULTS, targets)
    text = markdown_table(rows)
    assert "| 0.150 ± 0.071 (≤ 0.150) |" in text, "met"
    assert "| **30.00 ± 0.00 (≥ 30.50)** |" in text, "missed: more is better"
    assert "| **0.400 (≤ 0.050)** |" in text
    page = sweep_page("x", rows, RESULTS, {}, lambda result: Path("nowhere"), Path())
    assert '<span class="mark good">0.150 ± 0.071 (≤ 0.150)</span>' in page
    assert '<span class="mark bad">0.400 (≤ 0.050)</span>' in page


def test_page_shows_pictures_where_there_are_any(tmp_path):
    report = tmp_path / "runs" / "split" / "report"
    for channel in ("albedo", "roughness", "metallic", "normal"):
        for kind in ("true", "recovered_recovered", "recovered_error"):
            write_png(report / "pictures" / f"{channel}_front_{kind}.png", np.zeros((4, 4, 3)))
    failed = {"cow/split/seed_2": "out of <memory>"}

    def report_of(result: Result) -> Path:
        return tmp_path / "runs" / result.variant / "report"

    page = sweep_page("A & B", rows_of(RESULTS), RESULTS, failed, report_of, tmp_path)
    assert "A &amp; B" in page
    assert "out of &lt;memory&gt;" in page
    assert page.count("<img") == 4 * 3, "one variant has pictures: true, recovered and error of four channels"
    for address in [part.split('"')[0] for part in page.split('src="')[1:]]:
        assert (tmp_path / address).is_file(), address
    assert "0.150 ± 0.071</span>" in page
    assert '<span class="mark bad">0.400</span>' in page


def test_page_without_any_report(tmp_path):
    page = sweep_page("x", rows_of(RESULTS), RESULTS, {}, lambda result: Path("nowhere"), tmp_path)
    assert "<img" not in page
    assert "0.400" in page
