"""Prefiltering of a cubemap for image-based lighting: GGX lobes of chosen roughness, and the cosine lobe.

The first factor of the split sum (Karis 2013): with view = normal = reflection direction, level k holds
sum(L(l) D(n.h) n.l dw) / sum(D(n.h) n.l dw) for roughness[k]. Prefiltering is linear in the radiance and its
weights depend on nothing else, so it is a sparse matrix, built once:

- Columns are the texels of the cubemap *and of its pyramid* (means of 2x2 texels by solid angle). For each
  output direction the pyramid is walked as a quadtree (as in Barnes and Hut 1986): a node is taken whole once
  it is small beside the scale on which the lobe varies there, else its children are visited. Nodes in the
  far tail, which carry next to none of the lobe, may be larger.
- Where the lobe is narrower than a texel, the texel itself is cut further (as an area of constant radiance).
- Texels that outshine the rest (`bright`) are always taken one by one, so that the lobe around a sun is
  exact out to its tails.
"""

# `_Lobes` is a type that Warp makes at run time, which mypy does not follow.
# mypy: disable-error-code="valid-type, index"

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import warp as wp
from torch import Tensor

from recon.light.cubemap import face_axes, texel_directions, texel_solid_angles
from recon.warp_runtime import launch

# Levels below one source texel that a narrow lobe may be integrated at.
_SUBTEXEL_DEPTH = 6
# Size of a piece of one texel, as a share of the lobe's local scale: the radiance is constant there and
# the 2x2 Gauss rule is of fourth order, so pieces may be large.
_SUBTEXEL_SIZE = 0.7
# A node with less than this share of the lobe is taken whole at `_TAIL_SIZE` of the lobe's local scale.
_TAIL_SHARE = 1e-4
_TAIL_SIZE = 0.7
# With view = normal, D is constant at alpha = 1, which leaves the cosine. Its scale is the hemisphere
# itself, so smaller nodes cost little.
_COSINE_ALPHA = 1.0
_COSINE_NODES = 0.5
# Lobes that a known light's walk serves at once; as many as one SIMD register holds.
_LOBES_PER_WALK = 8
# Entries of a sparse row that one thread of a GPU multiplies.
_PIECE = 256
_Lobes = wp.types.vector(length=_LOBES_PER_WALK, dtype=wp.float32)


@wp.func
def _axis(axes: wp.array2d[wp.vec3], face: wp.int32, s: wp.float32, t: wp.float32) -> wp.vec3:
    return axes[face, 0] + axes[face, 1] * s + axes[face, 2] * t


@wp.func
def _compact_bits(code: wp.int32) -> wp.int32:
    """The even bits of a Morton code, packed."""
    x = code & wp.int32(0x55555555)
    x = (x | (x >> wp.int32(1))) & wp.int32(0x33333333)
    x = (x | (x >> wp.int32(2))) & wp.int32(0x0F0F0F0F)
    x = (x | (x >> wp.int32(4))) & wp.int32(0x00FF00FF)
    return (x | (x >> wp.int32(8))) & wp.int32(0x0000FFFF)


@wp.func
def _column(face: wp.int32, depth: wp.int32, code: wp.int32, leaf_depth: wp.int32) -> wp.int32:
    """Where `pyramid` holds a node, or the texel that a piece of a texel belongs to."""
    shift = wp.max(depth - leaf_depth, wp.int32(0))
    at = depth - shift
    # Level `at` has 6 * 4^at texels and comes after all coarser ones: 2 (4^at - 1) texels.
    return (
        wp.int32(2) * ((wp.int32(1) << (wp.int32(2) * at)) - wp.int32(1))
        + (face << (wp.int32(2) * at))
        + ((_compact_bits(code >> wp.int32(1)) >> shift) << at)
        + (_compact_bits(code) >> shift)
    )


@wp.func
def _advance(depth: wp.int32, code: wp.int32) -> wp.vec2i:
    """Depth and Morton code of the node after a finished one; depth 0 once the face is done."""
    code = code + wp.int32(1)
    while depth > 0 and (code & wp.int32(3)) == 0:
        code = code >> wp.int32(2)
        depth = depth - wp.int32(1)
    return wp.vec2i(depth, code)


@wp.func
def _width2(alpha: wp.float32) -> wp.float32:
    """Square of the scale on which a lobe varies at its centre; the cosine bounds that of wide lobes."""
    return wp.min(4.0 * alpha * alpha, 0.25)


@wp.func
def _fits(
    distance2: wp.float32,
    size: wp.float32,
    narrowest2: wp.float32,
    widest2: wp.float32,
    limit: wp.float32,
    tail_share: wp.float32,
    tail_size: wp.float32,
) -> wp.bool:
    """Whether a node is small enough to be taken whole, for all lobes from the narrowest to the widest.

    distance2: of its centre to the lobes' axis, squared. narrowest2, widest2: see `_width2`.
    """
    # The lobe that has the most here, w / (d^2 + w)^2, is the one as wide as the distance.
    width2 = wp.clamp(distance2, narrowest2, widest2)
    scale2 = distance2 + width2
    if width2 * size * size < tail_share * scale2 * scale2:
        limit = wp.max(limit, tail_size)
    return size * size <= limit * limit * (distance2 + narrowest2)


@wp.func
def _quarter_and_cosine(normal: wp.vec3, point: wp.vec3) -> wp.vec2:
    """At a point of the cube: a quarter of |n - l|^2, and n.l times solid angle (up to a factor)."""
    inverse = 1.0 / wp.length(point)
    away = normal - point * inverse
    quarter = 0.25 * wp.dot(away, away)
    return wp.vec2(quarter, wp.max(1.0 - 2.0 * quarter, 0.0) * inverse * inverse * inverse)


@wp.func
def _lobe(normal: wp.vec3, point: wp.vec3, alpha2: wp.float32) -> wp.float32:
    """Lobe times solid angle (up to a factor that normalisation removes) at a point of the cube."""
    terms = _quarter_and_cosine(normal, point)
    # With v = n: (n.h)^2 = (1 + n.l) / 2, so 1 - (n.h)^2 is a quarter of |n - l|^2.
    spread = terms[0] + alpha2 * (1.0 - terms[0])
    return terms[1] / (spread * spread)


@wp.func
def _lobes(normal: wp.vec3, point: wp.vec3, alphas2: _Lobes) -> _Lobes:
    """`_lobe` of several lobes."""
    terms = _quarter_and_cosine(normal, point)
    spread = _Lobes(terms[0]) + alphas2 * (1.0 - terms[0])
    return wp.cw_div(_Lobes(terms[1]), wp.cw_mul(spread, spread))


@wp.kernel(enable_backward=False)
def _walk_kernel(
    start: wp.int32,
    axes: wp.array2d[wp.vec3],
    normals: wp.array[wp.vec3],
    alphas: wp.array[wp.float32],
    node_sizes: wp.array[wp.float32],
    leaf_depth: wp.int32,
    tail_share: wp.float32,
    tail_size: wp.float32,
    subtexel_size: wp.float32,
    subtexel_depth: wp.int32,
    fill: wp.int32,
    first: wp.array[wp.int64],
    counts: wp.array[wp.int64],
    columns: wp.array[wp.int32],
    weights: wp.array[wp.float32],
) -> None:
    """Counts a table row's entries (`fill` = 0), or writes them, normalised, from `first` on."""
    i = start + wp.tid()
    normal = normals[i]
    alpha2 = alphas[i] * alphas[i]
    width2 = _width2(alphas[i])
    begin = wp.int64(0)
    if fill == 1:
        begin = first[i]
    count = wp.int64(0)
    total = wp.float32(0.0)
    for face in range(6):
        depth = wp.int32(0)
        code = wp.int32(0)
        walking = wp.int32(1)
        while walking == 1:
            half = 1.0 / float(wp.int32(1) << depth)
            s = (2.0 * float(_compact_bits(code)) + 1.0) * half - 1.0
            t = (2.0 * float(_compact_bits(code >> wp.int32(1))) + 1.0) * half - 1.0
            center = _axis(axes, face, s, t)
            inverse = 1.0 / wp.length(center)
            away = normal - center * inverse
            distance2 = wp.dot(away, away)
            size = 2.0 * half * inverse
            limit = subtexel_size
            if depth < leaf_depth:
                limit = node_sizes[i]
            below = 0.5 * distance2 - 1.0 > size
            fits = _fits(distance2, size, width2, width2, limit, tail_share, tail_size)
            if not below and not fits and depth < leaf_depth + subtexel_depth:
                depth = depth + wp.int32(1)
                code = code << wp.int32(2)
            else:
                if not below:
                    if fill == 1:
                        g = half * 0.57735027
                        weight = _lobe(normal, _axis(axes, face, s - g, t - g), alpha2)
                        weight += _lobe(normal, _axis(axes, face, s + g, t - g), alpha2)
                        weight += _lobe(normal, _axis(axes, face, s - g, t + g), alpha2)
                        weight += _lobe(normal, _axis(axes, face, s + g, t + g), alpha2)
                        weight = weight * half * half
                        columns[begin + count] = _column(face, depth, code, leaf_depth)
                        weights[begin + count] = weight
                        total = total + weight
                    count = count + wp.int64(1)
                after = _advance(depth, code)
                depth = after[0]
                code = after[1]
                if depth == 0:
                    walking = wp.int32(0)
    if fill == 1:
        scale = 1.0 / total
        for k in range(wp.int32(count)):
            weights[begin + wp.int64(k)] = weights[begin + wp.int64(k)] * scale
    else:
        counts[i] = count


@wp.kernel(enable_backward=False)
def _filter_kernel(
    start: wp.int32,
    axes: wp.array2d[wp.vec3],
    normals: wp.array[wp.vec3],
    alphas: _Lobes,
    node_size: wp.float32,
    bright: wp.array[wp.uint8],
    values: wp.array[wp.vec3],
    leaf_depth: wp.int32,
    tail_share: wp.float32,
    tail_size: wp.float32,
    subtexel_size: wp.float32,
    subtexel_depth: wp.int32,
    out: wp.array2d[wp.vec3],
) -> None:
    """Filters a pyramid's `values` around each normal by several lobes (ascending `alphas`) in one walk.

    What each node weighs is a table row's entry (`_walk_kernel`), used up at once instead of kept. Nodes
    are as small as the most demanding of the lobes needs them.
    """
    i = start + wp.tid()
    normal = normals[i]
    alphas2 = wp.cw_mul(alphas, alphas)
    narrowest2 = _width2(alphas[0])
    widest2 = _width2(alphas[_LOBES_PER_WALK - 1])
    total = _Lobes()
    red = _Lobes()
    green = _Lobes()
    blue = _Lobes()
    for face in range(6):
        depth = wp.int32(0)
        code = wp.int32(0)
        walking = wp.int32(1)
        while walking == 1:
            half = 1.0 / float(wp.int32(1) << depth)
            s = (2.0 * float(_compact_bits(code)) + 1.0) * half - 1.0
            t = (2.0 * float(_compact_bits(code >> wp.int32(1))) + 1.0) * half - 1.0
            center = _axis(axes, face, s, t)
            inverse = 1.0 / wp.length(center)
            away = normal - center * inverse
            distance2 = wp.dot(away, away)
            size = 2.0 * half * inverse
            column = _column(face, depth, code, leaf_depth)
            limit = subtexel_size
            forced = wp.int32(0)
            if depth < leaf_depth:
                limit = node_size
                forced = wp.int32(bright[column])
            below = 0.5 * distance2 - 1.0 > size
            fits = _fits(distance2, size, narrowest2, widest2, limit, tail_share, tail_size)
            split = forced == 1 or (not fits and depth < leaf_depth + subtexel_depth)
            if not below and split:
                depth = depth + wp.int32(1)
                code = code << wp.int32(2)
            else:
                if not below:
                    g = half * 0.57735027
                    weight = _lobes(normal, _axis(axes, face, s - g, t - g), alphas2)
                    weight += _lobes(normal, _axis(axes, face, s + g, t - g), alphas2)
                    weight += _lobes(normal, _axis(axes, face, s - g, t + g), alphas2)
                    weight += _lobes(normal, _axis(axes, face, s + g, t + g), alphas2)
                    weight = weight * (half * half)
                    value = values[column]
                    total += weight
                    red += weight * value[0]
                    green += weight * value[1]
                    blue += weight * value[2]
                after = _advance(depth, code)
                depth = after[0]
                code = after[1]
                if depth == 0:
                    walking = wp.int32(0)
    for k in range(_LOBES_PER_WALK):
        if k < out.shape[0]:
            out[k, i] = wp.vec3(red[k], green[k], blue[k]) / total[k]


@wp.func
def _product(
    begin: wp.int64,
    end: wp.int64,
    columns: wp.array[wp.int32],
    weights: wp.array[wp.float32],
    values: wp.array[wp.vec3],
) -> wp.vec3:
    total = wp.vec3(0.0, 0.0, 0.0)
    for k in range(wp.int32(end - begin)):
        j = begin + wp.int64(k)
        total += values[columns[j]] * weights[j]
    return total


@wp.kernel(enable_backward=False)
def _multiply_kernel(
    start: wp.int32,
    first: wp.array[wp.int64],
    columns: wp.array[wp.int32],
    weights: wp.array[wp.float32],
    values: wp.array[wp.vec3],
    out: wp.array[wp.vec3],
) -> None:
    i = start + wp.tid()
    out[i] = _product(first[i], first[i + 1], columns, weights, values)


@wp.kernel(enable_backward=False)
def _multiply_pieces_kernel(
    start: wp.int32,
    rows: wp.array[wp.int32],
    begins: wp.array[wp.int64],
    ends: wp.array[wp.int64],
    columns: wp.array[wp.int32],
    weights: wp.array[wp.float32],
    values: wp.array[wp.vec3],
    out: wp.array[wp.vec3],
) -> None:
    """Adds the entries from `begins` to `ends` to their row of `out`."""
    i = start + wp.tid()
    wp.atomic_add(out, rows[i], _product(begins[i], ends[i], columns, weights, values))


def _vec3(values: Tensor) -> wp.array:
    return wp.from_torch(values, dtype=wp.vec3)


@dataclass(frozen=True)
class SparseMatrix:
    """Compressed sparse rows. first: (R + 1,) int64. columns: (E,) int32. weights: (E,) float32."""

    first: Tensor
    columns: Tensor
    weights: Tensor

    def __matmul__(self, values: Tensor) -> Tensor:
        """(R, 3) product with `values` (C, 3); not differentiable (see `Prefilter.__call__`).

        On a GPU the last bits vary from run to run.
        """
        return self.by_pieces(values) if values.is_cuda else self.by_rows(values)

    def by_rows(self, values: Tensor) -> Tensor:
        """The product with one thread for each row."""
        rows = len(self.first) - 1
        out = values.new_empty(rows, 3)
        inputs = [self.first, self.columns, self.weights, _vec3(values.contiguous()), _vec3(out)]
        launch(_multiply_kernel, rows, inputs, values.device)
        return out

    def by_pieces(self, values: Tensor) -> Tensor:
        """The product with one thread for each piece of a row.

        The coarsest nodes of a pyramid count in all directions, so a transposed table's longest rows are
        hundreds of times as long as the mean, and a thread for each of them would be waited for.
        """
        rows, begins, ends = self._pieces
        out = values.new_zeros(len(self.first) - 1, 3)
        inputs = [rows, begins, ends, self.columns, self.weights, _vec3(values.contiguous()), _vec3(out)]
        launch(_multiply_pieces_kernel, len(rows), inputs, values.device, parallel=values.is_cuda)
        return out

    @cached_property
    def _pieces(self) -> tuple[Tensor, Tensor, Tensor]:
        """(S,) row, first entry and end of each piece."""
        counts = (self.first.diff() + _PIECE - 1) // _PIECE
        rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        before = (counts.cumsum(0) - counts)[rows]
        begins = self.first[rows] + _PIECE * (torch.arange(len(rows), device=counts.device) - before)
        return rows.int(), begins, torch.minimum(begins + _PIECE, self.first[rows + 1])

    def transpose(self, columns: int) -> SparseMatrix:
        """The transposed matrix, for a matrix of `columns` columns."""
        counts = self.first[1:] - self.first[:-1]
        rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        order = torch.argsort(self.columns, stable=True)
        first = torch.zeros(columns + 1, dtype=torch.int64, device=counts.device)
        first[1:] = torch.bincount(self.columns, minlength=columns).cumsum(0)
        return SparseMatrix(first, rows[order].int(), self.weights[order])


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, matrix: SparseMatrix, transposed: SparseMatrix) -> Tensor:
        ctx.transposed = transposed
        return matrix @ values.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None]:
        return ctx.transposed @ gradients[0], None, None


def pyramid(cube: Tensor) -> Tensor:
    """(2 (4 N^2 - 1), 3): all texels of the cubemap's pyramid, the single texels of the faces first.

    cube: (6, N, N, 3), N a power of two. Each coarser texel is the mean by solid angle of four finer ones.
    """
    resolution = cube.shape[1]
    weight = texel_solid_angles(resolution, cube.device)[None, :, :, None]
    energy = cube * weight
    levels = [cube.reshape(-1, 3)]
    while resolution > 1:
        resolution //= 2
        energy = energy.view(6, resolution, 2, resolution, 2, 3).sum(dim=(2, 4))
        weight = weight.view(1, resolution, 2, resolution, 2, 1).sum(dim=(2, 4))
        levels.append((energy / weight).reshape(-1, 3))
    return torch.cat(levels[::-1])


def bright_nodes(cube: Tensor, count: int, contrast: float = 8.0) -> Tensor:
    """(2 (4 N^2 - 1),) uint8, in `pyramid` order: nodes that hold one of the outshining texels.

    Those are at most `count` texels, the brightest by their largest channel, that exceed `contrast` times
    the mean over the sphere.
    """
    resolution = cube.shape[1]
    brightness = cube.amax(dim=-1)
    mean = (brightness * texel_solid_angles(resolution, cube.device)).sum() / (4 * math.pi)
    top = torch.topk(brightness.reshape(-1), min(count, brightness.numel())).indices
    level = torch.zeros(brightness.numel(), dtype=torch.uint8, device=cube.device)
    level[top] = 1
    level = level.view_as(brightness) * (brightness > contrast * mean)
    levels = [level.reshape(-1)]
    while resolution > 1:
        resolution //= 2
        level = level.view(6, resolution, 2, resolution, 2).amax(dim=(2, 4))
        levels.append(level.reshape(-1))
    return torch.cat(levels[::-1])


def roughness_levels(resolution: int, ratio: float = 1.25) -> tuple[float, ...]:
    """Roughnesses to prefilter a cubemap of that resolution at: 0, then a geometric series up to 1.

    The first lobe above 0 is about a quarter of a texel wide (2 alpha radians). Below it, interpolation is
    coarse: at N = 32 (first lobe 0.088), roughness 0.07 near a small sun is off by 10 % in the mean.
    """
    smallest = math.sqrt(1.0 / (4.0 * resolution))
    steps = max(1, round(math.log(1.0 / smallest) / math.log(ratio)))
    return (0.0, *(smallest ** (1.0 - k / steps) for k in range(steps + 1)))


def level_resolution(
    roughness: float, resolution: int, smallest: int = 16, texels_per_width: float = 3.0
) -> int:
    """Resolution for a prefiltered level: the lobe's width (2 alpha radians) spans a few texels.

    A power of two between `smallest` (or `resolution`, if that is less) and `resolution`.
    """
    needed = texels_per_width / max(roughness * roughness, 1e-6)
    return min(resolution, max(smallest, 2 ** math.ceil(math.log2(needed))))


class Prefilter:
    """Prefilters cubemaps of one resolution, differentiably, with tables made once.

    resolution: N of the cubemaps, a power of two. roughness: of the specular levels, ascending; the first
    may be 0, the cubemap itself. diffuse_resolution: of the cosine-convolved level. node_size: size of a
    pyramid node that is taken whole, as a share of the lobe's local scale; less is more exact and slower.
    """

    def __init__(
        self,
        resolution: int,
        roughness: Sequence[float] | None = None,
        diffuse_resolution: int = 16,
        node_size: float = 0.5,
        device: torch.device | str = "cpu",
    ) -> None:
        if resolution < 2 or resolution & (resolution - 1):
            raise ValueError(f"resolution: expected a power of two of at least 2, got {resolution}")
        self.resolution = resolution
        self.roughness = tuple(roughness) if roughness is not None else roughness_levels(resolution)
        if any(a >= b for a, b in zip(self.roughness, self.roughness[1:])):
            raise ValueError(f"roughness: expected ascending values, got {self.roughness}")
        self.node_size = node_size
        self.device = torch.device(device)
        self.resolutions = tuple(level_resolution(r, resolution) for r in self.roughness)
        self.diffuse_resolution = diffuse_resolution
        self._lobes = [(r * r, n, node_size) for r, n in zip(self.roughness, self.resolutions) if r > 0]
        self._lobes.append((_COSINE_ALPHA, diffuse_resolution, _COSINE_NODES * node_size))
        self._counts = [6 * n * n for _, n, _ in self._lobes]
        self._tables: tuple[SparseMatrix, SparseMatrix] | None = None

    def _normals(self, resolution: int) -> Tensor:
        return texel_directions(resolution, self.device).reshape(-1, 3)

    def _walk_settings(self) -> list[float]:
        """The kernels' arguments from `leaf_depth` to `subtexel_depth`."""
        depth = self.resolution.bit_length() - 1
        return [depth, math.pi * _TAIL_SHARE, _TAIL_SIZE, _SUBTEXEL_SIZE, _SUBTEXEL_DEPTH]

    def _table(self) -> SparseMatrix:
        """All lobes' weights, one row per output texel, level by level."""
        counted = torch.tensor(self._counts, device=self.device)
        alphas, _, node_sizes = zip(*self._lobes)
        normals = torch.cat([self._normals(n) for _, n, _ in self._lobes])
        rows = len(normals)
        shared = [
            wp.from_torch(face_axes(self.device).contiguous(), dtype=wp.vec3),
            _vec3(normals),
            torch.repeat_interleave(torch.tensor(alphas, device=self.device), counted),
            torch.repeat_interleave(torch.tensor(node_sizes, device=self.device), counted),
            *self._walk_settings(),
        ]
        counts = torch.empty(rows, dtype=torch.int64, device=self.device)
        no_columns = torch.empty(0, dtype=torch.int32, device=self.device)
        no_weights = torch.empty(0, device=self.device)
        launch(_walk_kernel, rows, [*shared, 0, counts, counts, no_columns, no_weights], self.device)
        first = torch.zeros(rows + 1, dtype=torch.int64, device=self.device)
        first[1:] = counts.cumsum(0)
        size = int(first[-1])
        columns = torch.empty(size, dtype=torch.int32, device=self.device)
        weights = torch.empty(size, device=self.device)
        launch(_walk_kernel, rows, [*shared, 1, first, counts, columns, weights], self.device)
        return SparseMatrix(first, columns, weights)

    def _walk_groups(self) -> list[tuple[int, float, list[float]]]:
        """(resolution, node size, ascending alphas) of the lobes that share a walk, in the lobes' order."""
        groups: list[tuple[int, float, list[float]]] = []
        for alpha, resolution, node_size in self._lobes:
            if groups and groups[-1][:2] == (resolution, node_size) and len(groups[-1][2]) < _LOBES_PER_WALK:
                groups[-1][2].append(alpha)
            else:
                groups.append((resolution, node_size, [alpha]))
        return groups

    def _split(self, cube: Tensor, rows: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        parts = list(rows.split(self._counts))
        diffuse = parts.pop().view(6, self.diffuse_resolution, self.diffuse_resolution, 3)
        levels = [part.view(6, n, n, 3) for part, n in zip(parts, self.resolutions[-len(parts) :])]
        if self.roughness[0] == 0.0:
            levels.insert(0, cube)
        return tuple(levels), diffuse

    def __call__(self, cube: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Specular levels (6, N_k, N_k, 3) and the diffuse level (6, D, D, 3); differentiable.

        cube: (6, N, N, 3) radiance. The diffuse level is irradiance / pi. The tables are made on the first
        call and kept; they treat all radiance alike, for it may change.
        """
        source = pyramid(cube)
        if self._tables is None:
            matrix = self._table()
            self._tables = matrix, matrix.transpose(len(source))
        return self._split(cube, _Multiply.apply(source, *self._tables))

    @torch.no_grad()
    def once(self, cube: Tensor, bright_texels: int | None = None) -> tuple[tuple[Tensor, ...], Tensor]:
        """Like `__call__`, for a light that stays: no gradient, no tables, and exact around suns.

        bright_texels: how many outshining texels to take one by one; by default the resolution.
        """
        source = pyramid(cube).contiguous()
        bright = bright_nodes(cube, self.resolution if bright_texels is None else bright_texels)
        axes = wp.from_torch(face_axes(self.device).contiguous(), dtype=wp.vec3)
        outputs = []
        for resolution, node_size, alphas in self._walk_groups():
            normals = self._normals(resolution)
            out = source.new_empty(len(alphas), len(normals), 3)
            padded = _Lobes(*alphas, *alphas[-1:] * (_LOBES_PER_WALK - len(alphas)))
            inputs = [axes, _vec3(normals), padded, node_size, bright, _vec3(source)]
            inputs += [*self._walk_settings(), _vec3(out)]
            launch(_filter_kernel, len(normals), inputs, self.device)
            outputs.append(out.view(-1, 3))
        return self._split(cube, torch.cat(outputs))
