"""One render as the dataset wants it: scene-linear Rec.709, associated alpha, compression noise removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.color import AP1_PRIMARIES, linear_to_srgb, to_linear_rec709
from usd_tools.errors import UserError
from usd_tools.images import Pixels, read_exr, read_image
from usd_tools.resampling import resize_box

SMALLEST_ALPHA = 2e-3
"""Alpha below this is read as 0: lossy compression (DWAA) leaves up to 1e-3 where nothing was rendered, and
such a veil over the whole background would pull silhouettes outward. It is about half an 8-bit step."""

_LINEAR_REC709_NAMES = {
    "lin_rec709",
    "lin_rec709_scene",
    "lin_srgb",
    "linear",
    "scene_linear",
    "rec709_linear",
}
_ACESCG_NAMES = {"lin_ap1", "lin_ap1_scene", "acescg"}
_SRGB_NAMES = {"srgb", "srgb_texture", "srgb_rec709_scene", "srgb_rec709_display"}


def guess_color_space(path: str | Path) -> str:
    """The color space a picture is in: what its EXR attributes say, else linear for EXR, sRGB for others."""
    suffix = Path(path).suffix.lower()
    if suffix in (".hdr", ".pic"):
        return "lin_rec709"
    return _exr_color_space(read_exr(path)[2]) if suffix == ".exr" else "srgb"


def _exr_color_space(attributes: dict[str, Any]) -> str:
    for key in ("oiio:ColorSpace", "colorInteropID"):
        name = str(attributes.get(key, "")).lower().replace(" ", "_")
        for space, names in (
            ("lin_rec709", _LINEAR_REC709_NAMES),
            ("acescg", _ACESCG_NAMES),
            ("srgb", _SRGB_NAMES),
        ):
            if name in names:
                return space
    chromaticities = attributes.get("chromaticities")
    if chromaticities is not None:
        figures = np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in chromaticities])
        if len(figures) >= 6 and np.allclose(figures[:6], np.ravel(AP1_PRIMARIES), atol=2e-3):
            return "acescg"
    return "lin_rec709"


def read_render(path: str | Path, color_space: str, resolution: tuple[int, int] | None = None) -> Pixels:
    """A render as (H, W, 4): scene-linear Rec.709, associated alpha in 0..1.

    EXRs hold associated alpha, PNGs straight alpha. Negative colors (filter lobes, lossy compression, colors
    outside the gamut) are 0, because no light is negative. resolution: (width, height) to reduce to.

    Raises:
        UserError: no alpha, an empty or fully opaque one, values that are not finite, or a resolution of
            another shape or larger than the picture.
    """
    pixels = read_image(path)
    if pixels.shape[2] not in (2, 4):
        raise UserError(f"{path}: has no alpha channel; render the object with its mask in alpha")
    if not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels).all(axis=2)).sum())
        raise UserError(f"{path}: has {count} pixels with NaN or infinite values; render the frame again")
    alpha = np.clip(pixels[..., -1:], 0, 1)
    if not (alpha >= SMALLEST_ALPHA).any():
        raise UserError(
            f"{path}: its mask is empty (alpha is 0 everywhere); the object must be in the picture"
        )
    if (alpha > 1 - 1e-3).all():
        raise UserError(
            f"{path}: is opaque everywhere, so it has no mask; render without background in alpha"
        )
    color = np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] == 2 else pixels[..., :3]
    color = to_linear_rec709(color, color_space)
    if Path(path).suffix.lower() != ".exr":
        color = color * alpha
    clean = np.concatenate([np.maximum(color, 0), alpha], axis=2)
    clean[alpha[..., 0] < SMALLEST_ALPHA] = 0
    return clean if resolution is None else _reduced(path, clean, *resolution)


def _reduced(path: str | Path, pixels: Pixels, width: int, height: int) -> Pixels:
    have_height, have_width = pixels.shape[:2]
    if width > have_width or height > have_height or width * have_height != height * have_width:
        raise UserError(
            f"--resolution {width}x{height}: {path} has {have_width}x{have_height}; expected the same shape, "
            "not larger"
        )
    return resize_box(pixels, width, height)


def display_color(pixels: Pixels) -> Pixels:
    """sRGB color (H, W, 3) in 0..1, not premultiplied, of what `read_render` gives; 0 outside the mask."""
    alpha = pixels[..., 3:]
    straight = np.divide(pixels[..., :3], alpha, out=np.zeros_like(pixels[..., :3]), where=alpha > 0)
    return linear_to_srgb(np.clip(straight, 0, 1))
