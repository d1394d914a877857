"""Values of a look's channels over a rectangle of texture coordinates: what maps are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from usd_tools.asset_paths import UDIM
from usd_tools.images import Pixels
from usd_tools.looks.network import CHANNELS, Look, Node
from usd_tools.looks.operations import apply
from usd_tools.looks.texture_lookup import lookup, read_rgba, shrunk, udim_tiles

Array = npt.NDArray[np.floating]

_STRIP = 1 << 19
"""Texels evaluated together: bounds the memory of intermediate values."""

_PROBES = 33
"""Coordinates per side at which the density of a texture is probed."""


@dataclass(frozen=True)
class UvGrid:
    """Texel centers. Row 0 is at the top, v = `high[1]`.

    low, high: the rectangle of the main texture coordinates. rows, columns: texels, the gutter's included.
    main: the name of those coordinates. gutter: texels around the rectangle, that continue it or, unless
    `continued`, repeat its border. others: (rows, columns, 2) of every other set, by name.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    rows: int
    columns: int
    main: str | None = None
    gutter: int = 0
    continued: bool = True
    others: Mapping[str | None, Array] = field(default_factory=dict)

    def coordinates(self, primvar: str | None, rows: slice) -> Array:
        """(rows, columns, 2) of one set, float64."""
        if primvar != self.main and primvar in self.others:
            return np.asarray(self.others[primvar][rows], np.float64)
        u = self.low[0] + self._centers(self.columns) * (self.high[0] - self.low[0])
        v = self.high[1] - self._centers(self.rows)[rows] * (self.high[1] - self.low[1])
        return np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=-1)

    def _centers(self, size: int) -> Array:
        """Places of the texel centers, 0 and 1 being the rectangle's borders."""
        inner = size - 2 * self.gutter
        number = np.arange(size, dtype=np.float64) - self.gutter
        if not self.continued:
            number = np.clip(number, 0, inner - 1)
        return (number + 0.5) / inner


def check_network(look: Look) -> None:
    """Evaluates every channel without pictures.

    Raises:
        ValueError: values of different width are joined, such as a color and a pair of coordinates.
    """
    strip = _Pictureless(look, UvGrid((0.0, 0.0), (1.0, 1.0), 2, 2), slice(None))
    for root in look.channels.values():
        strip.value(root)


def native_size(look: Look) -> int:
    """Texels per unit of texture coordinates at which no texture loses detail; 0 without textures."""
    sizes = [0.0]
    grid = UvGrid((0.0, 0.0), (1.0, 1.0), _PROBES, _PROBES)
    for node in look.textures():
        width, height = _picture_size(node)
        uv = _Strip(look, grid, slice(None)).value(node.inputs[0])
        along = [np.median(np.abs(g)) * _PROBES for g in _gradients(uv)]
        dudx, dvdx, dudy, dvdy = along
        sizes.append(max(width * np.hypot(dudx, dudy), height * np.hypot(dvdx, dvdy)))
    return int(np.ceil(max(sizes) - 1e-3))


def is_periodic(look: Look) -> bool:
    """Whether the look repeats with every unit of its texture coordinates."""
    direct = {index for root in look.channels.values() for index in _outside_textures(look, root)}
    if any(look.nodes[index].operation == "uv" for index in direct):
        return False
    for node in look.textures():
        if UDIM in node.settings["file"] or any(mode != "repeat" for mode in node.settings["wrap"]):
            return False
        here = UvGrid((0.1, 0.2), (0.9, 0.7), 3, 3)
        for step in ((1.0, 0.0), (0.0, 1.0)):
            there = UvGrid((0.1 + step[0], 0.2 + step[1]), (0.9 + step[0], 0.7 + step[1]), 3, 3)
            first, second = (_Strip(look, grid, slice(None)).value(node.inputs[0]) for grid in (here, there))
            moved = second - first
            if np.abs(moved - np.round(moved)).max() > 1e-4:
                return False
    return True


def _outside_textures(look: Look, root: int) -> set[int]:
    """What `root` depends on otherwise than by the coordinates of textures."""
    found, pending = set(), [root]
    while pending:
        index = pending.pop()
        if index not in found:
            found.add(index)
            if look.nodes[index].operation != "texture":
                pending += look.nodes[index].inputs
    return found


def evaluate(look: Look, channel: str, grid: UvGrid) -> Pixels:
    """(rows, columns, C) float32 values of one channel, as the network gives them: not clipped, not unit."""
    root, width = look.channels[channel], CHANNELS[channel]
    shape = (grid.rows, grid.columns, width)
    if look.is_constant(channel):
        value = _Strip(look, grid, slice(0, 1)).value(root)
        return np.broadcast_to(_fitted(value, width), shape).astype(np.float32)
    result = np.empty(shape, np.float32)
    step = max(1, _STRIP // grid.columns)
    pictures: dict[str, Pixels] = {}
    for start in range(0, grid.rows, step):
        rows = slice(start, min(start + step, grid.rows))
        result[rows] = _fitted(_Strip(look, grid, rows, pictures).value(root), width)
    return result


def _fitted(value: Array, width: int) -> Array:
    """A gray value for a color is a gray color; a color for a number is its first component."""
    return np.repeat(value, width, axis=-1) if value.shape[-1] == 1 < width else value[..., :width]


class _Strip:
    """Some rows of a grid; every node is evaluated once."""

    def __init__(
        self, look: Look, grid: UvGrid, rows: slice, pictures: dict[str, Pixels] | None = None
    ) -> None:
        self.look, self.grid, self.rows = look, grid, rows
        self.pictures = {} if pictures is None else pictures

    def value(self, root: int) -> Array:
        values: dict[int, Array] = {}
        for index in self.look.ancestors(root):
            node = self.look.nodes[index]
            if node.operation == "constant":
                values[index] = np.array(node.settings["value"], np.float32).reshape(1, 1, -1)
            elif node.operation == "uv":
                values[index] = self.grid.coordinates(node.settings["primvar"], self.rows)
            elif node.operation == "texture":
                values[index] = self._texture(node, index, values[node.inputs[0]])
            else:
                inputs = [values[source] for source in node.inputs]
                values[index] = apply(node.operation, inputs, node.settings)
        return values[root]

    def _texture(self, node: Node, index: int, uv: Array) -> Array:
        settings = node.settings
        wrap, outside = settings["wrap"], settings["outside"]
        if UDIM not in settings["file"]:
            return lookup(self._picture(index, settings["file"], uv), uv, wrap, outside)
        tiles = udim_tiles(settings["file"])
        number = 1001 + np.floor(uv[..., 0]) + 10 * np.floor(uv[..., 1])
        number[(uv[..., 0] < 0) | (uv[..., 0] >= 10) | (uv[..., 1] < 0)] = 0
        result = np.empty((*uv.shape[:-1], 4), np.float32)
        result[:] = np.asarray(outside, np.float32)
        for tile in np.unique(number):
            file = tiles.get(int(tile))
            if file is not None:
                here = number == tile
                local = uv[here] - np.floor(uv[here])
                picture = self._picture(index, file, uv)
                result[here] = lookup(picture, local, ("clamp", "clamp"))
        return result

    def _picture(self, index: int, file: str, uv: Array) -> Pixels:
        key = f"{index} {file}"
        if key not in self.pictures:
            picture = read_rgba(file, self.look.nodes[index].settings["color_space"])
            dudx, dvdx, dudy, dvdy = (np.median(np.abs(g)) if g.size else 0.0 for g in _gradients(uv))
            steps = (picture.shape[1] * np.hypot(dudx, dudy), picture.shape[0] * np.hypot(dvdx, dvdy))
            self.pictures[key] = shrunk(picture, steps)
        return self.pictures[key]


class _Pictureless(_Strip):
    """Sees only black."""

    def _texture(self, node: Node, index: int, uv: Array) -> Array:
        if uv.shape[-1] != 2:
            raise ValueError(f"texture coordinates with {uv.shape[-1]} components")
        return np.zeros((*uv.shape[:-1], 4), np.float32)


def _gradients(uv: Array) -> tuple[Array, Array, Array, Array]:
    """Differences between neighboring columns (u, v) and rows (u, v)."""
    across, down = np.diff(uv, axis=1), np.diff(uv, axis=0)
    return across[..., 0], across[..., 1], down[..., 0], down[..., 1]


def _picture_size(node: Node) -> tuple[int, int]:
    """Width and height of the texture's picture, of a UDIM set the largest."""
    file = node.settings["file"]
    files = list(udim_tiles(file).values()) if UDIM in file else [file]
    shapes = [read_rgba(name, "raw").shape for name in files]
    return max((shape[1] for shape in shapes), default=1), max((shape[0] for shape in shapes), default=1)
