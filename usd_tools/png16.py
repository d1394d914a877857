"""Reading 16-bit PNGs: the common Python readers hand back 8 bits of 16-bit color.

PNG specification (third edition), sections 5 (chunks), 7.2 (scanlines), 8 (interlacing), 9 (filters).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError

LARGEST = 1 << 28
"""Pixels a picture may claim: a few bytes of a corrupt header must not ask for all memory."""

_ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
"""First row, first column, row step and column step of each interlacing pass."""

_BAND = 256
"""Rows that are unfiltered at once: whole pictures of 8192 pixels would take gigabytes."""

_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by color type


def read_png16(path: str | Path) -> npt.NDArray[np.float32]:
    """A 16-bit PNG's values in 0..1, (H, W, 1 to 4).

    Raises:
        UserError: the file is truncated, corrupt or absurdly large.
    """
    path = Path(path)
    try:
        samples = _samples(*_chunks(path.read_bytes()))
    except (ValueError, struct.error, zlib.error, MemoryError) as error:
        raise UserError(f"{path}: cannot be read as a 16-bit PNG ({error}); write it again") from None
    values = samples.astype(np.float32)
    values /= 65535
    return values


def _samples(
    width: int, height: int, channels: int, interlaced: bool, packed: bytes
) -> npt.NDArray[np.unsignedinteger]:
    """The stored (H, W, C) big-endian 16-bit samples."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [
        (max(0, -(-(height - top) // down)), max(0, -(-(width - left) // right)))
        for top, left, down, right in passes
    ]
    # A pass without columns has no lines, not even their filter bytes.
    line_bytes = [1 + columns * channels * 2 if columns else 0 for _, columns in sizes]
    expected = sum(rows * size for (rows, _), size in zip(sizes, line_bytes))
    raw = zlib.decompressobj().decompress(packed, expected)
    if len(raw) != expected:
        raise ValueError(f"{len(raw)} bytes of pixels, {expected} expected")
    picture = np.empty((height, width, channels), ">u2")
    position = 0
    for (top, left, down, right), (rows, columns), size in zip(passes, sizes, line_bytes):
        if not rows * columns:
            continue
        lines = np.frombuffer(raw, np.uint8, rows * size, position).reshape(rows, size)
        position += rows * size
        if lines[:, 0].max() > 4:
            raise ValueError("unknown line filter")
        part = unfilter(lines[:, 1:].reshape(rows, columns, channels * 2), lines[:, 0])
        picture[top::down, left::right] = part.view(">u2")
    return picture


def _chunks(data: bytes) -> tuple[int, int, int, bool, bytes]:
    """Width, height, channels, whether interlaced, and the joined compressed data of a PNG's bytes."""
    position, packed = 8, []
    header = None
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        if len(body) != length:
            raise ValueError("it is truncated")
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed.append(body)
        elif kind == b"IEND":
            break
        position += 12 + length
    if header is None:
        raise ValueError("it has no header")
    width, height, depth, color_type, _, _, interlaced = header
    if depth != 16 or color_type not in _CHANNELS:
        raise ValueError(f"color type {color_type} at {depth} bits")
    if interlaced > 1:
        raise ValueError(f"interlace method {interlaced}")
    if not 0 < width * height <= LARGEST:
        raise ValueError(f"its size is {width}x{height}")
    return width, height, _CHANNELS[color_type], bool(interlaced), b"".join(packed)


def unfilter(filtered: npt.NDArray[np.uint8], filters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undoes PNG's line filters. filtered: (H, W, bytes per pixel); filters: (H,) of 0 to 4."""
    plain = np.empty_like(filtered)
    above = np.zeros_like(filtered[0])
    for first in range(0, len(filtered), _BAND):
        band = slice(first, first + _BAND)
        plain[band] = _unfilter_band(filtered[band], filters[band], above)
        above = plain[band][-1]
    return plain


def _unfilter_band(
    filtered: npt.NDArray[np.uint8], filters: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Some rows below the finished row `above`.

    Every filter predicts a pixel from its left, upper and upper left neighbors, so pixels on one
    anti-diagonal do not depend on each other: H + W vector steps instead of a loop over pixels.
    """
    height, width, size = filtered.shape
    # Skewed: pixel (row, column) lies at [row + column + 2, row + 1], neighbors in the two lines before.
    skewed = np.zeros((height + width + 1, height + 1, size), np.int16)
    skewed[1 : width + 1, 0] = above
    kinds = filters[:, None]
    for diagonal in range(height + width - 1):
        first, last = max(0, diagonal - width + 1), min(height - 1, diagonal) + 1
        rows = np.arange(first, last)
        left = skewed[diagonal + 1, first + 1 : last + 1]
        up = skewed[diagonal + 1, first:last]
        corner = skewed[diagonal, first:last]
        kind = kinds[first:last]
        estimate = left + up - corner
        by_left, by_up, by_corner = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
        paeth = np.where(
            (by_left <= by_up) & (by_left <= by_corner), left, np.where(by_up <= by_corner, up, corner)
        )
        predicted = np.choose(kind, [np.zeros_like(left), left, up, (left + up) >> 1, paeth])
        skewed[diagonal + 2, first + 1 : last + 1] = (filtered[rows, diagonal - rows] + predicted) & 255
    rows, columns = np.ogrid[:height, :width]
    return skewed[rows + columns + 2, rows + 1].astype(np.uint8)
