"""One square of texture coordinates for objects whose textures need more: several materials, UDIMs, UVs
beyond 0..1 of textures that do not repeat. Tiles of the original coordinates are laid side by side.

Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from usd_tools.errors import UserError
from usd_tools.mesh_topology import islands
from usd_tools.texel_raster import rasterize_texels

GUTTER = 4
"""Texels around every tile, so that lookups at its border see its own values."""

MOST_CELLS = 256

_OVERLAP_RESOLUTION = 512
_OVERLAP = 0.002
"""Share of covered texels that two materials may both cover, by rounding at their common border."""

_ROUNDING = 1e-5
"""How far outside a unit square coordinates count as on its border."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of whole units of the original coordinates, with the look that fills it.

    low, high: its corners. column, row: its place in the atlas in cells, from the top left.
    """

    look: int
    low: tuple[int, int]
    high: tuple[int, int]
    column: int = 0
    row: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.high[0] - self.low[0], self.high[1] - self.low[1]


@dataclass(frozen=True)
class Atlas:
    """tiles: with their places. face_tiles: (F,) the tile of each triangle. cells: per side of the square.

    shifts: (F, 2) whole units added to a triangle's coordinates before they are looked for in the tile.
    """

    tiles: tuple[Tile, ...]
    face_tiles: NDArray[np.int64]
    shifts: NDArray[np.int64]
    cells: int

    def side(self, texels: int) -> int:
        """Texels per side of an atlas with `texels` per unit of the original coordinates."""
        return self.cells * (texels + 2 * GUTTER)

    def rewritten(
        self, uvs: NDArray[np.floating], uv_faces: NDArray[np.integer], texels: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Texture coordinates (T, 2) in the atlas, and their rows (F, 3)."""
        pitch, side = texels + 2 * GUTTER, self.side(texels)
        low = np.array([tile.low for tile in self.tiles], np.float64)
        high = np.array([tile.high for tile in self.tiles], np.float64)
        place = np.array([(tile.column, tile.row) for tile in self.tiles], np.float64)
        keys = np.stack(
            [
                uv_faces.ravel(),
                np.repeat(self.face_tiles, 3),
                np.repeat(self.shifts[:, 0], 3),
                np.repeat(self.shifts[:, 1], 3),
            ],
            axis=1,
        )
        rows, faces = np.unique(keys, axis=0, return_inverse=True)
        tile = rows[:, 1]
        original = uvs[rows[:, 0]] + rows[:, 2:]
        u = (place[tile, 0] * pitch + GUTTER + (original[:, 0] - low[tile, 0]) * texels) / side
        v = 1 - (place[tile, 1] * pitch + GUTTER + (high[tile, 1] - original[:, 1]) * texels) / side
        return np.stack([u, v], axis=1), faces.reshape(-1, 3)


def fits_unit_square(uvs: NDArray[np.floating], uv_faces: NDArray[np.integer]) -> bool:
    used = uvs[uv_faces]
    return bool(used.min() >= -_ROUNDING and used.max() <= 1 + _ROUNDING)


def looks_overlap(
    uvs: NDArray[np.floating], uv_faces: NDArray[np.integer], face_looks: NDArray[np.integer]
) -> bool:
    """Whether triangles of different looks lie over each other in texture space."""
    covered = np.zeros((_OVERLAP_RESOLUTION, _OVERLAP_RESOLUTION), np.int64)
    for look in np.unique(face_looks):
        covered += rasterize_texels(uvs, uv_faces[face_looks == look], _OVERLAP_RESOLUTION).covered
    return bool((covered > 1).sum() > _OVERLAP * max((covered > 0).sum(), 1))


def plan_atlas(
    uvs: NDArray[np.floating],
    uv_faces: NDArray[np.integer],
    face_looks: NDArray[np.integer],
    periodic: Sequence[bool],
) -> Atlas:
    """Which squares of texture coordinates are needed, and where they go.

    periodic: for each look, whether it repeats with every unit; its islands may then share one tile.

    Raises:
        UserError: the coordinates cover more than MOST_CELLS squares.
    """
    label = islands(uvs, uv_faces)
    corners = uvs[uv_faces]
    count = int(label.max()) + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, label, corners.min(axis=1))
    np.maximum.at(high, label, corners.max(axis=1))
    low = np.floor(low + _ROUNDING).astype(np.int64)
    high = np.maximum(np.ceil(high - _ROUNDING).astype(np.int64), low + 1)
    shifts = np.zeros((len(uv_faces), 2), np.int64)
    face_tiles = np.zeros(len(uv_faces), np.int64)
    tiles: dict[Tile, int] = {}
    for look in np.unique(face_looks):
        mine = face_looks == look
        used = np.unique(label[mine])
        if periodic[look]:
            extent = (high[used] - low[used]).max(axis=0)
            tile = Tile(int(look), (0, 0), (int(extent[0]), int(extent[1])))
            face_tiles[mine] = tiles.setdefault(tile, len(tiles))
            shifts[mine] = -low[label[mine]]
            continue
        for island in used:
            corner, end = low[island].tolist(), high[island].tolist()
            tile = Tile(int(look), (corner[0], corner[1]), (end[0], end[1]))
            face_tiles[mine & (label == island)] = tiles.setdefault(tile, len(tiles))
    placed, cells = _packed(list(tiles))
    return Atlas(tuple(placed), face_tiles, shifts, cells)


def _packed(tiles: list[Tile]) -> tuple[list[Tile], int]:
    """The tiles with places on shelves, tallest first, in the smallest square of cells."""
    area = sum(tile.size[0] * tile.size[1] for tile in tiles)
    if area > MOST_CELLS:
        raise UserError(
            f"the texture coordinates cover {area} unit squares of textures that do not simply repeat; "
            f"expected at most {MOST_CELLS}; lay the UVs out within 0..1, or convert with --no-ground-truth"
        )
    order = sorted(range(len(tiles)), key=lambda index: (-tiles[index].size[1], -tiles[index].size[0], index))
    cells = int(np.ceil(np.sqrt(area)))
    while True:
        placed, column, row, shelf = list(tiles), 0, 0, 0
        for index in order:
            width, height = tiles[index].size
            if column + width > cells:
                column, row, shelf = 0, row + shelf, 0
            shelf = max(shelf, height)
            tile = tiles[index]
            placed[index] = Tile(tile.look, tile.low, tile.high, column, row)
            column += width
        if row + shelf <= cells and max(tile.size[0] for tile in tiles) <= cells:
            return placed, cells
        cells += 1
