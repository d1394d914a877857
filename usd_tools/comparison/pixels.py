"""Pictures of a surface: which of its points each pixel shows, in a UV layout or from a viewpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from usd_tools.comparison.asset import Asset
from usd_tools.comparison.surface import SurfacePoints
from usd_tools.texel_raster import rasterize_texels


@dataclass(frozen=True)
class PixelPoints:
    """The surface points that a picture shows.

    covered: (H, W), true where the picture shows the surface. points: one per covered pixel, in the order of
    `image[covered]`.
    """

    covered: NDArray[np.bool_]
    points: SurfacePoints

    def image(self, values: NDArray, background: float = 0.0) -> NDArray[np.float64]:
        """(H, W, ...) picture of `values` (N, ...) given per point."""
        image = np.full((*self.covered.shape, *values.shape[1:]), background, np.float64)
        image[self.covered] = values
        return image


def uv_layout(asset: Asset, resolution: int) -> PixelPoints:
    """The asset's own texture layout, `resolution` x `resolution` texels."""
    texels = rasterize_texels(asset.uvs, asset.uv_faces, resolution)
    face = texels.face[texels.covered].astype(np.int64)
    return PixelPoints(
        texels.covered, SurfacePoints(face, texels.barycentrics[texels.covered].astype(np.float64))
    )


def view_from(asset: Asset, position: NDArray, resolution: int) -> PixelPoints:
    """The asset seen from `position` (3,), upright (+Y) and filling a square picture.

    A position inside the asset's bounding sphere is moved out of it.
    """
    used = asset.surface.vertices[asset.surface.faces].reshape(-1, 3)
    center = (used.min(axis=0) + used.max(axis=0)) / 2
    radius = float(np.linalg.norm(used - center, axis=1).max())
    back = np.asarray(position, np.float64) - center
    distance = max(float(np.linalg.norm(back)), 1e-12)
    back /= distance
    distance = max(distance, 1.5 * radius)
    up = np.array([0.0, 0, -1]) if abs(back[1]) > 0.99 else np.array([0.0, 1, 0])
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    origin = center + distance * back
    # The frame touches the silhouette, with a little air: slopes of the rays to all vertices.
    depth = (origin - used) @ back
    slopes = np.stack([(used - origin) @ right, (used - origin) @ up], axis=1) / depth[:, None]
    low, high = slopes.min(axis=0), slopes.max(axis=0)
    offset = ((np.arange(resolution) + 0.5) / resolution - 0.5) * 1.04 * (high - low).max()
    x, y = np.meshgrid((low + high)[0] / 2 + offset, (low + high)[1] / 2 - offset)
    directions = x[..., None] * right + y[..., None] * up - back
    directions = (directions / np.linalg.norm(directions, axis=-1, keepdims=True)).reshape(-1, 3)
    origins = np.broadcast_to(origin, directions.shape)
    hits = asset.surface.first_hit(origins, directions)
    return PixelPoints(hits.found.reshape(resolution, resolution), hits[hits.found])
