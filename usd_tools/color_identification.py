"""The color space that a picture's file says it is in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.color import AP1_PRIMARIES, REC709_PRIMARIES
from usd_tools.errors import UserError

_NAMES = {
    "lin_rec709": "lin_rec709 lin_rec709_scene lin_srgb linear_rec_709 linear_rec_709_srgb linear_srgb "
    "rec709_linear utility_linear_srgb utility_linear_rec_709 linear_bt_709 lin_bt709",
    "acescg": "lin_ap1 lin_ap1_scene acescg aces_acescg aces_cg linear_ap1",
    "srgb": "srgb srgb_texture srgb_tx srgb_rec709_scene srgb_rec709_display srgb_encoded_rec_709_srgb "
    "utility_srgb_texture g22_rec709",
}
"""Names of color spaces in OCIO configurations, OpenImageIO and the Color Interop Forum, simplified."""

_ROLES = ("", "linear", "scene_linear", "rendering", "default", "raw", "data", "unknown")
"""Names that say nothing about primaries."""

_PRIMARIES = {"lin_rec709": REC709_PRIMARIES, "acescg": AP1_PRIMARIES}


@dataclass(frozen=True)
class ColorIdentity:
    """space: one of color.COLOR_SPACES, or None where the file names another one.

    source: what tells it, for people. certain: False where it is only the habit of the file's kind.
    """

    space: str | None
    source: str
    certain: bool


def identify_color_space(path: str | Path) -> ColorIdentity:
    """What a picture's file says: an EXR by its attributes, all else by its kind.

    Raises:
        UserError: an EXR whose header cannot be read.
    """
    suffix = Path(path).suffix.lower()
    if suffix in (".hdr", ".pic"):
        return ColorIdentity("lin_rec709", "usual for Radiance pictures", False)
    if suffix != ".exr":
        return ColorIdentity("srgb", f"usual for {suffix or 'such'} pictures", False)
    from usd_tools.exr import read_exr_headers

    return identify_exr(read_exr_headers(path)[0])


def identify_exr(attributes: Mapping[str, Any]) -> ColorIdentity:
    """As `identify_color_space`, by an EXR's header: its named color space, else its chromaticities."""
    for key in ("oiio:ColorSpace", "colorInteropID"):
        written = str(attributes.get(key, ""))
        name = re.sub(r"[^a-z0-9]+", "_", written.lower()).strip("_")
        if name in _ROLES:
            continue
        source = f"{key} is {written!r}"
        return ColorIdentity(
            next((space for space, names in _NAMES.items() if name in names.split()), None), source, True
        )
    chromaticities = attributes.get("chromaticities")
    if chromaticities is not None:
        figures = np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in chromaticities])[:6]
        source = f"chromaticities are {', '.join(f'{figure:.3g}' for figure in figures)}"
        for space, primaries in _PRIMARIES.items():
            if figures.shape == (6,) and np.allclose(figures, np.ravel(primaries), atol=2e-3):
                return ColorIdentity(space, source, True)
        return ColorIdentity(None, source, True)
    return ColorIdentity("lin_rec709", "usual for EXRs that do not tell", False)


def guess_color_space(path: str | Path) -> str:
    """The color space a picture says it is in, or is usually in.

    Raises:
        UserError: it is in none of color.COLOR_SPACES.
    """
    identity = identify_color_space(path)
    if identity.space is None:
        raise UserError(
            f"{path}: {identity.source}; expected linear Rec.709, ACEScg or sRGB; write it in one of them"
        )
    return identity.space
