"""Error maps in color, with a scale to read them by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Dark to bright through blue, magenta and orange, so that order is kept in gray and for color-blind eyes.
_STOPS = np.array(
    [
        [0.02, 0.03, 0.10],
        [0.20, 0.09, 0.45],
        [0.58, 0.13, 0.50],
        [0.91, 0.34, 0.31],
        [0.99, 0.67, 0.26],
        [0.99, 0.97, 0.76],
    ]
)

EMPTY = (0.13, 0.14, 0.16)
"""Where a picture shows no surface."""

UNMATCHED = (0.20, 0.85, 0.75)
"""Where the recovered surface has no counterpart (holes, missing parts)."""

UNSEEN = (0.30, 0.32, 0.35)
"""What no training camera sees; it does not count."""


def heat_color(values: NDArray) -> NDArray[np.float64]:
    """(..., 3) display colors of `values` in 0..1 (clipped)."""
    position = np.clip(values, 0, 1) * (len(_STOPS) - 1)
    index = np.arange(len(_STOPS))
    return np.stack([np.interp(position, index, _STOPS[:, k]) for k in range(3)], axis=-1)


def with_color_bar(image: NDArray, maximum: float, unit: str) -> NDArray[np.float64]:
    """`image` (H, W, 3) in 0..1 with a color bar from 0 to `maximum` under it."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = image.shape[:2]
    bar_height, margin = max(10, width // 32), max(14, width // 18)
    strip = np.full((bar_height + 2 * margin, width, 3), EMPTY)
    bar = heat_color(np.linspace(0, 1, width - 2 * margin))
    strip[margin // 2 : margin // 2 + bar_height, margin:-margin] = bar
    picture = Image.fromarray(np.round(np.concatenate([image, strip]) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(10, width // 30))
    top = height + margin // 2 + bar_height + 3
    for fraction, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        text = f"{maximum * fraction:g}{unit}" + (" or more" if fraction == 1 else "")
        x = margin + fraction * (width - 2 * margin)
        draw.text((x, top), text, fill=(225, 228, 232), font=font, anchor=anchor)
    return np.asarray(picture, np.float64) / 255
