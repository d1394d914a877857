"""Pictures at another size or orientation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.floating]


def resize_box(pixels: Pixels, width: int, height: int) -> Pixels:
    """Each new pixel is the mean of the area of `pixels` (H, W, C) it covers; for making pictures smaller."""
    for axis, size in ((0, height), (1, width)):
        pixels = _box_axis(pixels, axis, size)
    return pixels


def _box_axis(pixels: Pixels, axis: int, size: int) -> Pixels:
    have = pixels.shape[axis]
    if have == size:
        return pixels
    # Differences of the running integral, interpolated at the new pixels' edges.
    running = np.cumsum(np.moveaxis(pixels, axis, 0), axis=0, dtype=np.float64)
    running = np.concatenate([np.zeros_like(running[:1]), running])
    edges = np.linspace(0, have, size + 1)
    lower = np.minimum(edges.astype(int), have - 1)
    fraction = (edges - lower).reshape(-1, *[1] * (pixels.ndim - 1))
    integral = running[lower] * (1 - fraction) + running[lower + 1] * fraction
    means = np.diff(integral, axis=0) * (size / have)
    return np.moveaxis(means, 0, axis).astype(pixels.dtype)


def latlong_directions(width: int, height: int, rows: range | None = None) -> npt.NDArray[np.float64]:
    """(H, W, 3) unit directions of lat-long pixel centers: center column +Z, a quarter +X, top row +Y.

    rows: only these.
    """
    u = (np.arange(width) + 0.5) / width
    v = (np.arange(height)[slice(None) if rows is None else np.array(rows)] + 0.5) / height
    azimuth, polar = (0.5 - u) * 2 * np.pi, v * np.pi
    ring = np.sin(polar)[:, None]
    y = np.broadcast_to(np.cos(polar)[:, None], (len(v), width))
    return np.stack([ring * np.sin(azimuth), y, ring * np.cos(azimuth)], axis=-1)


def sample_latlong(picture: Pixels, directions: npt.NDArray[np.floating]) -> Pixels:
    """Bilinear lookup of a lat-long picture (H, W, C) in `directions` (..., 3), of any length above 0."""
    height, width = picture.shape[:2]
    x, y, z = np.moveaxis(np.asarray(directions, np.float64), -1, 0)
    column = (0.5 - np.arctan2(x, z) / (2 * np.pi)) * width - 0.5
    row = np.clip(np.arctan2(np.hypot(x, z), y) / np.pi * height - 0.5, 0, height - 1)
    left, top = np.floor(column).astype(int), np.minimum(np.floor(row).astype(int), max(height - 2, 0))
    s, t = (column - left)[..., None], (row - top)[..., None]
    right, bottom = (left + 1) % width, np.minimum(top + 1, height - 1)
    left = left % width
    above = picture[top, left] * (1 - s) + picture[top, right] * s
    below = picture[bottom, left] * (1 - s) + picture[bottom, right] * s
    return (above * (1 - t) + below * t).astype(picture.dtype)


def turn_latlong(
    picture: Pixels, matrix: npt.NDArray[np.floating], size: tuple[int, int] | None = None
) -> Pixels:
    """The lat-long picture that shows in direction d what `picture` (H, W, C) shows in `matrix` @ d.

    size: height and width of the result; by default those of `picture`. It is not meant for making pictures
    smaller. Each pixel is the mean of the pixels it covers, so that a sun of a few pixels keeps its energy
    (bilinear lookup at pixel centers would not), and whole-pixel turns are exact.
    """
    height, width = size or picture.shape[:2]
    if (height, width) == picture.shape[:2] and np.allclose(matrix, np.eye(3), atol=1e-7):
        return picture.copy()
    # Samples per pixel and axis: in large pictures a sun has many pixels, and in enlarged ones each has.
    fine = min(max(4096 * len(picture) // height**2, 2), 8)
    turned = np.empty((height, width, picture.shape[2]), picture.dtype)
    for row in range(height):  # row by row: 16k probes must not need gigabytes of temporaries
        directions = latlong_directions(width * fine, height * fine, range(row * fine, (row + 1) * fine))
        values = _nearest_latlong(picture, directions @ matrix.T)
        sine = np.hypot(directions[:, 0, 0], directions[:, 0, 2])  # solid angle within the pixel
        turned[row] = np.tensordot(sine / sine.sum(), values, 1).reshape(width, fine, -1).mean(axis=1)
    return turned


def _nearest_latlong(picture: Pixels, directions: npt.NDArray[np.floating]) -> Pixels:
    height, width = picture.shape[:2]
    x, y, z = np.moveaxis(directions, -1, 0)
    column = np.floor((0.5 - np.arctan2(x, z) / (2 * np.pi)) * width).astype(int) % width
    row = np.floor(np.arctan2(np.hypot(x, z), y) / np.pi * height).astype(int)
    return picture[np.minimum(row, height - 1), column]
