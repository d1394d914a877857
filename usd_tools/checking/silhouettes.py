"""Where an object should be seen: silhouettes of a mesh, or of the masks' own visual hull."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from usd_tools.checking.projection import Cameras, nearest_point, rays_through

Array = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]

_OVERSAMPLING = 2
"""Polygons are drawn this much larger, because drawing covers every pixel that an edge touches."""

HULL_AGREEMENT = 0.85
"""Share of the views that have to see a voxel inside their mask: some may have a wrong pose or mask."""

HULL_GRID = 72


def mesh_silhouette(vertices: Array, faces: npt.NDArray[np.integer], cameras: Cameras, index: int) -> Masks:
    """(H, W) where a mesh (V, 3), (F, 3) covers picture `index`; faces behind the camera are left out."""
    from PIL import Image, ImageDraw

    width, height = (_OVERSAMPLING * side for side in cameras.size)
    pixels, depth = cameras.project(index, vertices)
    corners = (pixels * _OVERSAMPLING)[faces]
    seen = (depth[faces] > 0).all(axis=1)
    low, high = corners.min(axis=1), corners.max(axis=1)
    seen &= (high > 0).all(axis=1) & (low < (width, height)).all(axis=1)
    corners = np.clip(corners[seen], -1e5, 1e5)
    small = (high[seen] - low[seen] < 1).all(axis=1)  # dense scans: a dot is as good, and quick
    picture = Image.new("1", (width, height))
    draw = ImageDraw.Draw(picture)
    for corner in corners[~small].reshape(-1, 6).tolist():
        draw.polygon(corner, fill=1)
    drawn = np.array(picture)
    columns, rows = np.floor(corners[small].mean(axis=1)).astype(int).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    drawn[rows[inside], columns[inside]] = True
    blocks = drawn.reshape(height // _OVERSAMPLING, _OVERSAMPLING, width // _OVERSAMPLING, _OVERSAMPLING)
    return blocks.sum(axis=(1, 3)) * 2 > _OVERSAMPLING**2


def object_bounds(cameras: Cameras, masks: Masks) -> tuple[Array, float]:
    """Center and radius of a ball that holds the object, from masks (N, H, W) alone.

    The center is nearest to the rays through the masks' middles; the radius is the median over the views of
    the farthest masked pixel's angle, so that a few wrong masks do not matter.
    """
    filled = np.flatnonzero(masks.any(axis=(1, 2)))
    middles, reaches = [], []
    for index in filled:
        rows, columns = np.nonzero(masks[index])
        box = np.array([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1], np.float64)
        middle = np.array([box[:2].mean(), box[2:].mean()])
        middles.append(middle)
        fx, fy = cameras.intrinsics[index, :2]
        reaches.append(np.hypot((columns + 0.5 - middle[0]) / fx, (rows + 0.5 - middle[1]) / fy).max())
    origins, directions = rays_through(cameras.select(filled), np.array(middles))
    center = nearest_point(origins, directions)
    distances = np.linalg.norm(center - origins, axis=1)
    return center, float(np.median(distances * np.array(reaches)))


def visual_hull(cameras: Cameras, masks: Masks, grid: int = HULL_GRID) -> tuple[Array, float]:
    """Centers (P, 3) and size of the voxels that HULL_AGREEMENT of the views see inside their mask.

    masks: (N, H, W). Laurentini, "The Visual Hull Concept for Silhouette-Based Image Understanding", 1994,
    with a vote in place of the strict intersection.
    """
    center, radius = object_bounds(cameras, masks)
    size = 2.2 * radius / grid
    steps = (np.arange(grid) - 0.5 * (grid - 1)) * size
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) + center
    votes = np.zeros(len(points))
    for index in range(len(cameras)):
        votes += _looked_up(cameras, masks, index, points)
    return points[votes >= HULL_AGREEMENT * len(cameras)], size


def _looked_up(cameras: Cameras, masks: Masks, index: int, points: Array) -> npt.NDArray[np.bool_]:
    width, height = cameras.size
    pixels, depth = cameras.project(index, points)
    columns, rows = np.floor(pixels).clip(-1, 1 << 20).astype(int).T
    inside = (depth > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    found = np.zeros(len(points), bool)
    found[inside] = masks[index, rows[inside], columns[inside]]
    return found


def hull_silhouette(points: Array, size: float, cameras: Cameras, index: int) -> Masks:
    """(H, W) where voxels (P, 3) of width `size` cover picture `index`, each as a square of that width."""
    width, height = cameras.size
    pixels, depth = cameras.project(index, points)
    seen = depth > 0
    half = 0.5 * size * np.sqrt(cameras.intrinsics[index, 0] * cameras.intrinsics[index, 1])
    half = half / depth[seen][:, None]
    first = np.ceil(pixels[seen] - half - 0.5).astype(int).clip(0, (width, height))
    last = np.floor(pixels[seen] + half - 0.5).astype(int).clip(-1, (width - 1, height - 1)) + 1
    last = np.maximum(first, last)
    # A rectangle is four corners of a running sum in both directions.
    corners = np.zeros((height + 1, width + 1), np.int64)
    for rows, columns, sign in ((0, 0, 1), (1, 0, -1), (0, 1, -1), (1, 1, 1)):
        at = ((first, last)[rows][:, 1], (first, last)[columns][:, 0])
        np.add.at(corners, at, sign)
    return corners.cumsum(0).cumsum(1)[:-1, :-1] > 0
