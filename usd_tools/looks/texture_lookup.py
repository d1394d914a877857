"""Textures looked up at any coordinates: bilinear, with the wrap modes of USD and MaterialX, UDIM tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from usd_tools.asset_paths import UDIM
from usd_tools.errors import UserError
from usd_tools.images import Pixels, read_texture
from usd_tools.looks.color_spaces import to_rec709
from usd_tools.resampling import resize_box

WRAP_MODES = ("repeat", "clamp", "mirror", "black", "useMetadata")
"""`black` is the texture's `outside` value; `useMetadata` finds none in our pictures, and so is black."""

Coordinates = npt.NDArray[np.floating]


def read_rgba(file: str, color_space: str) -> Pixels:
    """A picture as linear RGBA (H, W, 4): gray fills the colors, and what has no alpha is opaque.

    color_space: "auto", "sRGB" and "raw" of UsdUVTexture, or a name of `canonical_color_space`.

    Raises:
        UserError: it cannot be read, or holds NaN or infinite values.
    """
    known = color_space in ("auto", "sRGB", "raw")
    stored = read_texture(file, color_space if known else "raw")
    if not np.isfinite(stored).all():
        raise UserError(f"{file}: has NaN or infinite values; write the texture again")
    channels = stored.shape[2]
    color = stored[..., :3] if channels >= 3 else np.repeat(stored[..., :1], 3, axis=2)
    if not known:
        color = to_rec709(color, color_space)
    alpha = stored[..., -1:] if channels in (2, 4) else np.ones_like(stored[..., :1])
    return np.concatenate([color, alpha], axis=2)


def udim_tiles(pattern: str) -> dict[int, str]:
    """The files of a UDIM set by their number, 1001 to 1999."""
    path = Path(pattern)
    before, _, after = path.name.partition(UDIM)
    tiles = {}
    for file in path.parent.iterdir() if path.parent.is_dir() else ():
        number = file.name[len(before) : len(file.name) - len(after)]
        fits = file.name.startswith(before) and file.name.endswith(after)
        if fits and len(number) == 4 and number.isdecimal() and 1001 <= int(number) <= 1999:
            tiles[int(number)] = str(file)
    return tiles


def lookup(
    pixels: Pixels, uv: Coordinates, wrap: Sequence[str] = ("repeat", "repeat"), outside: Sequence[float] = ()
) -> Pixels:
    """Bilinear values (..., C) of a picture (H, W, C), row 0 at v = 1, at coordinates (..., 2).

    wrap: the modes of u and v. outside: the value beyond the picture where a mode is black; zeros if empty.
    """
    height, width, channels = pixels.shape
    x = uv[..., 0] * width - 0.5
    y = (1 - uv[..., 1]) * height - 0.5
    # A texel's center, met up to rounding, is that texel: pictures come back as they are.
    x, y = (np.where(np.abs(p - np.round(p)) < 1e-6, np.round(p), p) for p in (x, y))
    left, top = np.floor(x), np.floor(y)
    s, t = (x - left).astype(np.float32)[..., None], (y - top).astype(np.float32)[..., None]
    columns = [_wrapped(left + step, width, wrap[0]) for step in (0, 1)]
    rows = [_wrapped(top + step, height, wrap[1]) for step in (0, 1)]
    value = pixels[rows[0], columns[0]]
    if s.any() or t.any():
        above = value * (1 - s) + pixels[rows[0], columns[1]] * s
        below = pixels[rows[1], columns[0]] * (1 - s) + pixels[rows[1], columns[1]] * s
        value = above * (1 - t) + below * t
    beyond = np.zeros(uv.shape[:-1], bool)
    for axis, mode in enumerate(wrap):
        if mode in ("black", "useMetadata"):
            beyond |= (uv[..., axis] < 0) | (uv[..., axis] > 1)
    if beyond.any():
        value[beyond] = np.asarray(outside if len(outside) else [0] * channels, np.float32)
    return value


def _wrapped(index: npt.NDArray[np.floating], size: int, mode: str) -> npt.NDArray[np.int64]:
    if mode == "repeat":
        return np.mod(index, size).astype(np.int64)
    if mode == "mirror":
        folded = np.mod(index, 2 * size)
        return np.where(folded < size, folded, 2 * size - 1 - folded).astype(np.int64)
    return np.clip(index, 0, size - 1).astype(np.int64)


def shrunk(pixels: Pixels, texels_per_step: Sequence[float]) -> Pixels:
    """The picture prefiltered for lookups that far apart in columns and rows; never larger."""
    height, width = pixels.shape[:2]
    size = [
        max(1, round(side / step)) if step > 1.001 else side
        for side, step in zip((width, height), texels_per_step)
    ]
    return pixels if size == [width, height] else resize_box(pixels, *size)
