"""Subdivision surfaces as fine polygon meshes whose vertices lie on the limit surface.

Rules of Catmull and Clark (1978), and of Loop (1987) for triangles; sharp and semi-sharp creases of DeRose,
Kass and Truong ("Subdivision Surfaces in Character Animation", 1998) with the uniform decay and the
fractional transitions of OpenSubdiv, whose documentation names the boundary and face-varying options of USD;
limit masks of Halstead, Kass and DeRose (1993) and, for Loop, of Hoppe et al. (1994). Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from usd_tools.mesh_topology import connected

Values = NDArray[np.float64]
Indices = NDArray[np.int64]

INFINITE = 10.0
"""Sharpness from which on an edge or vertex stays sharp on every level, as OpenSubdiv has it."""

TOLERANCE = 1e-3
"""Distance to the limit surface that WITHIN of the points keep, as a share of the shape's half extent: half a
pixel where the object fills a picture of 1000 pixels."""

WITHIN = 0.99
"""The rest, mostly around folds and irregular points, is off by a little more: dividing everything again for
their sake would make four times the faces."""

LARGEST_FACE_COUNT = 1_000_000
MEASURABLE_FACE_COUNT = 4_000_000
"""Beyond this the next level is not even made to be compared with: such a mesh is fine enough."""

MOST_LEVELS = 6


@dataclass(frozen=True)
class Cage:
    """A control mesh of P points and F polygons.

    points: (P, 3). counts: (F,) corners of each polygon. indices: (sum of counts,) rows of `points`.
    scheme: "catmullClark", "loop" or "bilinear". boundary: "none", "edgeOnly" or "edgeAndCorner".
    crease_edges: (E, 2) rows of `points`, crease_sharpness: (E,). corners: (C,), corner_sharpness: (C,).
    """

    points: Values
    counts: Indices
    indices: Indices
    scheme: str = "catmullClark"
    boundary: str = "edgeAndCorner"
    crease_edges: Indices = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    crease_sharpness: Values = field(default_factory=lambda: np.zeros(0))
    corners: Indices = field(default_factory=lambda: np.zeros(0, np.int64))
    corner_sharpness: Values = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class CornerValues:
    """Values (N, K) with a row for each polygon corner (sum of counts,), to be refined with the surface.

    interpolation: a faceVaryingLinearInterpolation of USD, or "vertex" for values that follow the points.
    """

    values: Values
    rows: Indices
    interpolation: str = "cornersPlus1"


@dataclass(frozen=True)
class LimitSurface:
    """Q faces of k corners each: quads, of Loop triangles.

    points: (V, 3) on the limit surface, the cage's own first; faces: (Q, k). normals: (K, 3) unit,
    normal_faces: (Q, k); they are split along edges that are still sharp. layers: values and (Q, k) rows of
    each CornerValues. parents: (Q,) the cage's polygon. deviation: measured distance to the limit surface
    that WITHIN of the points keep, in units of the points; NaN for meshes too large to measure. levels: how
    often the cage was divided.
    """

    points: Values
    faces: Indices
    normals: Values
    normal_faces: Indices
    layers: tuple[tuple[Values, Indices], ...]
    parents: Indices
    deviation: float
    levels: int


def limit_surface(
    cage: Cage,
    layers: Sequence[CornerValues] = (),
    tolerance: float = TOLERANCE,
    largest_face_count: int = LARGEST_FACE_COUNT,
) -> LimitSurface:
    """Divides `cage` until its flat faces are within `tolerance` (a share of the half extent) of the limit.

    The distance is measured at the points that one more division would add. A mesh that would exceed
    `largest_face_count` is returned coarser; compare `deviation`.
    """
    shape = _shape_channel(cage)
    channels = [_layer_channel(layer, cage, shape) for layer in layers]
    parents = np.arange(len(cage.counts))
    half_extent = float(np.ptp(cage.points, axis=0).max()) / 2
    # Semi-sharp edges have to wear off before the limit masks hold.
    finite = [s[(s > 0) & (s < INFINITE)] for s in (shape.edge_sharpness, shape.value_sharpness)]
    least = int(np.ceil(max((float(s.max()) for s in finite if len(s)), default=0.0)))
    level = 0
    while True:
        children = shape.counts if cage.scheme != "loop" else np.full(len(shape.counts), 4)
        if shape.is_regular and children.sum() > MEASURABLE_FACE_COUNT:
            deviation = np.nan
            break
        finer = shape.divided()
        deviation = _deviation(shape, finer) if shape.is_regular else np.nan
        done = deviation <= tolerance * half_extent and level >= least
        if shape.is_regular and (done or len(finer.counts) > largest_face_count or level >= MOST_LEVELS):
            break
        parents = np.repeat(parents, children)
        shape, channels = finer, [channel.divided() for channel in channels]
        level += 1
    points = shape.limit()
    normals, normal_corners = _corner_normals(shape, points)
    size = int(shape.counts[0])
    return LimitSurface(
        points,
        shape.ids.reshape(-1, size),
        normals,
        normal_corners.reshape(-1, size),
        tuple((channel.limit(), channel.ids.reshape(-1, size)) for channel in channels),
        parents,
        deviation,
        level,
    )


@dataclass(frozen=True)
class _Channel:
    """Values on polygons: the points, or texture coordinates with a topology of their own.

    values: (N, K). counts: (F,). ids: (H,) row of each corner; half-edge h runs from corner h to the next.
    edges: (E, 2) rows, lower first. edge_of: (H,). edge_sharpness: (E,), value_sharpness: (N,).
    """

    scheme: str
    values: Values
    counts: Indices
    ids: Indices
    edges: Indices
    edge_of: Indices
    edge_sharpness: Values
    value_sharpness: Values

    @property
    def face_of(self) -> Indices:
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def following(self) -> Indices:
        return _following(self.counts)

    @property
    def is_regular(self) -> bool:
        """Whether the limit masks hold: quads only (Loop: triangles, always)."""
        return bool((self.counts == (3 if self.scheme == "loop" else 4)).all())

    def divided(self) -> _Channel:
        """One level finer. New rows are those of the values, then one per edge, then (not Loop) per face."""
        values, edges, count = self.values, self.edges, len(self.values)
        sharp = np.clip(self.edge_sharpness, 0, 1)[:, None]
        middle = values[edges].mean(axis=1)
        if self.scheme == "loop":
            previous = self.ids.reshape(-1, 3)[:, [2, 0, 1]].ravel()  # the corner opposite each half-edge
            opposite = _summed(values[previous], self.edge_of, len(edges))
            smooth = 0.375 * values[edges].sum(axis=1) + 0.125 * opposite
            new = [self._moved(None), sharp * middle + (1 - sharp) * smooth]
            a = self.ids.reshape(-1, 3)
            e = count + self.edge_of.reshape(-1, 3)
            children = [[a[:, 0], e[:, 0], e[:, 2]], [a[:, 1], e[:, 1], e[:, 0]]]
            children += [[a[:, 2], e[:, 2], e[:, 1]], [e[:, 0], e[:, 1], e[:, 2]]]
            ids = np.array(children).transpose(2, 0, 1).ravel()
            counts = np.full(4 * len(self.counts), 3)
        else:
            centers = _summed(values[self.ids], self.face_of, len(self.counts)) / self.counts[:, None]
            beside = _summed(centers[self.face_of], self.edge_of, len(edges))
            smooth = 0.25 * (values[edges].sum(axis=1) + beside)
            new = [self._moved(centers), sharp * middle + (1 - sharp) * smooth, centers]
            before = np.empty_like(self.following)
            before[self.following] = np.arange(len(before))
            corner_edges = count + self.edge_of
            face_rows = count + len(edges) + self.face_of
            ids = np.stack([self.ids, corner_edges, face_rows, corner_edges[before]], axis=1).ravel()
            counts = np.full(len(self.ids), 4)
        child_edges, edge_of = _edges(ids, counts)
        # Halves of an edge inherit its sharpness less one; what is new inside faces is smooth.
        low, high = child_edges.T
        half = (low < count) & (high >= count) & (high < count + len(edges))
        edge_sharpness = np.zeros(len(child_edges))
        edge_sharpness[half] = _worn(self.edge_sharpness)[high[half] - count]
        if self.scheme == "bilinear":
            edge_sharpness[:] = INFINITE
        all_values = np.concatenate(new)
        value_sharpness = np.zeros(len(all_values))
        value_sharpness[:count] = _worn(self.value_sharpness)
        if self.scheme == "bilinear":
            value_sharpness[:] = INFINITE
        return _Channel(
            self.scheme, all_values, counts, ids, child_edges, edge_of, edge_sharpness, value_sharpness
        )

    def _moved(self, centers: Values | None) -> Values:
        """The values' own new places. centers: the faces' middles (not Loop)."""
        n = self._valences()
        around = self._neighbor_sum()
        if centers is None:
            beta = (0.625 - (0.375 + 0.25 * np.cos(2 * np.pi / n)) ** 2) / n
            smooth = (1 - n * beta) * self.values + beta * around
        else:
            faces = _summed(centers[self.face_of], self.ids, len(self.values))
            smooth = (n - 2) / n * self.values + (around + faces) / (n * n)
        now = self._by_rule(self.edge_sharpness, self.value_sharpness, smooth, 6.0, 8.0)
        worn = _worn(self.edge_sharpness), _worn(self.value_sharpness)
        later = self._by_rule(*worn, smooth, 6.0, 8.0)
        # Where sharpness runs out on this level, the mean of what is left weighs the two rules.
        expiring = (self.edge_sharpness > 0) & (worn[0] <= 0)
        rows = self.edges[expiring].ravel()
        total = _summed(np.repeat(self.edge_sharpness[expiring], 2)[:, None], rows, len(self.values))[:, 0]
        count = np.bincount(rows, minlength=len(self.values)).astype(np.float64)
        leaving = (self.value_sharpness > 0) & (worn[1] <= 0)
        total[leaving] += self.value_sharpness[leaving]
        count += leaving
        weight = np.where(count > 0, np.clip(total / np.maximum(count, 1), 0, 1), 1.0)[:, None]
        return weight * now + (1 - weight) * later

    def limit(self) -> Values:
        """The values on the limit surface. What is still semi-sharp counts as sharp."""
        n = self._valences()
        around = self._neighbor_sum()
        if self.scheme == "loop":
            beta = (0.625 - (0.375 + 0.25 * np.cos(2 * np.pi / n)) ** 2) / n
            omega = 1 / (0.375 / beta + n)
            smooth = (1 - n * omega) * self.values + omega * around
        else:
            across = self.ids[self.following[self.following]]
            diagonal = _summed(self.values[across], self.ids, len(self.values))
            smooth = (n * n * self.values + 4 * around + diagonal) / (n * (n + 5))
        return self._by_rule(self.edge_sharpness, self.value_sharpness, smooth, 4.0, 6.0)

    def _by_rule(
        self, edge_sharpness: Values, value_sharpness: Values, smooth: Values, own: float, total: float
    ) -> Values:
        """`smooth`, or along two sharp edges the mask (1, own, 1) / total, or at corners the value itself."""
        sharp = self.edges[edge_sharpness > 0]
        ends = np.bincount(sharp.ravel(), minlength=len(self.values))
        across = _summed(self.values[sharp[:, ::-1].ravel()], sharp.ravel(), len(self.values))
        result = smooth.copy()
        crease = ends == 2
        result[crease] = (own * self.values[crease] + across[crease]) / total
        corner = (ends > 2) | (value_sharpness > 0)
        result[corner] = self.values[corner]
        return result

    def _valences(self) -> Values:
        """(N, 1) edges at each value; 3 for those without any, which nothing draws."""
        n = np.bincount(self.edges.ravel(), minlength=len(self.values)).astype(np.float64)
        return np.where(n > 0, n, 3.0)[:, None]

    def _neighbor_sum(self) -> Values:
        return _summed(self.values[self.edges[:, ::-1].ravel()], self.edges.ravel(), len(self.values))


def boundary_faces(counts: Indices, indices: Indices) -> NDArray[np.bool_]:
    """(F,) faces that touch the mesh's border, which `interpolateBoundary = none` leaves out."""
    edges, edge_of = _edges(indices, counts)
    border = np.bincount(edge_of, minlength=len(edges)) != 2
    touched = np.zeros(int(indices.max()) + 1, bool)
    touched[edges[border].ravel()] = True
    face_of = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(face_of, touched[indices], len(counts)) > 0


def _shape_channel(cage: Cage) -> _Channel:
    edges, edge_of = _edges(cage.indices, cage.counts)
    edge_sharpness = np.zeros(len(edges))
    if len(cage.crease_edges):
        size = len(cage.points)
        keys = edges[:, 0] * size + edges[:, 1]
        wanted = cage.crease_edges.min(axis=1) * size + cage.crease_edges.max(axis=1)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found = keys[place] == wanted
        np.maximum.at(edge_sharpness, place[found], cage.crease_sharpness[found])
    edge_sharpness[np.bincount(edge_of, minlength=len(edges)) != 2] = INFINITE
    value_sharpness = np.zeros(len(cage.points))
    np.maximum.at(value_sharpness, cage.corners, cage.corner_sharpness)
    if cage.boundary == "edgeAndCorner":
        border = np.bincount(edges[edge_sharpness >= INFINITE].ravel(), minlength=len(cage.points))
        faces = np.bincount(cage.indices, minlength=len(cage.points))
        value_sharpness[(faces == 1) & (border >= 2)] = INFINITE
    if cage.scheme == "bilinear":
        edge_sharpness[:] = value_sharpness[:] = INFINITE
    return _Channel(
        cage.scheme, cage.points, cage.counts, cage.indices, edges, edge_of, edge_sharpness, value_sharpness
    )


def _layer_channel(layer: CornerValues, cage: Cage, shape: _Channel) -> _Channel:
    """Values welded where they agree at a point: what stays apart there is a seam."""
    values = layer.values[layer.rows]
    keyed = np.concatenate([cage.indices[:, None], values + 0.0], axis=1)
    rows, first, ids = np.unique(keyed, axis=0, return_index=True, return_inverse=True)
    ids = ids.reshape(-1)
    edges, edge_of = _edges(ids, cage.counts)
    edge_sharpness = np.zeros(len(edges))
    edge_sharpness[edge_of] = shape.edge_sharpness[shape.edge_of]
    seam = np.bincount(edge_of, minlength=len(edges)) != 2
    edge_sharpness[seam] = INFINITE
    point_of = cage.indices[first]
    value_sharpness = shape.value_sharpness[point_of].copy()
    linear = layer.interpolation == "all" or cage.scheme == "bilinear"
    value_sharpness[_sharp_values(layer.interpolation, ids, edges[seam], point_of)] = INFINITE
    channel = _Channel(
        cage.scheme, rows[:, 1:], cage.counts, ids, edges, edge_of, edge_sharpness, value_sharpness
    )
    if linear and cage.scheme != "loop":
        everything = np.full(len(edges), INFINITE), np.full(len(rows), INFINITE)
        return replace(
            channel, scheme="bilinear", edge_sharpness=everything[0], value_sharpness=everything[1]
        )
    return channel


def _sharp_values(mode: str, ids: Indices, seams: Indices, point_of: Indices) -> NDArray[np.bool_]:
    """(N,) values that face-varying interpolation `mode` pins, see OpenSubdiv's FVarLinearInterpolation."""
    count = len(point_of)
    on_seam = np.bincount(seams.ravel(), minlength=count) > 0
    if mode in ("none", "vertex"):
        return np.zeros(count, bool)
    if mode == "all":
        return np.ones(count, bool)
    if mode == "boundaries":
        return on_seam
    corner = on_seam & (np.bincount(ids, minlength=count) == 1)
    if mode == "cornersOnly":
        return corner
    points = int(point_of.max()) + 1
    regions = np.bincount(point_of, minlength=points)
    pinned = corner | (on_seam & (regions[point_of] >= 3))
    if mode == "cornersPlus2":
        has_corner = np.bincount(point_of, corner, points) > 0
        dart = on_seam & (regions[point_of] == 1)
        pinned |= on_seam & (regions[point_of] == 2) & has_corner[point_of]
        # A seam that ends inside: one value, with both sides of the cut around it.
        other_end = np.zeros(count, bool)
        split = regions[point_of[seams]] > 1
        other_end[seams[split[:, ::-1]]] = True
        pinned |= dart & other_end
    return pinned


def _deviation(shape: _Channel, finer: _Channel) -> float:
    """Distance from this level's flat faces that WITHIN of the next level's new limit points keep."""
    points, new, count = shape.limit(), finer.limit(), len(shape.values)
    start, end = points[shape.edges[:, 0]], points[shape.edges[:, 1]]
    along = end - start
    length = np.linalg.norm(along, axis=1)
    offset = new[count : count + len(start)] - start
    area = np.linalg.norm(np.cross(offset, along), axis=1)
    distance = np.divide(area, length, out=np.linalg.norm(offset, axis=1), where=length > 0)
    if shape.scheme != "loop":
        a, b, c, d = (points[shape.ids.reshape(-1, 4)[:, k]] for k in range(4))
        normal = np.cross(c - a, d - b)
        size = np.linalg.norm(normal, axis=1)
        height = np.abs(np.einsum("ij,ij->i", new[count + len(start) :] - 0.5 * (a + c), normal))
        height = np.divide(height, size, out=np.zeros_like(size), where=size > 0)
        distance = np.concatenate([distance, height])
    return float(np.quantile(distance, WITHIN, method="higher"))


def _corner_normals(shape: _Channel, points: Values) -> tuple[Values, Indices]:
    """Unit normals and their row per corner, averaged around each point up to sharp edges.

    Weights of Max, "Weights for Computing Vertex Normals from Facet Normals" (1999): right on spheres.
    """
    following = shape.following
    before = np.empty_like(following)
    before[following] = np.arange(len(following))
    here = points[shape.ids]
    ahead, back = points[shape.ids[following]] - here, points[shape.ids[before]] - here
    squares = np.einsum("ij,ij->i", ahead, ahead) * np.einsum("ij,ij->i", back, back)
    weighted = np.cross(ahead, back)
    weighted = np.divide(weighted, squares[:, None], out=np.zeros_like(weighted), where=squares[:, None] > 0)
    groups = shape.ids if not (shape.edge_sharpness > 0).any() else _smooth_corners(shape)
    groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
    total = _summed(weighted, groups, int(groups.max()) + 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0), groups


def _smooth_corners(shape: _Channel) -> Indices:
    """(H,) a number shared by the corners around a point that no sharp edge parts."""
    following = shape.following
    pairs = np.argsort(shape.edge_of, kind="stable")
    per_edge = np.bincount(shape.edge_of, minlength=len(shape.edges))
    first = np.cumsum(per_edge) - per_edge
    joined = (per_edge == 2) & (shape.edge_sharpness <= 0)
    one, two = pairs[first[joined]], pairs[first[joined] + 1]
    opposed = shape.ids[one] != shape.ids[two]  # as it should be: the faces run along the edge both ways
    a = np.concatenate([one, following[one]])
    b = np.concatenate([np.where(opposed, following[two], two), np.where(opposed, two, following[two])])
    return connected(len(shape.ids), a, b).astype(np.int64)


def _edges(ids: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Edges (E, 2), lower row first and sorted, and the edge (H,) that starts at each corner."""
    ends = ids[_following(counts)]
    low, high = np.minimum(ids, ends), np.maximum(ids, ends)
    size = int(ids.max()) + 1
    keys, edge_of = np.unique(low * size + high, return_inverse=True)
    return np.stack(np.divmod(keys, size), axis=1), edge_of.reshape(-1)


def _following(counts: Indices) -> Indices:
    """(H,) the next corner of the same face."""
    end = np.cumsum(counts)
    following = np.arange(1, int(end[-1]) + 1)
    following[end - 1] = end - counts
    return following


def _worn(sharpness: Values) -> Values:
    return np.where(sharpness >= INFINITE, sharpness, np.maximum(sharpness - 1, 0))


def _summed(values: Values, rows: Indices, size: int) -> Values:
    """(size, K) sums of `values` by `rows`; faster than np.add.at."""
    # numpy counts in integers where there is nothing to weigh
    columns = [np.bincount(rows, values[:, k], size).astype(np.float64) for k in range(values.shape[1])]
    return np.stack(columns, axis=1)
