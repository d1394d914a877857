"""One render as the dataset wants it: scene-linear Rec.709, associated alpha, compression noise removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.color import linear_to_srgb, to_linear_rec709
from usd_tools.errors import UserError
from usd_tools.exr import read_exr_picture
from usd_tools.images import Pixels, read_image
from usd_tools.resampling import resize_box

SMALLEST_ALPHA = 2e-3
"""Alpha below this is read as 0: lossy compression (DWAA) leaves up to 1e-3 where nothing was rendered, and
such a veil over the whole background would pull silhouettes outward. It is about half an 8-bit step."""

ALPHA_KINDS = ("auto", "associated", "straight")


@dataclass(frozen=True)
class RenderReading:
    """How renders are read.

    color_space: one of color.COLOR_SPACES. resolution: (width, height) to reduce to.
    alpha: whether color is `associated` (premultiplied with alpha) or `straight`; `auto`: associated in EXR,
        straight in all else, as their specifications have it.
    """

    color_space: str
    resolution: tuple[int, int] | None = None
    alpha: str = "auto"


@dataclass(frozen=True)
class Render:
    """pixels: (H, W, 4) scene-linear Rec.709 with associated alpha in 0..1; color 0 where alpha is 0.

    aovs: the auxiliary pictures in the same file, (H, W, 3 | 1), in the renderer's own units and space
        (albedo in linear Rec.709); 0 outside the mask and where not finite.
    looks_straight: the color was read as associated, but is bright where alpha is 0.
    """

    pixels: Pixels
    aovs: dict[str, Pixels]
    looks_straight: bool


def read_render(path: str | Path, reading: RenderReading, mask: str | Path | None = None) -> Render:
    """A render, with `mask` (white is the object) in place of its alpha where given.

    Negative colors (filter lobes, lossy compression, colors outside the gamut) are 0, because no light is
    negative.

    Raises:
        UserError: no alpha or mask, an empty or fully opaque one, a mask of another size, values that are not
            finite, or a resolution of another shape or larger than the picture.
    """
    path = Path(path)
    is_exr = path.suffix.lower() == ".exr"
    if is_exr:
        picture = read_exr_picture(path)
        stored, aovs = picture.pixels, picture.aovs
    else:
        stored, aovs = read_image(path), {}
    has_alpha = stored.shape[2] in (2, 4)
    if not has_alpha and mask is None:
        raise UserError(
            f"{path}: has no alpha channel; render the object with its mask in alpha, or give --masks"
        )
    if not np.isfinite(stored).all():
        count = int((~np.isfinite(stored).all(axis=2)).sum())
        raise UserError(f"{path}: has {count} pixels with NaN or infinite values; render the frame again")
    alpha = np.clip(stored[..., -1:], 0, 1) if has_alpha else np.ones_like(stored[..., :1])
    color = np.repeat(stored[..., :1], 3, axis=2) if stored.shape[2] < 3 else stored[..., :3]
    color = to_linear_rec709(color, reading.color_space)
    associated = reading.alpha == "associated" or (reading.alpha == "auto" and is_exr)
    looks_straight = False
    if mask is None:
        coverage = alpha
        if associated:
            looks_straight = _is_bright_outside(color, alpha)
        else:
            color = color * alpha
    else:
        coverage = _read_mask(path, mask, stored.shape[1], stored.shape[0])
        color = (_unassociated(color, alpha) if associated and has_alpha else color) * coverage
    _check_coverage(path if mask is None else mask, coverage)
    outside = coverage[..., 0] < SMALLEST_ALPHA
    clean = np.concatenate([np.maximum(color, 0), coverage], axis=2)
    clean[outside] = 0
    if "albedo" in aovs and reading.color_space != "srgb":
        aovs["albedo"] = to_linear_rec709(aovs["albedo"], reading.color_space)
    for aov in aovs.values():
        aov[outside | ~np.isfinite(aov).all(axis=2)] = 0
    if reading.resolution is not None:
        _check_resolution(path, clean, *reading.resolution)
        inside = (~outside)[..., None].astype(np.float32)
        share = resize_box(inside, *reading.resolution)
        # Averaged over the object only: half a background's depth is the depth of nothing.
        aovs = {
            name: _unassociated(resize_box(aov, *reading.resolution), share) for name, aov in aovs.items()
        }
        clean = resize_box(clean, *reading.resolution)
    return Render(clean, aovs, looks_straight)


def _is_bright_outside(color: Pixels, alpha: Pixels) -> bool:
    """Whether a hundredth of what should be empty is not: what straight alpha leaves, beside a glow."""
    empty = color[alpha[..., 0] < SMALLEST_ALPHA]
    return len(empty) > 0 and float((empty.max(axis=1) > 0.02).mean()) > 0.01


def _read_mask(picture: Path, path: str | Path, width: int, height: int) -> Pixels:
    """(H, W, 1) in 0..1: the first channel, times alpha where the mask has one (white and opaque is in)."""
    mask = read_image(path)
    if mask.shape[:2] != (height, width):
        raise UserError(
            f"{path}: is {mask.shape[1]}x{mask.shape[0]} pixels, {picture} is {width}x{height}; expected "
            "masks of the pictures' size"
        )
    if not np.isfinite(mask).all():
        raise UserError(f"{path}: has NaN or infinite values; write the mask again")
    coverage = mask[..., :1] * mask[..., -1:] if mask.shape[2] in (2, 4) else mask[..., :1]
    return np.clip(coverage, 0, 1)


def _check_coverage(path: str | Path, alpha: Pixels) -> None:
    if not (alpha >= SMALLEST_ALPHA).any():
        raise UserError(
            f"{path}: its mask is empty (alpha is 0 everywhere); the object must be in the picture"
        )
    if (alpha > 1 - 1e-3).all():
        raise UserError(
            f"{path}: is opaque everywhere, so it has no mask; render without background in alpha, or give "
            "--masks"
        )


def _check_resolution(path: str | Path, pixels: Pixels, width: int, height: int) -> None:
    have_height, have_width = pixels.shape[:2]
    if width > have_width or height > have_height or width * have_height != height * have_width:
        raise UserError(
            f"--resolution {width}x{height}: {path} has {have_width}x{have_height}; expected the same shape, "
            "not larger"
        )


def _unassociated(color: Pixels, alpha: Pixels) -> Any:
    return np.divide(color, alpha, out=np.zeros_like(color), where=alpha > 0)


def display_color(pixels: Pixels) -> Pixels:
    """sRGB color (H, W, 3) in 0..1, not premultiplied, of a `Render`'s pixels; 0 outside the mask."""
    return linear_to_srgb(np.clip(_unassociated(pixels[..., :3], pixels[..., 3:]), 0, 1))
