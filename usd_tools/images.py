"""Pictures in and out: EXR by the official OpenEXR bindings (see exr.py), PNGs are written by imageio.

Everything else is read by Pillow itself, which can be told the formats to try; through imageio it cannot.
Arrays are float32 (H, W, C), row 0 at the top. The libraries are imported where used, because Houdini's own
Python has none of them. Values that are not finite are passed on: what they mean is the caller's to say.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.color import srgb_to_linear
from usd_tools.errors import UserError
from usd_tools.exr import LARGEST, Pixels, read_exr, write_exr
from usd_tools.files import atomic_file

__all__ = ["Pixels", "read_exr", "read_image", "read_png", "read_texture", "write_exr", "write_png"]

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "TGA", "WEBP")
"""What Pillow may try: some of its other readers start foreign programs (EPS: Ghostscript)."""

_AS_THEY_ARE = ("L", "LA", "RGB", "RGBA", "F", "I;16", "I;16B", "I;16L")


def read_png(path: str | Path) -> Pixels:
    """A PNG's (or JPEG's) stored values in 0..1, (H, W, C) with C of 1 to 4; no curve is removed.

    Raises:
        UserError: the file is missing, truncated, corrupt or absurdly large.
    """
    return _read_integers(_existing(path))


def write_png(path: str | Path, values: npt.ArrayLike) -> None:
    """Writes values in 0..1, (H, W) or (H, W, 1 | 3 | 4), as 8 bit: clipped and rounded, no curve applied."""
    import imageio.v3 as imageio

    array = np.asarray(values)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    quantized = np.round(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
    encoded = imageio.imwrite("<bytes>", quantized, extension=".png", plugin="pillow")
    with atomic_file(path) as temporary:
        temporary.write_bytes(encoded)


def read_image(path: str | Path) -> Pixels:
    """Any picture's stored values, (H, W, C): PNG and JPEG in 0..1, EXR and Radiance HDR as they are.

    Raises:
        UserError: the file is missing, truncated, corrupt, or of a kind that cannot be read.
    """
    path = _existing(path)
    suffix = path.suffix.lower()
    if suffix == ".exr":
        return read_exr(path)[0]
    if suffix in (".hdr", ".pic"):
        from usd_tools.radiance_hdr import read_hdr

        return read_hdr(path)
    return _read_integers(path)


def read_texture(path: str | Path, color_space: str = "raw") -> Pixels:
    """A texture as UsdUVTexture's `sourceColorSpace` reads it, (H, W, C).

    `raw` leaves the values, `sRGB` removes the sRGB curve from the color (not from alpha), and `auto` decides
    as UsdPreviewSurface prescribes: 8-bit pictures with three or four channels are sRGB, all others raw.
    """
    pixels = read_image(path)
    if color_space == "auto":
        eight_bit = Path(path).suffix.lower() not in (".exr", ".hdr", ".pic") and not _is_16_bit_png(path)
        color_space = "sRGB" if eight_bit and pixels.shape[2] >= 3 else "raw"
    if color_space == "raw":
        return pixels
    if color_space != "sRGB":
        raise UserError(f"{path}: color space {color_space!r}; expected raw, sRGB or auto")
    colors = pixels.shape[2] if pixels.shape[2] in (1, 3) else pixels.shape[2] - 1
    pixels[..., :colors] = srgb_to_linear(pixels[..., :colors])
    return pixels


def _is_16_bit_png(path: str | Path) -> bool:
    with Path(path).open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:25] == b"\x10"


def _read_integers(path: Path) -> Pixels:
    from PIL import Image

    if _is_16_bit_png(path):
        from usd_tools.png16 import read_png16

        return read_png16(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about metadata and large pictures
            with Image.open(path, formats=_FORMATS) as picture:
                if not 0 < picture.width * picture.height <= LARGEST:
                    raise ValueError(f"its size is {picture.width}x{picture.height}")
                array = np.asarray(_plain(picture))
    except Exception as error:  # Pillow raises nearly everything, SyntaxError included
        raise _unreadable(path, error) from None
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype == np.float32:  # TIFF
        return array.copy()
    return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)


def _plain(picture: Any) -> Any:
    """A Pillow picture as gray or RGB, without palette, with alpha wherever it tells of transparency."""
    transparent = "transparency" in picture.info
    if picture.mode in ("1", "L") and transparent:
        return picture.convert("LA")
    if picture.mode in ("RGB", "P", "PA") and (transparent or picture.mode == "PA"):
        return picture.convert("RGBA")
    if picture.mode in _AS_THEY_ARE:
        return picture
    if picture.mode == "I":
        raise ValueError("32-bit integers; expected 8 or 16 bits per channel")
    return picture.convert({"1": "L", "La": "LA", "RGBa": "RGBA"}.get(picture.mode, "RGB"))


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such picture; check the path")
    return path


def _unreadable(path: Path, error: BaseException) -> UserError:
    reason = f" ({error})" if str(error) else ""
    return UserError(f"{path}: cannot be read as a picture, truncated or corrupt{reason}; write it again")
