"""Reading Radiance pictures (.hdr), the usual format of light probes.

Greg Ward, "Real Pixels", Graphics Gems II, and the Radiance file format notes: RGBE pixels, each scanline
either run-length encoded by component or flat.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError

LARGEST = 1 << 28
"""Pixels a picture may claim: a few bytes of a corrupt header must not ask for all memory."""


def read_hdr(path: str | Path) -> npt.NDArray[np.float32]:
    """The linear RGB of a Radiance picture, (H, W, 3), row 0 at the top.

    Raises:
        UserError: the file is truncated, corrupt, holds XYZE, or is not stored top to bottom, left to right.
    """
    path = Path(path)
    try:
        rgbe = _decode(path.read_bytes())
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: cannot be read as a Radiance picture ({error}); write it again") from None
    scale = np.ldexp(np.float32(1), rgbe[..., 3:].astype(np.int32) - (128 + 8))
    # Half a step is added as in Radiance's own colr_color(); exponent 0 is black.
    return np.where(rgbe[..., 3:] > 0, (rgbe[..., :3] + np.float32(0.5)) * scale, 0).astype(np.float32)


def _decode(data: bytes) -> npt.NDArray[np.uint8]:
    """The RGBE bytes (H, W, 4)."""
    header, _, rest = data.partition(b"\n\n")
    if not header.startswith(b"#?"):
        raise ValueError("it does not start with #?")
    if b"FORMAT=32-bit_rle_xyze" in header:
        raise ValueError("XYZE pixels; only RGBE is read")
    line, _, body = rest.partition(b"\n")
    size = re.fullmatch(rb"-Y (\d+) \+X (\d+)", line.strip())
    if not size:
        raise ValueError(f"orientation {line[:40]!r}; expected -Y H +X W")
    height, width = int(size[1]), int(size[2])
    if not 0 < width * height <= LARGEST:
        raise ValueError(f"its size is {width}x{height}")
    if len(body) < height * 8 and len(body) < height * width * 4:
        raise ValueError("it is truncated")
    if not (8 <= width < 32768 and body[:2] == b"\x02\x02" and body[2] * 256 + body[3] == width):
        if len(body) < height * width * 4:
            raise ValueError("it is truncated")
        return np.frombuffer(body, np.uint8, height * width * 4).reshape(height, width, 4)
    planes = np.empty((height, 4, width), np.uint8)
    position = 0
    for row in range(height):
        if body[position : position + 4] != bytes((2, 2, width >> 8, width & 255)):
            raise ValueError(f"line {row} does not start as a run-length encoded one")
        position = _unpack_line(body, position + 4, planes[row].reshape(-1))
    return planes.transpose(0, 2, 1)


def _unpack_line(body: bytes, position: int, line: npt.NDArray[np.uint8]) -> int:
    """Fills `line` from runs (128 + count, one value) and copies (count, values); returns where they end."""
    filled = 0
    while filled < len(line):
        count = body[position]
        if count > 128:
            count -= 128
            line[filled : filled + count] = body[position + 1]
            position += 2
        else:
            values = np.frombuffer(body, np.uint8, count, position + 1)
            line[filled : filled + count] = values
            position += 1 + count
        if count == 0:
            raise ValueError("an empty run")
        filled += count
    if filled != len(line):
        raise ValueError("a line is too long")
    return position
