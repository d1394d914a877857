"""One page for a sweep: its figures, and what the variants recovered, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from recon.sweep.figures import Figure
from recon.sweep.results import Result, grouped
from recon.sweep.tables import FLAT_GUESS, Row, shown_figures
from usd_tools.comparison.report import PICTURES, document, has_row, linked_image, marked

_CHANNELS = ("albedo", "roughness", "metallic", "normal")


def sweep_page(
    title: str,
    rows: Sequence[Row],
    results: Sequence[Result],
    failed: Mapping[str, str],
    report_of: Callable[[Result], Path],
    folder: Path,
) -> str:
    """HTML for `folder/index.html`.

    report_of: the report folder of a result's run, which need not be on this machine; then its pictures are
    left out. failed: why runs failed, by their names.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<p>Mean over the seeds, ± standard deviation. Errors are measured on the surface, texture against "
        "texture. The flat guess is the best material without any texture.</p>",
    ]
    if failed:
        items = "".join(f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in failed.items())
        parts.append(f"<h2>Failed</h2><ul>{items}</ul>")
    for scene, variants in grouped(results).items():
        own = [row for row in rows if row.scene == scene]
        parts.append(f"<h2>{escape(scene)}</h2>" + _figures(own) + _pictures(variants, report_of, folder))
    return document(title, "".join(parts))


def _figures(rows: Sequence[Row]) -> str:
    figures = shown_figures(rows)
    head = "".join(f"<th>{escape(figure.heading)}</th>" for figure in figures)
    body = ""
    for row in rows:
        cells = "".join(f"<td>{_cell(row, figure)}</td>" for figure in figures)
        runs = "" if row.variant == FLAT_GUESS else str(row.runs)
        body += f"<tr><td>{escape(row.variant)}</td><td>{runs}</td>{cells}</tr>"
    return (
        f"<div class=scroll><table class=figures><thead><tr><th>variant</th><th>runs</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(row: Row, figure: Figure) -> str:
    cell, text, met = row.cells.get(figure.name), row.text(figure), row.meets(figure)
    if cell is None:
        return "–"
    if met is not None:
        return f'<span class="mark {"good" if met else "bad"}">{escape(text)}</span>'
    if row.variant == FLAT_GUESS or not has_row(figure.name):
        return escape(text)
    return marked(figure.name, cell.mean, text)


def _pictures(
    variants: Mapping[str, Sequence[Result]], report_of: Callable[[Result], Path], folder: Path
) -> str:
    """True maps, and under them what every variant's first seed recovered and where it errs."""
    shown: dict[str, str] = {}
    for variant, runs in variants.items():
        found = report_of(min(runs, key=lambda result: result.seed))
        if (found / PICTURES / f"{_CHANNELS[0]}_front_true.png").is_file():
            shown[variant] = Path(os.path.relpath(found, folder)).as_posix()
    if not shown:
        return ""
    head = "".join(f"<th>{channel}</th>" for channel in _CHANNELS)
    rows = _picture_row("true", next(iter(shown.values())), "true")
    for variant, report in shown.items():
        rows += _picture_row(variant, report, "recovered_recovered", linked=True)
        rows += _picture_row(f"{variant}: error", report, "recovered_error")
    return (
        f'<div class=scroll><table class=pictures style="--across:{len(_CHANNELS)}">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _picture_row(heading: str, report: str, kind: str, *, linked: bool = False) -> str:
    """One picture per channel; linked: the heading leads to the whole report."""
    cells = "".join(
        f"<td>{linked_image(f'{report}/{PICTURES}/{channel}_front_{kind}.png', f'{channel}, {heading}')}</td>"
        for channel in _CHANNELS
    )
    head = escape(heading)
    if linked:
        head = f'<a href="{escape(report, quote=True)}/index.html">{head}</a>'
    return f"<tr><th scope=row>{head}</th>{cells}</tr>"
