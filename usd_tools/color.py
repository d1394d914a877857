"""Color spaces: the sRGB curve, luminance, and the way from render spaces to scene-linear Rec.709."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError

Array = npt.NDArray[np.floating]


def srgb_to_linear(values: npt.ArrayLike) -> Array:
    """IEC 61966-2-1 decoding by element; values above 1 follow the curve, negative ones mirror it."""
    values = np.asarray(values)
    magnitude = np.abs(values)
    curve = ((np.maximum(magnitude, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.copysign(np.where(magnitude <= 0.04045, magnitude / 12.92, curve), values).astype(
        values.dtype if values.dtype.kind == "f" else np.float64, copy=False
    )


def linear_to_srgb(values: npt.ArrayLike) -> Array:
    """IEC 61966-2-1 encoding, the inverse of `srgb_to_linear`."""
    values = np.asarray(values)
    magnitude = np.abs(values)
    curve = 1.055 * np.maximum(magnitude, 0.0031308) ** (1 / 2.4) - 0.055
    return np.copysign(np.where(magnitude <= 0.0031308, magnitude * 12.92, curve), values).astype(
        values.dtype if values.dtype.kind == "f" else np.float64, copy=False
    )


def luminance(rgb: npt.ArrayLike) -> Array:
    """Luminance (...,) of linear Rec.709 colors (..., 3)."""
    return np.asarray(rgb)[..., :3] @ np.array([0.2126, 0.7152, 0.0722])


def rgb_to_xyz(primaries: npt.ArrayLike, white: npt.ArrayLike) -> Array:
    """(3, 3) matrix from linear RGB to CIE XYZ (white at Y = 1), given xy chromaticities (3, 2) and (2,)."""

    def xyz(xy: Array) -> Array:
        return np.stack(
            [xy[..., 0] / xy[..., 1], np.ones_like(xy[..., 0]), (1 - xy.sum(-1)) / xy[..., 1]], -1
        )

    columns = xyz(np.asarray(primaries, np.float64)).T
    scale = np.linalg.solve(columns, xyz(np.asarray(white, np.float64)))
    return columns * scale


def bradford(source_white: npt.ArrayLike, target_white: npt.ArrayLike) -> Array:
    """(3, 3) chromatic adaptation of XYZ between two white points (xy), Lindbloom's Bradford cone space."""
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

    def response(white: npt.ArrayLike) -> Array:
        x, y = np.asarray(white, np.float64)
        return cone @ np.array([x / y, 1.0, (1 - x - y) / y])

    return np.linalg.inv(cone) @ np.diag(response(target_white) / response(source_white)) @ cone


REC709_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
D65 = (0.3127, 0.3290)
AP1_PRIMARIES = ((0.713, 0.293), (0.165, 0.830), (0.128, 0.044))
ACES_WHITE = (0.32168, 0.33767)  # about D60, SMPTE ST 2065-1

ACESCG_TO_REC709 = (
    np.linalg.inv(rgb_to_xyz(REC709_PRIMARIES, D65))
    @ bradford(ACES_WHITE, D65)
    @ rgb_to_xyz(AP1_PRIMARIES, ACES_WHITE)
)

COLOR_SPACES = ("lin_rec709", "acescg", "srgb")


def to_linear_rec709(rgb: npt.ArrayLike, color_space: str) -> Array:
    """Colors (..., 3) in one of COLOR_SPACES as scene-linear Rec.709; the gamut is not clipped."""
    rgb = np.asarray(rgb)
    if color_space == "lin_rec709":
        return rgb
    if color_space == "srgb":
        return srgb_to_linear(rgb)
    if color_space == "acescg":
        return (rgb @ ACESCG_TO_REC709.T).astype(rgb.dtype, copy=False)
    raise UserError(f"color space {color_space!r}: expected one of {', '.join(COLOR_SPACES)}")
