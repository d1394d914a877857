"""Reading 16-bit PNGs: the common Python readers hand back 8 bits of 16-bit color.

PNG specification (third edition), sections 5 (chunks), 7.2 (scanlines), 9 (filters).
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

_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by color type


def read_png16(path: str | Path) -> npt.NDArray[np.float32]:
    """A 16-bit, not interlaced PNG's values in 0..1, (H, W, 1 to 4).

    Raises:
        UserError: the file is truncated, corrupt, interlaced or absurdly large.
    """
    path = Path(path)
    try:
        width, height, channels, packed = _chunks(path.read_bytes())
        row_bytes = width * channels * 2
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, height * (row_bytes + 1))
        if len(raw) != height * (row_bytes + 1):
            raise ValueError(f"{len(raw)} bytes of pixels, {height * (row_bytes + 1)} expected")
    except (ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as a 16-bit PNG ({error}); write it again") from None
    lines = np.frombuffer(raw, np.uint8).reshape(height, row_bytes + 1)
    if lines[:, 0].max() > 4:
        raise UserError(f"{path}: cannot be read as a 16-bit PNG (unknown line filter); write it again")
    samples = unfilter(lines[:, 1:].reshape(height, width, channels * 2), lines[:, 0])
    return samples.view(">u2").astype(np.float32) / np.float32(65535)


def _chunks(data: bytes) -> tuple[int, int, int, bytes]:
    """Width, height, channels and the joined compressed data of a PNG's bytes."""
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
    if interlaced:
        raise ValueError("it is interlaced")
    if not 0 < width * height <= LARGEST:
        raise ValueError(f"its size is {width}x{height}")
    return width, height, _CHANNELS[color_type], b"".join(packed)


def unfilter(filtered: npt.NDArray[np.uint8], filters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undoes PNG's line filters. filtered: (H, W, bytes per pixel); filters: (H,) of 0 to 4.

    Every filter predicts a pixel from its left, upper and upper left neighbors, so pixels on one
    anti-diagonal do not depend on each other: H + W vector steps instead of a loop over pixels.
    """
    height, width, size = filtered.shape
    # Skewed: pixel (row, column) lies at [row + column + 2, row + 1], neighbors in the two lines before.
    skewed = np.zeros((height + width + 1, height + 1, size), np.int16)
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
