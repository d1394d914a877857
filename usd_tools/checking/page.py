"""The check's index.html and its overlays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from usd_tools.checking.silhouettes import Masks
from usd_tools.comparison.report import document
from usd_tools.images import Pixels

OVERLAYS = "overlays"

_MASK_ONLY = np.array([0.95, 0.25, 0.2], np.float32)
_SILHOUETTE_ONLY = np.array([0.2, 0.5, 1.0], np.float32)

_STYLE = """<style>
.coverage { width: min(680px, 100%); } .coverage text { fill: #7d848e; font-size: 14px; text-anchor: middle; }
.coverage .disk { fill: #1d2026; stroke: #30343b; } .coverage .ring { fill: none; stroke: #2a2e34; }
.coverage .train { fill: #8fe0ae; }
.coverage .test, .coverage .val { fill: #7fb2ff; } .coverage .bad { fill: #f5a29b; }
.views { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 1rem; }
.views figure { margin: 0; } .views img { width: 100%; border-radius: 5px; display: block; }
.views figcaption { font-size: .85rem; color: #7d848e; overflow-wrap: anywhere; }
.views .problem { color: #f5a29b; }
</style>"""


@dataclass(frozen=True)
class CheckedView:
    """name, split: as in the dataset. iou: of mask and silhouette. problems: in words, none if sound."""

    name: str
    split: str
    iou: float
    problems: Sequence[str]


def overlay_name(split: str, name: str) -> str:
    """The overlay's file name; NeRF folders number the pictures of each split anew."""
    return f"{split}_{name}.jpg"


def write_overlay(path: Path, color: Pixels, mask: Masks, silhouette: Masks) -> None:
    """The picture over gray; red where only the mask is, blue where only the silhouette is.

    color: (H, W, 3) straight sRGB. mask, silhouette: (H, W).
    """
    from PIL import Image

    picture = np.where(mask[..., None], color, 0.35 + 0 * color)
    for where, tint in ((mask & ~silhouette, _MASK_ONLY), (silhouette & ~mask, _SILHOUETTE_ONLY)):
        picture[where] = 0.3 * picture[where] + 0.7 * tint
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.round(picture.clip(0, 1) * 255).astype(np.uint8)).save(path, quality=85)


def write_page(
    out: Path, dataset: Path, against: str, general: Sequence[str], views: Sequence[CheckedView], plot: str
) -> None:
    """Writes `out/index.html`; the overlays are already there, in OVERLAYS.

    against: what the masks were compared with. general: problems of the dataset as a whole. plot: SVG.
    """
    troubled = [view for view in views if view.problems]
    sound = [view for view in views if not view.problems]
    verdict = (
        f"{len(troubled)} of {len(views)} views have problems."
        if troubled
        else f"All {len(views)} views are sound."
    )
    parts = [
        _STYLE,
        f"<h1>{escape(dataset.name)}</h1><p>{verdict} Their masks agree with {escape(against)} to "
        f"{np.median([view.iou for view in views]):.1%} (median intersection over union). In the pictures, "
        "red is mask without silhouette and blue silhouette without mask.</p>",
    ]
    if general:
        items = "".join(f'<li class="problem">{escape(text)}</li>' for text in general)
        parts.append(f'<h2>The dataset as a whole</h2><ul class="views-problems">{items}</ul>')
    parts.append(
        "<h2>Cameras around the object</h2><p>Green: training. Blue: held out. Red: with problems. "
        f"+Z is at the bottom, +X at the right.</p>{plot}"
    )
    for title, chosen in (("Views with problems", troubled), ("Sound views", sound)):
        if chosen:
            parts.append(f'<h2>{title}</h2><div class="views">{"".join(map(_figure, chosen))}</div>')
    (out / "index.html").write_text(document(f"Check of {dataset.name}", "".join(parts)), encoding="utf-8")


def _figure(view: CheckedView) -> str:
    told = "".join(f'<div class="problem">{escape(text)}</div>' for text in view.problems)
    name = escape(view.name)
    address = f"{OVERLAYS}/{quote(overlay_name(view.split, view.name))}"
    return (
        f'<figure><img src="{address}" alt="{name}" loading="lazy">'
        f"<figcaption>{name}, {view.split}, {view.iou:.1%}{told}</figcaption></figure>"
    )
