"""A body-centered cubic tetrahedral grid over a box, generated at any resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from recon.geometry.grid_box import GridBox, cube


@dataclass(frozen=True)
class TetGrid:
    """Tetrahedra that fill a box without gaps.

    vertices: (V, 3) float32. tets: (T, 4) int64, with det(b - a, c - a, d - a) > 0.
    edges: (E, 2) int64, every edge once. tet_edges: (T, 6) int64, rows of `edges` that join the corners
        01, 02, 03, 12, 13, 23 of each tet.
    border: (V,) bool, the vertices on the box's surface.
    box: where the grid is, and its cubic cells.
    """

    vertices: Tensor
    tets: Tensor
    edges: Tensor
    tet_edges: Tensor
    border: Tensor
    box: GridBox

    @property
    def cell_size(self) -> float:
        """Edge length of a cubic cell; the longest edge inside."""
        return self.box.cell_size

    def to(self, device: torch.device | str) -> TetGrid:
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "box"}
        return TetGrid(**{name: t.to(device) for name, t in tensors.items()}, box=self.box)


def build_tet_grid(resolution: int, half_extent: float = 1.0) -> TetGrid:
    """The grid over the cube [-half_extent, half_extent]^3 with about (resolution + 1)^3 vertices."""
    return tet_grid_over(cube(resolution, half_extent))


def tet_grid_over(box: GridBox) -> TetGrid:
    """The grid over a box of (l, m, n) cubic cells.

    Cubic cells with a vertex in each center; two centers on either side of a face and one edge of that face
    span a tet, four to a face, all congruent and close to regular (Labelle and Shewchuk 2007, "Isosurface
    Stuffing", section 3). On the box's surface the half octahedra that remain are cut in two. There are
    (l + 1) (m + 1) (n + 1) + l m n vertices and 12 l m n tets.
    """
    lattice = _Lattice(box.cells)
    tets, tet_edges = [], []
    for axis in range(3):
        for block in lattice.interior_tets(axis), lattice.surface_tets(axis):
            tets.append(block[0])
            tet_edges.append(block[1])
    vertices = np.array(box.center) + 0.5 * box.cell_size * lattice.vertices
    return TetGrid(
        vertices=torch.from_numpy(vertices.astype(np.float32)),
        tets=torch.from_numpy(np.concatenate(tets)),
        edges=torch.from_numpy(lattice.edges()),
        tet_edges=torch.from_numpy(np.concatenate(tet_edges)),
        border=torch.from_numpy((np.abs(lattice.vertices) == box.cells).any(axis=1)),
        box=box,
    )


_Index = np.ndarray


class _Lattice:
    """Numbers the vertices and edges of a box of cells, so that tables need no search for duplicates.

    Vertices: the cells' corners, then their centers; positions are in half cells from the box's center.
    Edges, family by family: corner to corner along each axis, center to center along each axis, center to
    corner (8 per cell), and the diagonals of the surface's squares (per axis: low side, high side).
    """

    def __init__(self, cells: tuple[int, int, int]) -> None:
        self.n = cells
        self._corners = tuple(n + 1 for n in cells)
        centered = 2 * self._box(self._corners) - cells, 2 * self._box(cells) + 1 - np.array(cells)
        self.vertices = np.concatenate(centered)
        sizes = [math.prod(self._corner_edges(axis)) for axis in range(3)]
        sizes += [math.prod(self._center_edges(axis)) for axis in range(3)]
        sizes += [8 * math.prod(cells)]
        sizes += [2 * math.prod(self._across(axis)) for axis in range(3)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])

    def _corner_edges(self, axis: int) -> tuple[int, ...]:
        """How many edges between corners run along `axis`, counted along each axis."""
        return tuple(n if i == axis else n + 1 for i, n in enumerate(self.n))

    def _center_edges(self, axis: int) -> tuple[int, ...]:
        """How many edges between centers run along `axis`, counted along each axis."""
        return tuple(n - 1 if i == axis else n for i, n in enumerate(self.n))

    def _across(self, axis: int) -> tuple[int, int]:
        """Cells along the two other axes, (axis + 1, axis + 2)."""
        return self.n[(axis + 1) % 3], self.n[(axis + 2) % 3]

    @staticmethod
    def _box(shape: tuple[int, ...]) -> _Index:
        """(prod(shape), 3) integer points, last axis fastest."""
        return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)

    @staticmethod
    def _number(points: _Index, shape: tuple[int, ...]) -> _Index:
        return (points[..., 0] * shape[1] + points[..., 1]) * shape[2] + points[..., 2]

    def corner(self, points: _Index) -> _Index:
        return self._number(points, self._corners)

    def center(self, cells: _Index) -> _Index:
        return math.prod(self._corners) + self._number(cells, self.n)

    def corner_edge(self, axis: int, points: _Index) -> _Index:
        """Edge from the corner at `points` to the next one along `axis`."""
        return self._starts[axis] + self._number(points, self._corner_edges(axis))

    def center_edge(self, axis: int, cells: _Index) -> _Index:
        """Edge from the center of `cells` to the next cell's along `axis`."""
        return self._starts[3 + axis] + self._number(cells, self._center_edges(axis))

    def spoke(self, cells: _Index, points: _Index) -> _Index:
        """Edge from the center of `cells` to one of their corners, at `points`."""
        return self._starts[6] + 8 * self._number(cells, self.n) + self._number(points - cells, (2,) * 3)

    def diagonal(self, axis: int, high: bool, cells: _Index) -> _Index:
        """Diagonal of the surface square of `cells` on the low or high side of `axis`."""
        u, v = (axis + 1) % 3, (axis + 2) % 3
        squares, row = math.prod(self._across(axis)), self.n[v]
        return self._starts[7 + axis] + int(high) * squares + cells[:, u] * row + cells[:, v]

    def edges(self) -> _Index:
        """(E, 2) ends of all edges, in the order of their numbers."""
        unit = np.eye(3, dtype=np.int64)
        blocks = []
        for axis in range(3):
            points = self._box(self._corner_edges(axis))
            blocks.append(np.stack([self.corner(points), self.corner(points + unit[axis])], axis=1))
        for axis in range(3):
            cells = self._box(self._center_edges(axis))
            blocks.append(np.stack([self.center(cells), self.center(cells + unit[axis])], axis=1))
        cells = np.repeat(self._box(self.n), 8, axis=0)
        points = cells + np.tile(self._box((2,) * 3), (math.prod(self.n), 1))
        blocks.append(np.stack([self.center(cells), self.corner(points)], axis=1))
        for axis in range(3):
            for high in (False, True):
                square = self._square(axis, self._surface_cells(axis, high), high)
                blocks.append(np.stack([self.corner(square[0]), self.corner(square[2])], axis=1))
        return np.concatenate(blocks)

    def _surface_cells(self, axis: int, high: bool) -> _Index:
        """(S, 3) cells along one side, ordered by the two other axes (axis + 1, axis + 2)."""
        rows, columns = self._across(axis)
        cells = np.zeros((rows * columns, 3), np.int64)
        cells[:, axis] = self.n[axis] - 1 if high else 0
        first, second = np.divmod(np.arange(rows * columns), columns)
        cells[:, (axis + 1) % 3], cells[:, (axis + 2) % 3] = first, second
        return cells

    def _square(self, axis: int, cells: _Index, high: bool) -> list[_Index]:
        """The four corners of each cell's low or high face, counter-clockwise seen from along +axis."""
        unit = np.eye(3, dtype=np.int64)
        u, v = unit[(axis + 1) % 3], unit[(axis + 2) % 3]
        origin = cells + unit[axis] if high else cells
        return [origin, origin + u, origin + u + v, origin + v]

    def interior_tets(self, axis: int) -> tuple[_Index, _Index]:
        """Four tets around each face between two cells that are neighbours along `axis`."""
        below = self._box(self._center_edges(axis))
        above = below + np.eye(3, dtype=np.int64)[axis]
        square = self._square(axis, below, high=True)
        u, v = (axis + 1) % 3, (axis + 2) % 3
        tets, tet_edges = [], []
        for side in range(4):
            one, two = square[side], square[(side + 1) % 4]
            # Sides 0 and 2 of the square run along u, 1 and 3 along v; an edge starts at its lower corner.
            rim = self.corner_edge((u, v)[side % 2], one if side < 2 else two)
            tets.append(
                np.stack([self.center(below), self.center(above), self.corner(one), self.corner(two)], axis=1)
            )
            tet_edges.append(
                np.stack(
                    [
                        self.center_edge(axis, below),
                        self.spoke(below, one),
                        self.spoke(below, two),
                        self.spoke(above, one),
                        self.spoke(above, two),
                        rim,
                    ],
                    axis=1,
                )
            )
        return np.concatenate(tets), np.concatenate(tet_edges)

    def surface_tets(self, axis: int) -> tuple[_Index, _Index]:
        """Two tets over each square on the box's two sides across `axis`."""
        tets, tet_edges = [], []
        for high in (False, True):
            cells = self._surface_cells(axis, high)
            square = self._square(axis, cells, high)
            u, v = (axis + 1) % 3, (axis + 2) % 3
            across = self.diagonal(axis, high, cells)
            # Triangles (0, 1, 2) and (0, 2, 3) of the square, with the numbers of their edges 01, 02, 12.
            for middle, first_edge, last_edge in (
                (1, self.corner_edge(u, square[0]), self.corner_edge(v, square[1])),
                (3, self.corner_edge(v, square[0]), self.corner_edge(u, square[3])),
            ):
                a, b, c = square[0], square[middle], square[2]
                edge_ab, edge_bc = first_edge, last_edge
                # The center is below the triangle on the high side, so (center, a, b, c) is positive where
                # a, b, c runs counter-clockwise seen from outside.
                if (middle == 1) != high:
                    a, c = c, a
                    edge_ab, edge_bc = edge_bc, edge_ab
                tets.append(
                    np.stack([self.center(cells), self.corner(a), self.corner(b), self.corner(c)], axis=1)
                )
                tet_edges.append(
                    np.stack(
                        [
                            self.spoke(cells, a),
                            self.spoke(cells, b),
                            self.spoke(cells, c),
                            edge_ab,
                            across,
                            edge_bc,
                        ],
                        axis=1,
                    )
                )
        return np.concatenate(tets), np.concatenate(tet_edges)
