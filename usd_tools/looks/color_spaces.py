"""The color spaces that textures and colors of material networks may name, to scene-linear Rec.709."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from usd_tools.color import (
    ACES_WHITE,
    AP1_PRIMARIES,
    D65,
    REC709_PRIMARIES,
    bradford,
    rgb_to_xyz,
    srgb_to_linear,
)

Array = npt.NDArray[np.floating]

_PRIMARIES = {
    "rec709": (REC709_PRIMARIES, D65),
    "ap1": (AP1_PRIMARIES, ACES_WHITE),
    "ap0": (((0.7347, 0.2653), (0.0, 1.0), (0.0001, -0.077)), ACES_WHITE),
    "adobergb": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), D65),
    "p3": (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), D65),
    "rec2020": (((0.708, 0.292), (0.17, 0.797), (0.131, 0.046)), D65),
}

_SPACES = {
    "lin_rec709": ("linear", "rec709"),
    "srgb_texture": ("srgb", "rec709"),
    "g22_rec709": ("2.2", "rec709"),
    "g18_rec709": ("1.8", "rec709"),
    "acescg": ("linear", "ap1"),
    "aces2065": ("linear", "ap0"),
    "g22_ap1": ("2.2", "ap1"),
    "srgb_ap1": ("srgb", "ap1"),
    "lin_adobergb": ("linear", "adobergb"),
    "adobergb": ("2.19921875", "adobergb"),
    "lin_displayp3": ("linear", "p3"),
    "srgb_displayp3": ("srgb", "p3"),
    "lin_rec2020": ("linear", "rec2020"),
}

_ALIASES = {
    "srgb": "srgb_texture",
    "srgb_rec709_scene": "srgb_texture",
    "srgb_rec709_display": "srgb_texture",
    "lin_srgb": "lin_rec709",
    "lin_rec709_scene": "lin_rec709",
    "g22_rec709_scene": "g22_rec709",
    "g18_rec709_scene": "g18_rec709",
    "lin_ap1": "acescg",
    "lin_ap1_scene": "acescg",
    "lin_ap0": "aces2065",
    "lin_ap0_scene": "aces2065",
    "aces2065_1": "aces2065",
    "g22_ap1_scene": "g22_ap1",
    "srgb_ap1_scene": "srgb_ap1",
    "lin_adobergb_scene": "lin_adobergb",
    "g22_adobergb_scene": "adobergb",
    "srgb_p3d65_scene": "srgb_displayp3",
    "lin_p3d65_scene": "lin_displayp3",
    "lin_rec2020_scene": "lin_rec2020",
}

RAW_NAMES = ("", "raw", "data", "none", "unknown", "identity")


def canonical_color_space(name: str) -> str | None:
    """`raw`, or the name under which `to_rec709` knows a color space of MaterialX or OpenUSD, or None."""
    lowered = name.lower().replace("-", "_")
    if lowered in RAW_NAMES:
        return "raw"
    lowered = _ALIASES.get(lowered, lowered)
    return lowered if lowered in _SPACES else None


def to_rec709(rgb: Array, name: str) -> Array:
    """Colors (..., 3) in a canonical color space as scene-linear Rec.709; the gamut is not clipped."""
    if name in ("raw", "lin_rec709"):
        return rgb
    curve, gamut = _SPACES[name]
    if curve == "srgb":
        rgb = srgb_to_linear(rgb)
    elif curve != "linear":
        rgb = np.copysign(np.abs(rgb) ** float(curve), rgb)
    if gamut == "rec709":
        return rgb
    primaries, white = _PRIMARIES[gamut]
    matrix = (
        np.linalg.inv(rgb_to_xyz(REC709_PRIMARIES, D65)) @ bradford(white, D65) @ rgb_to_xyz(primaries, white)
    )
    return (rgb @ matrix.T).astype(rgb.dtype, copy=False)
