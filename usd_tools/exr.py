"""EXR pictures by the official OpenEXR bindings: color and auxiliary layers, whatever their part or prefix.

Arrays are float32 (H, W, C), row 0 at the top, and fill the display window; what lies outside the data
window is 0. OpenEXR is imported where used, because Houdini's own Python does not have it.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError
from usd_tools.files import atomic_file

Pixels = npt.NDArray[np.float32]

COLOR_LAYERS = ("", "c", "beauty", "rgba", "combined", "rgb", "color", "ci")
"""Layer or part names that hold the rendered color, in order of preference, without case."""

AOV_LAYERS = {
    "albedo": ("albedo", "diffuse_albedo", "basecolor", "base_color", "export_basecolor", "diffcol"),
    "normal": ("n", "normal", "normals", "hitn", "shading_normal"),
    "depth": ("depth", "z", "hitpz", "zdepth"),
}
"""Auxiliary pictures by the names that renderers give them, in order of preference, without case."""

LARGEST = 1 << 28
"""Pixels a picture may claim: a few bytes of a corrupt header must not ask for all memory."""

_AOV_CHANNELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "albedo": (("r", "g", "b"), ("x", "y", "z")),
    "normal": (("x", "y", "z"), ("r", "g", "b")),
    "depth": (("z",), ("depth",), ("v",), ("r",), ("y",)),
}
_COLOR_CHANNELS = (("r", "g", "b"), ("red", "green", "blue"), ("y",))
_LONG_NAMES = {"red": "R", "green": "G", "blue": "B", "alpha": "A"}


@dataclass(frozen=True)
class ExrPicture:
    """pixels: (H, W, C) color. channels: their short names. attributes: of the header, without channels.

    aovs: (H, W, 3 | 1) of those of AOV_LAYERS that the file has.
    """

    pixels: Pixels
    channels: tuple[str, ...]
    attributes: dict[str, Any]
    aovs: dict[str, Pixels]


@dataclass(frozen=True)
class _Layer:
    """Channels (short name in lower case to full name) under one prefix in one part of a file."""

    part: int
    name: str
    plain: bool
    channels: dict[str, str]


def read_exr(path: str | Path) -> tuple[Pixels, tuple[str, ...], dict[str, Any]]:
    """The color of an EXR: pixels (H, W, C), channel names, header attributes of the part they came from.

    Channels are R, G, B and A where present, else Y. They are looked for without a layer name, then in the
    layers or parts of `COLOR_LAYERS`.

    Raises:
        UserError: the file is missing, truncated, corrupt, absurdly large, or has no color.
    """
    picture = read_exr_picture(path)
    return picture.pixels, picture.channels, picture.attributes


def read_exr_picture(path: str | Path) -> ExrPicture:
    """As `read_exr`, with the auxiliary pictures in the same file."""
    path = Path(path)
    headers = read_exr_headers(path)
    layers = [
        layer for part, header in enumerate(headers) for layer in _layers_of(part, header, len(headers))
    ]
    color, names = _color_layer(path, layers)
    channels = _read_channels(path, len(headers))
    header = headers[color.part]
    pixels = _display_window(path, header, channels[color.part], names)
    aovs = {}
    for aov in AOV_LAYERS:
        found = _aov_layer(aov, layers)
        if found is not None:
            layer, full_names = found
            aovs[aov] = _display_window(path, headers[layer.part], channels[layer.part], full_names)
    attributes = {key: value for key, value in {**headers[0], **header}.items() if key != "channels"}
    short = (name.rsplit(".", 1)[-1] for name in names)
    channel_names = tuple(_LONG_NAMES.get(name.lower(), name.upper()) for name in short)
    return ExrPicture(pixels, channel_names, attributes, aovs)


def read_exr_headers(path: str | Path) -> list[dict[str, Any]]:
    """The header attributes of each part of an EXR, `channels` as names; no pixels are read.

    Raises:
        UserError: the file is missing, no EXR, or claims an absurd size.
    """
    import OpenEXR

    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such picture; check the path")
    try:
        with _silenced_libraries(), OpenEXR.File(str(path), header_only=True) as file:
            headers = [_plain_header(part.header) for part in file.parts]
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise _unreadable(path, str(error)) from None
    if not headers:
        raise _unreadable(path, "")
    for header in headers:
        for window in ("dataWindow", "displayWindow"):
            _, _, width, height = _box(header, window)
            if not (width > 0 and height > 0 and width * height <= LARGEST):
                raise _unreadable(path, f"its {window} is {width}x{height}")
    return headers


def _plain_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """With names in place of channels: they are texts only when asked for, which fails in corrupt files."""
    return {**header, "channels": [channel.name for channel in header["channels"]]}


def _read_channels(path: Path, count: int) -> list[dict[str, Any]]:
    import OpenEXR

    try:
        with _silenced_libraries(), OpenEXR.File(str(path), separate_channels=True) as file:
            channels = [dict(part.channels) for part in file.parts]
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise _unreadable(path, str(error)) from None
    if len(channels) != count:  # the bindings leave out parts that they cannot read
        raise _unreadable(path, "")
    return channels


def _layers_of(part: int, header: Mapping[str, Any], parts: int) -> list[_Layer]:
    layers: dict[str, dict[str, str]] = {}
    for name in header["channels"]:
        prefix, _, short = name.rpartition(".")
        layers.setdefault(prefix, {})[short.lower()] = name
    # The only part's name says nothing about which of its layers is the color.
    own_name = str(header.get("name", "")) if parts > 1 else ""
    return [
        _Layer(part, (prefix or own_name).rpartition(".")[2].lower(), not prefix, channels)
        for prefix, channels in layers.items()
    ]


def _color_layer(path: Path, layers: Sequence[_Layer]) -> tuple[_Layer, list[str]]:
    """The layer that holds the rendered color, and the full names of its channels."""
    other = {name for names in AOV_LAYERS.values() for name in names}

    def preference(layer: _Layer) -> int:
        return COLOR_LAYERS.index(layer.name) if layer.name in COLOR_LAYERS else len(COLOR_LAYERS)

    for layer in sorted(layers, key=preference):
        # Without a prefix, any name of a part will do that is not the one of another kind of picture.
        if layer.name not in COLOR_LAYERS and (not layer.plain or layer.name in other):
            continue
        for wanted in _COLOR_CHANNELS:
            if set(wanted) <= set(layer.channels) and not (wanted == ("y",) and "x" in layer.channels):
                alpha = next((name for name in ("a", "alpha") if name in layer.channels), None)
                return layer, [layer.channels[name] for name in (*wanted, *([alpha] if alpha else []))]
    found = sorted({name for layer in layers for name in layer.channels.values()})
    raise UserError(f"{path}: no color channels (R, G, B); it has {', '.join(found[:12])}")


def _aov_layer(aov: str, layers: Sequence[_Layer]) -> tuple[_Layer, list[str]] | None:
    for name in AOV_LAYERS[aov]:
        for layer in layers:
            if layer.name == name:
                for wanted in _AOV_CHANNELS[aov]:
                    if set(wanted) <= set(layer.channels):
                        return layer, [layer.channels[channel] for channel in wanted]
    if aov == "depth":  # OpenEXR's own standard: a channel Z beside the color
        for layer in layers:
            if layer.name in COLOR_LAYERS and {"r", "z"} <= set(layer.channels):
                return layer, [layer.channels["z"]]
    return None


def _display_window(
    path: Path, header: Mapping[str, Any], channels: Mapping[str, Any], names: Sequence[str]
) -> Pixels:
    data_x, data_y, width, height = _box(header, "dataWindow")
    left, top, display_width, display_height = _box(header, "displayWindow")
    planes = [channels[name].pixels if name in channels else None for name in names]
    if any(plane is None or plane.shape != (height, width) for plane in planes):
        raise UserError(
            f"{path}: {', '.join(names)}: expected one flat value per pixel; write without deep data and "
            "chroma subsampling"
        )
    data = np.stack([plane.astype(np.float32) for plane in planes if plane is not None], -1)
    if (data_x, data_y, width, height) == (left, top, display_width, display_height):
        return data
    pixels = np.zeros((display_height, display_width, len(names)), np.float32)
    x0, x1 = max(left, data_x), min(left + display_width, data_x + width)
    y0, y1 = max(top, data_y), min(top + display_height, data_y + height)
    if x0 < x1 and y0 < y1:
        pixels[y0 - top : y1 - top, x0 - left : x1 - left] = data[
            y0 - data_y : y1 - data_y, x0 - data_x : x1 - data_x
        ]
    return pixels


def _box(header: Mapping[str, Any], name: str) -> tuple[int, int, int, int]:
    """Left, top, width and height of a window."""
    (left, top), (right, bottom) = ([int(value) for value in corner] for corner in header[name])
    return left, top, right - left + 1, bottom - top + 1


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


def _unreadable(path: Path, reason: str) -> UserError:
    told = f" ({reason})" if reason else ""
    return UserError(f"{path}: cannot be read as a picture, truncated or corrupt{told}; write it again")


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
