"""Tables of a sweep: mean and spread over seeds, per scene and variant, as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from recon.sweep.results import Result, grouped

FLAT_GUESS = "flat guess"
"""The row of the best constant material, which a recovered map has to beat."""


@dataclass(frozen=True)
class Figure:
    """One column. of: its value in a result, None where it has none; baseline: likewise of the flat guess."""

    name: str
    heading: str
    form: str
    of: Callable[[Result], Any]
    baseline: Callable[[Result], Any] = lambda result: None


@dataclass(frozen=True)
class Cell:
    """Mean, sample standard deviation (0 for a single value) and number of values over the seeds."""

    mean: float
    deviation: float
    count: int

    def text(self, form: str) -> str:
        mean = form.format(self.mean)
        return mean if self.count == 1 else f"{mean} ± {form.format(self.deviation)}"


def _metric(key: str, heading: str, form: str = "{:.3f}") -> Figure:
    return Figure(
        key, heading, form, lambda r: r.metrics.get(key), lambda r: r.metrics.get("constant", {}).get(key)
    )


def _relit(kind: str, key: str, heading: str, form: str = "{:.3f}") -> Figure:
    name = f"relit_{key}" if kind == "mean" else f"relit_{kind}_{key}"
    return Figure(name, heading, form, lambda r: (r.relighting or {}).get(kind, {}).get(key))


FIGURES = (
    _metric("roughness_mae", "roughness"),
    _metric("metallic_mae", "metallic"),
    _metric("albedo_mae", "albedo"),
    _metric("albedo_mae_aligned", "albedo, aligned"),
    _metric("normal_deg", "normal", "{:.2f}°"),
    _metric("dark_misclassified", "dark misclassified", "{:.1%}"),
    _metric("occlusion_mae", "occlusion"),
    _metric("chamfer_l1", "chamfer", "{:.4f}"),
    _metric("fscore", "F-score"),
    _metric("coverage", "coverage"),
    Figure("view_psnr", "views, dB", "{:.2f}", lambda r: r.views.get("psnr")),
    _relit("mean", "psnr", "relit, dB", "{:.2f}"),
    _relit("mean", "log_psnr", "relit, log dB", "{:.2f}"),
    _relit("mean", "ssim", "relit, SSIM"),
    _relit("mean", "mask_iou", "relit, IoU"),
    _relit("aligned", "psnr", "relit, aligned, dB", "{:.2f}"),
    Figure("probe_error", "probe, stops", "{:.2f}", lambda r: (r.probe or {}).get("error")),
    Figure("seconds", "seconds", "{:.0f}", lambda r: r.seconds.get("total")),
    Figure("coarse_ms", "coarse, ms/it", "{:.1f}", lambda r: _milliseconds(r, "coarse")),
    Figure("fine_ms", "fine, ms/it", "{:.1f}", lambda r: _milliseconds(r, "fine")),
)


@dataclass(frozen=True)
class Row:
    """One variant of a scene; cells: by figure's name, absent where no run has the figure."""

    scene: str
    variant: str
    runs: int
    cells: dict[str, Cell]


def rows_of(results: Sequence[Result]) -> list[Row]:
    """A row per scene and variant, and after each scene's the flat guess."""
    rows = []
    for scene, variants in grouped(results).items():
        for variant, runs in variants.items():
            rows.append(_row(scene, variant, runs, lambda figure: figure.of))
        everything = [result for runs in variants.values() for result in runs]
        rows.append(_row(scene, FLAT_GUESS, everything[:1], lambda figure: figure.baseline))
    return rows


def shown_figures(rows: Sequence[Row]) -> list[Figure]:
    """The figures that any of `rows` has."""
    return [figure for figure in FIGURES if any(figure.name in row.cells for row in rows)]


def csv_table(rows: Sequence[Row]) -> str:
    """One line per row; for each figure its mean and, as NAME_spread, the standard deviation over seeds."""
    figures = shown_figures(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [column for figure in figures for column in (figure.name, f"{figure.name}_spread")]
    writer.writerow(["scene", "variant", "runs", *names])
    for row in rows:
        cells = [row.cells.get(figure.name) for figure in figures]
        values = [value for cell in cells for value in ((cell.mean, cell.deviation) if cell else ("", ""))]
        writer.writerow([row.scene, row.variant, row.runs, *values])
    return text.getvalue()


def markdown_table(rows: Sequence[Row]) -> str:
    """One Markdown table per scene, mean ± standard deviation over the seeds."""
    parts = []
    for scene in dict.fromkeys(row.scene for row in rows):
        own = [row for row in rows if row.scene == scene]
        figures = shown_figures(own)
        parts.append(f"### {scene}\n")
        parts.append("| variant | runs | " + " | ".join(figure.heading for figure in figures) + " |")
        parts.append("| --- " * (len(figures) + 2) + "|")
        for row in own:
            runs = "" if row.variant == FLAT_GUESS else str(row.runs)
            cells = [row.cells[f.name].text(f.form) if f.name in row.cells else "" for f in figures]
            parts.append(f"| {_escape(row.variant)} | {runs} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def _row(
    scene: str, variant: str, runs: Sequence[Result], of: Callable[[Figure], Callable[[Result], Any]]
) -> Row:
    cells = {}
    for figure in FIGURES:
        values = [value for value in map(of(figure), runs) if isinstance(value, (int, float))]
        if values:
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            cells[figure.name] = Cell(statistics.fmean(values), deviation, len(values))
    return Row(scene, variant, len(runs), cells)


def _milliseconds(result: Result, stage: str) -> float | None:
    seconds = result.seconds.get("per_iteration", {}).get(stage)
    return None if seconds is None else 1000 * seconds


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
