"""The report folder's index.html: plain HTML and CSS, pictures beside it, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from usd_tools.comparison.heat_map import UNMATCHED, UNSEEN
from usd_tools.comparison.report_style import STYLE

PICTURES = "pictures"
"""The report's subfolder with all pictures."""


@dataclass(frozen=True)
class Column:
    """One recovered asset in the report.

    name: shown as heading. slug: its part of the pictures' file names. metrics: as in metrics.json.
    channels: which channels have pictures. renders: names in `renders/` of its (render, reference) pairs,
    relative to the report. image_metrics: of the run's held-out views, empty if not known. relit: its
    (recovered, true, error) pictures under other lights, by light and view. relit_metrics: their means,
    empty if not known.
    """

    name: str
    slug: str
    metrics: Mapping[str, Any]
    channels: Sequence[str]
    renders: Sequence[tuple[str, str]] = ()
    image_metrics: Mapping[str, float] | None = None
    relit: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    relit_metrics: Mapping[str, float] | None = None


@dataclass(frozen=True)
class _Row:
    """A figure of the table: its name for people, how to print it, and which values are good or bad."""

    key: str
    label: str
    meaning: str
    good: float
    bad: float
    form: str = "{:.3f}"


# Good: hard to tell from the truth by eye. Bad: the map needs painting over.
_ROWS = (
    _Row("albedo_mae", "Albedo error", "mean difference of the sRGB values, 0–1", 0.03, 0.08),
    _Row("albedo_mae_aligned", "… after scaling", "the same after the best brightness and tint", 0.03, 0.08),
    _Row("albedo_psnr", "Albedo PSNR", "in dB, higher is better", 30, 20, "{:.1f} dB"),
    _Row("roughness_mae", "Roughness error", "mean difference, 0–1", 0.06, 0.15),
    _Row("metallic_mae", "Metallic error", "mean difference, 0–1", 0.04, 0.12),
    _Row("normal_deg", "Normal error", "mean angle of the world-space shading normals", 5, 12, "{:.1f}°"),
    _Row("dark_misclassified", "Dark misclassified", "share of dark, non-metal surface that came out much "
         "too rough or metallic", 0.02, 0.15, "{:.1%}"),
    _Row("occlusion_mae", "Occlusion error", "mean difference, 0–1", 0.06, 0.15),
    _Row("chamfer_l1", "Shape distance", "mean distance of the surfaces; the object's half size is 1",
         0.01, 0.03, "{:.4f}"),
    _Row("fscore", "Shape F-score", "share of the surfaces within 1 % of the half size", 0.95, 0.7, "{:.1%}"),
    _Row("coverage", "Coverage", "share of the visible surface that has a recovered counterpart",
         0.98, 0.9, "{:.1%}"),
)  # fmt: skip

_CHANNEL_TEXTS = {
    "albedo": ("Albedo", "Base color as painted, no light or shadow in it. Look for highlights, shadows or "
               "reflections that stuck to the color."),
    "albedo_aligned": ("Albedo, scaled to fit", "The same with the best overall brightness and tint. What is "
                       "still wrong here is wrong in pattern, not in exposure."),
    "roughness": ("Roughness", "Black is mirror-like, white is matte. Look at the dark patches: do they stay "
                  "as glossy as the truth?"),
    "metallic": ("Metallic", "White is metal. Black glossy paint must not turn into metal."),
    "normal": ("Normal", "Shading normals: on the object in world space, in the texture layout in the true "
               "mesh's tangent space (even lilac is flat)."),
    "occlusion": ("Occlusion", "White is open, dark is hidden from the surroundings."),
}  # fmt: skip

_PLACE_TEXTS = {"front": "seen from a camera", "back": "the other side", "texture": "in the true UVs"}


def write_report(out: Path, title: str, settings: Mapping[str, str], columns: Sequence[Column]) -> None:
    """Writes `out/index.html` for the pictures and renders that are already in `out`.

    title: the heading. settings: shown as a list under it. columns: one or more assets, side by side.
    """
    best = columns[0].metrics["constant"]
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<p>The recovered textures, point by point on the surface, against the true ones.</p>",
        "<dl>"
        + "".join(f"<dt>{escape(k)}</dt><dd><code>{escape(v)}</code></dd>" for k, v in settings.items()),
        "</dl>",
        _figures(columns, best),
        *(_channel_section(channel, columns) for channel in columns[0].channels),
        _relit_section(columns),
        _renders_section(columns),
    ]
    (out / "index.html").write_text(document(title, "".join(parts)), encoding="utf-8", newline="\n")


def document(title: str, body: str) -> str:
    """A whole page in the report's style. title: plain text. body: HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def judge(row_key: str, value: float) -> str:
    """`good`, `fair` or `bad` for a figure of the table."""
    row = _row(row_key)
    sign = 1 if row.bad > row.good else -1
    if sign * value <= sign * row.good:
        return "good"
    return "fair" if sign * value <= sign * row.bad else "bad"


def has_row(key: str) -> bool:
    """Whether the table of figures knows `key`, so that it can be judged."""
    return any(row.key == key for row in _ROWS)


def marked(row_key: str, value: float, text: str | None = None) -> str:
    """HTML of a figure of the table, colored by `judge`; `text` in place of the figure alone."""
    shown = _row(row_key).form.format(value) if text is None else escape(text)
    return f'<span class="mark {judge(row_key, value)}">{shown}</span>'


def linked_image(address: str, text: str, height: int | None = None) -> str:
    """HTML of a picture that opens when clicked. text: what it shows."""
    size = f" height={height}" if height else ""
    address = escape(address, quote=True)
    return (
        f'<a href="{address}"><img src="{address}" alt="{escape(text, quote=True)}"{size} loading="lazy"></a>'
    )


def _row(key: str) -> _Row:
    return next(row for row in _ROWS if row.key == key)


def _figures(columns: Sequence[Column], constant: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{escape(column.name)}</th>" for column in columns)
    rows = []
    for row in _ROWS:
        if not any(row.key in column.metrics for column in columns):
            continue
        values = [column.metrics.get(row.key) for column in columns]
        cells = "".join(f"<td>{'–' if value is None else marked(row.key, value)}</td>" for value in values)
        baseline = constant.get(row.key)
        plain = "–" if baseline is None else row.form.format(baseline)
        rows.append(
            f"<tr><td>{row.label}<small>{row.meaning}</small></td>{cells}<td class=baseline>{plain}</td></tr>"
        )
    rows.append(
        _psnr_row(
            "Relit PSNR",
            "under lights that training never saw; wrong materials lose here",
            [column.relit_metrics for column in columns],
        )
    )
    rows.append(
        _psnr_row(
            "Image PSNR",
            "on held-out views; wrong materials can win here",
            [column.image_metrics for column in columns],
        )
    )
    return (
        "<h2>Figures</h2><p>Measured on what the training cameras see. The last column is the best material "
        "without any texture: a map that is no better has recovered nothing.</p>"
        f"<div class=scroll><table class=figures><thead><tr><th></th>{head}<th>flat guess</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>" + _hole_note(columns)
    )


def _psnr_row(label: str, note: str, figures: Sequence[Mapping[str, float] | None]) -> str:
    if not any(figures):
        return ""
    values = [(one or {}).get("psnr") for one in figures]
    cells = "".join(f"<td>{'–' if value is None else f'{value:.2f} dB'}</td>" for value in values)
    return f"<tr><td>{label}<small>{note}</small></td>{cells}<td class=baseline>–</td></tr>"


def _hole_note(columns: Sequence[Column]) -> str:
    notes = [
        f"{escape(column.name)}: {1 - column.metrics['coverage']:.1%} of the surface has no counterpart and "
        "is left out of the figures; counted as entirely wrong, the roughness error would be "
        f"{column.metrics['hole_penalized']['roughness_mae']:.3f}."
        for column in columns
        if column.metrics["coverage"] < 0.98
    ]
    return "".join(f"<p>{note}</p>" for note in notes)


def _channel_section(channel: str, columns: Sequence[Column]) -> str:
    heading, text = _CHANNEL_TEXTS[channel]
    columns = [column for column in columns if channel in column.channels]
    named = len(columns) > 1
    head = "".join(f"<th>recovered{f' ({escape(column.name)})' if named else ''}</th>" for column in columns)
    errors = "".join(f"<th>error{f' ({escape(column.name)})' if named else ''}</th>" for column in columns)
    rows = []
    for place, place_text in _PLACE_TEXTS.items():
        base = f"{PICTURES}/{channel}_{place}"
        names = [f"{base}_{column.slug}_recovered.png" for column in columns]
        names += [f"{base}_true.png"]
        names += [f"{base}_{column.slug}_error.png" for column in columns]
        cells = "".join(f"<td>{linked_image(name, f'{heading}, {place_text}')}</td>" for name in names)
        rows.append(f"<tr><th scope=row>{place_text}</th>{cells}</tr>")
    legend = (
        f"Error: {_swatch(UNSEEN)}seen by no training camera {_swatch(UNMATCHED)}no counterpart recovered"
    )
    return (
        f"<h2>{heading}</h2><p>{text}</p><div class=scroll>"
        f'<table class=pictures style="--across:{2 * len(columns) + 1}">'
        f"<thead><tr><th></th>{head}<th>true</th>{errors}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div><p>{legend}</p>"
    )


def _relit_section(columns: Sequence[Column]) -> str:
    columns = [column for column in columns if column.relit]
    common = [name for name in (columns[0].relit if columns else ()) if all(name in c.relit for c in columns)]
    if not common:
        return ""
    named = len(columns) > 1
    head = "".join(f"<th>recovered{f' ({escape(column.name)})' if named else ''}</th>" for column in columns)
    errors = "".join(f"<th>error{f' ({escape(column.name)})' if named else ''}</th>" for column in columns)
    rows = []
    for name in common:
        shots = [column.relit[name] for column in columns]
        pictures = [*(shot[0] for shot in shots), shots[0][1], *(shot[2] for shot in shots)]
        cells = "".join(f"<td>{linked_image(file, 'under another light')}</td>" for file in pictures)
        rows.append(f"<tr>{cells}</tr>")
    return (
        "<h2>Under other lights</h2><p>Both path traced in studios that the training never saw. A material "
        "that only looked right in its own light gives itself away here.</p>"
        f'<div class=scroll><table class=pictures style="--across:{2 * len(columns) + 1}">'
        f"<thead><tr>{head}<th>true</th>{errors}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _renders_section(columns: Sequence[Column]) -> str:
    blocks = []
    for column in columns:
        if not column.renders:
            continue
        pairs = "".join(
            f"<span class=pair>{linked_image(render, 'render', 220)}</span>"
            f"<span class=pair>{linked_image(reference, 'reference', 220)}</span><br>"
            for render, reference in column.renders
        )
        blocks.append(f"<p>{escape(column.name)}: the model's render left, the reference right.</p>{pairs}")
    if not blocks:
        return ""
    return "<h2>Held-out views</h2><p>Views that the training never saw.</p>" + "".join(blocks)


def _swatch(color: Sequence[float]) -> str:
    red, green, blue = (round(255 * value) for value in color)
    return f'<span class=swatch style="background:rgb({red},{green},{blue})"></span>'
