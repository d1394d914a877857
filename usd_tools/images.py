"""Pictures in and out: EXR by the official OpenEXR bindings, everything else by imageio.

Arrays are float32 (H, W, C), row 0 at the top. Both libraries are imported where used, because Houdini's own
Python has neither. Values that are not finite are passed on: what they mean is the caller's to say.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.color import srgb_to_linear
from usd_tools.errors import UserError
from usd_tools.files import atomic_file

Pixels = npt.NDArray[np.float32]

COLOR_LAYERS = ("", "C", "beauty", "RGBA", "rgba", "Beauty", "color")
"""Layer or part names that hold the rendered color, in order of preference."""


def read_exr(path: str | Path) -> tuple[Pixels, tuple[str, ...], dict[str, Any]]:
    """The color of an EXR: pixels (H, W, C), channel names, header attributes of the part they came from.

    Channels are R, G, B and A where present, else Y. They are looked for without a layer name, then in the
    layers or parts of `COLOR_LAYERS`. The pixels fill the display window; what lies outside the data window
    is 0.

    Raises:
        UserError: the file is missing, truncated, corrupt, or has no color.
    """
    import OpenEXR

    path = _existing(path)
    try:
        with _silenced_libraries(), OpenEXR.File(str(path), separate_channels=True) as file:
            parts = [(dict(part.header), dict(part.channels)) for part in file.parts]
            for layer in COLOR_LAYERS:
                for header, channels in parts:
                    names = _color_channels(channels, layer, str(header.get("name", "")))
                    if names:
                        return _display_window(header, [channels[name].pixels for name in names], names)
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise _unreadable(path, error) from None
    found = sorted({name for _, channels in parts for name in channels})
    if not found:
        raise _unreadable(path, None)
    raise UserError(f"{path}: no color channels (R, G, B); it has {', '.join(found[:12])}")


def _color_channels(channels: Mapping[str, Any], layer: str, part: str) -> list[str]:
    """The names of `layer`'s color channels: named `layer.R`, or plain `R` in a part named `layer`."""
    prefix = f"{layer}." if layer else ""
    for start in (prefix, "") if part == layer else (prefix,):
        for wanted in (("R", "G", "B"), ("r", "g", "b"), ("red", "green", "blue"), ("Y",)):
            if all(start + name in channels for name in wanted):
                alpha = {"R": "A", "Y": "A", "r": "a", "red": "alpha"}[wanted[0]]
                return [start + name for name in (*wanted, alpha) if start + name in channels]
    return []


def _display_window(
    header: dict[str, Any], planes: list[npt.NDArray[Any]], names: list[str]
) -> tuple[Pixels, tuple[str, ...], dict[str, Any]]:
    (data_x, data_y), _ = (np.asarray(corner, int) for corner in header["dataWindow"])
    (left, top), (right, bottom) = (np.asarray(corner, int) for corner in header["displayWindow"])
    data = np.stack([plane.astype(np.float32) for plane in planes], -1)
    height, width = data.shape[:2]
    if (data_x, data_y, width, height) == (left, top, right - left + 1, bottom - top + 1):
        pixels = data
    else:
        pixels = np.zeros((bottom - top + 1, right - left + 1, len(planes)), np.float32)
        x0, x1 = max(left, data_x), min(right + 1, data_x + width)
        y0, y1 = max(top, data_y), min(bottom + 1, data_y + height)
        if x0 < x1 and y0 < y1:
            pixels[y0 - top : y1 - top, x0 - left : x1 - left] = data[
                y0 - data_y : y1 - data_y, x0 - data_x : x1 - data_x
            ]
    attributes = {key: value for key, value in header.items() if key != "channels"}
    return pixels, tuple(name.rsplit(".", 1)[-1] for name in names), attributes


def write_exr(path: str | Path, pixels: npt.ArrayLike, half: bool = True) -> None:
    """Writes (H, W, 1 | 3 | 4) as Y, RGB or RGBA, ZIP compressed (lossless), half or 32-bit float."""
    import OpenEXR

    array = np.asarray(pixels)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(f"expected (H, W, 1 | 3 | 4), got {array.shape}")
    if half:
        array = np.clip(array, -65504, 65504)  # beyond the largest half there is only infinity
    array = np.ascontiguousarray(array, np.float16 if half else np.float32)
    names = {1: ("Y",), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}[array.shape[2]]
    channels = {name: np.ascontiguousarray(array[..., i]) for i, name in enumerate(names)}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with atomic_file(path) as temporary:
        try:
            with _silenced_libraries(), OpenEXR.File(header, channels) as file:
                file.write(str(temporary))
        except RuntimeError as error:
            raise UserError(f"{path}: could not be written ({error}); check folder and space") from None


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
    with atomic_file(path) as temporary:
        imageio.imwrite(temporary, quantized, extension=".png")


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
    import imageio.v3 as imageio

    if _is_16_bit_png(path):
        from usd_tools.png16 import read_png16

        return read_png16(path)
    try:
        array = np.asarray(imageio.imread(path, index=0, plugin="pillow"))
    except MemoryError as error:
        raise _unreadable(path, error) from None
    except Exception as error:  # Pillow and imageio raise nearly everything, SyntaxError included
        raise _unreadable(path, error) from None
    if array.dtype not in (np.uint8, np.uint16, np.bool_) or array.ndim not in (2, 3):
        raise UserError(f"{path}: holds {array.dtype} values; expected a picture of 8 or 16 bits per channel")
    scale = 1 if array.dtype == np.bool_ else np.iinfo(array.dtype).max
    array = array[..., None] if array.ndim == 2 else array
    return array.astype(np.float32) / np.float32(scale)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such picture; check the path")
    return path


def _unreadable(path: Path, error: BaseException | None) -> UserError:
    reason = f" ({error})" if error is not None and str(error) else ""
    return UserError(f"{path}: cannot be read as a picture, truncated or corrupt{reason}; write it again")


_silence = threading.Lock()


@contextmanager
def _silenced_libraries() -> Iterator[None]:
    """Keeps OpenEXR from printing (C++ to stderr, bindings to stdout); errors come as exceptions anyway."""
    with _silence, redirect_stdout(io.StringIO()):
        sys.stderr.flush()
        terminal = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            os.close(nowhere)
