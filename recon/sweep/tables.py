"""Tables of a sweep: mean and spread over seeds, per scene and variant, as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recon.sweep.figures import FIGURES, Figure
from recon.sweep.results import Result, grouped

Targets = Mapping[tuple[str, str], Mapping[str, float]]
"""Bounds on figures by their names, by scene and variant."""

FLAT_GUESS = "flat guess"
"""The row of the best constant material, which a recovered map has to beat."""


@dataclass(frozen=True)
class Cell:
    """Mean, sample standard deviation (0 for a single value) and number of values over the seeds."""

    mean: float
    deviation: float
    count: int

    def text(self, form: str) -> str:
        mean = form.format(self.mean)
        return mean if self.count == 1 else f"{mean} ± {form.format(self.deviation)}"


@dataclass(frozen=True)
class Row:
    """One variant of a scene.

    cells: by figure's name, absent where no run has the figure. targets: bounds on some of the figures.
    """

    scene: str
    variant: str
    runs: int
    cells: dict[str, Cell]
    targets: Mapping[str, float] = field(default_factory=dict)

    def meets(self, figure: Figure) -> bool | None:
        """Whether the mean is within the figure's target; None without one."""
        if figure.name not in self.targets or figure.name not in self.cells:
            return None
        return figure.meets(self.cells[figure.name].mean, self.targets[figure.name])

    def text(self, figure: Figure) -> str:
        """The figure's value and, in brackets, its target."""
        cell = self.cells.get(figure.name)
        if cell is None:
            return ""
        target = self.targets.get(figure.name)
        return cell.text(figure.form) + ("" if target is None else f" ({figure.bound(target)})")


def rows_of(results: Sequence[Result], targets: Targets | None = None) -> list[Row]:
    """A row per scene and variant, and after each scene's the flat guess."""
    targets = targets or {}
    rows = []
    for scene, variants in grouped(results).items():
        for variant, runs in variants.items():
            cells = _cells(runs, lambda figure: figure.of)
            rows.append(Row(scene, variant, len(runs), cells, targets.get((scene, variant), {})))
        everything = [result for runs in variants.values() for result in runs]
        rows.append(Row(scene, FLAT_GUESS, 1, _cells(everything[:1], lambda figure: figure.baseline)))
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
    """One Markdown table per scene, mean ± standard deviation over the seeds; missed targets are bold."""
    parts = []
    for scene in dict.fromkeys(row.scene for row in rows):
        own = [row for row in rows if row.scene == scene]
        figures = shown_figures(own)
        parts.append(f"### {scene}\n")
        parts.append("| variant | runs | " + " | ".join(figure.heading for figure in figures) + " |")
        parts.append("| --- " * (len(figures) + 2) + "|")
        for row in own:
            runs = "" if row.variant == FLAT_GUESS else str(row.runs)
            texts = [(row.text(figure), row.meets(figure)) for figure in figures]
            cells = [f"**{text}**" if met is False else text for text, met in texts]
            parts.append(f"| {_escape(row.variant)} | {runs} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def _cells(runs: Sequence[Result], of: Callable[[Figure], Callable[[Result], Any]]) -> dict[str, Cell]:
    cells = {}
    for figure in FIGURES:
        values = [value for value in map(of(figure), runs) if isinstance(value, (int, float))]
        if values:
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            cells[figure.name] = Cell(statistics.fmean(values), deviation, len(values))
    return cells


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
