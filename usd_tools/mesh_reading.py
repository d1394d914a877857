"""A UsdGeom.Mesh as triangles: any polygons, subdivision surfaces, primvars in every interpolation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError
from usd_tools.matrices import Matrix, transform_normals, transform_points, unit
from usd_tools.obj import ObjMesh
from usd_tools.polygons import triangulate
from usd_tools.stage import find_mesh, open_stage, world_matrix
from usd_tools.subdivision import TOLERANCE, Cage, CornerValues, boundary_faces, limit_surface

log = logging.getLogger(__name__)

Indices = npt.NDArray[np.int64]

SCHEMES = ("none", "bilinear", "catmullClark", "loop")


@dataclass(frozen=True)
class TriangleMesh:
    """mesh: triangles with the first texture coordinates asked for.

    polygons: (F,) the face of the stage's mesh that each triangle is part of. uv_sets: values and (F, 3)
    rows of every set asked for, by the name it was asked by.
    """

    mesh: ObjMesh
    polygons: Indices
    uv_sets: dict[str | None, tuple[Matrix, Indices]]


def load_mesh(stage_path: str | Path, prim_path: str | None = None, time: float | None = None) -> ObjMesh:
    """The composed mesh at `prim_path` in STAGE space (see `read_mesh`), at `time` or the first frame."""
    stage = open_stage(stage_path)
    time = stage.GetStartTimeCode() if time is None else time
    return read_mesh(find_mesh(stage, prim_path, time), time)


def read_mesh(mesh: Any, time: float, uv_primvar: str | None = None) -> ObjMesh:
    """A UsdGeom.Mesh as triangles in stage space, float64, counter-clockwise seen from outside.

    Subdivision surfaces are divided until they are within `subdivision.TOLERANCE` of their limit, and have
    its normals. Polygon meshes keep their authored normals, and are faceted without any, as USD tells
    renderers to draw them. Texture coordinates come from `uv_primvar`, `st`, `UVMap` or the first texCoord2f
    primvar.

    Raises:
        UserError: the mesh has no faces or no UVs, or its arrays do not fit together.
    """
    return read_triangles(mesh, time, [uv_primvar]).mesh


def read_triangles(mesh: Any, time: float, uv_primvars: Sequence[str | None]) -> TriangleMesh:
    """As `read_mesh`, with several sets of texture coordinates (the first is the mesh's own), or none."""
    path = str(mesh.GetPath())
    points = np.array(mesh.GetPointsAttr().Get(time) or [], np.float64)
    if points.size % 3:
        raise UserError(f"{path}: its points are no positions; export the mesh again")
    points = points.reshape(-1, 3)
    counts = np.array(mesh.GetFaceVertexCountsAttr().Get(time) or [], np.int64)
    indices = np.array(mesh.GetFaceVertexIndicesAttr().Get(time) or [], np.int64)
    _check_topology(path, points, counts, indices)
    domain = _Domain(path, len(points), counts, indices)
    layers = [_read_uvs(mesh, time, name, domain) for name in uv_primvars]
    scheme = str(mesh.GetSubdivisionSchemeAttr().Get(time) or "none")
    if scheme not in SCHEMES:
        raise UserError(f"{path}: subdivisionScheme {scheme}; expected one of {', '.join(SCHEMES)}")
    holes = _read_holes(mesh, time, len(counts))
    if scheme == "none":
        polygons = _flat_polygons(mesh, time, points, counts, indices, layers, domain)
    else:
        polygons, border = _subdivided(mesh, time, scheme, points, counts, indices, layers)
        holes |= border
    if holes.all():
        raise UserError(f"{path}: all its faces are holes; nothing to see")

    corners, face_of = triangulate(polygons.points, polygons.counts, polygons.indices)
    visible = ~holes[polygons.parents[face_of]]
    corners, face_of = corners[visible], face_of[visible]
    matrix = world_matrix(mesh.GetPrim(), time)
    # A mirroring transform turns the winding around, and so does leftHanded.
    left_handed = str(mesh.GetOrientationAttr().Get(time)) == "leftHanded"
    mirrored = bool(np.linalg.det(matrix[:3, :3]) < 0)
    if left_handed != mirrored:
        corners = corners[:, ::-1]
    faces = polygons.indices[corners]
    vertices = transform_points(matrix, polygons.points)
    if polygons.normals is None:
        normals, normal_faces = _facet_normals(vertices, faces, face_of)
    else:
        assert polygons.normal_rows is not None, "normals come with rows"
        # Normals that were computed from the winding turn with it; authored ones already look outward.
        outward = -1.0 if left_handed and scheme != "none" else 1.0
        normals = transform_normals(matrix, outward * polygons.normals)
        normal_faces = polygons.normal_rows[corners]
    uv_sets = {name: (values, rows[corners]) for name, (values, rows) in zip(uv_primvars, polygons.layers)}
    uvs, uv_faces = uv_sets[uv_primvars[0]] if uv_primvars else (None, None)
    shape = ObjMesh(vertices, faces, uvs, uv_faces, normals, normal_faces)
    return TriangleMesh(shape, polygons.parents[face_of], uv_sets)


@dataclass(frozen=True)
class _Polygons:
    """Polygons in the mesh's own space; all rows are per corner (sum of counts,).

    parents: (F,) the stage's face each polygon comes from. normals: None for faceted ones.
    """

    points: Matrix
    counts: Indices
    indices: Indices
    parents: Indices
    layers: Sequence[tuple[Matrix, Indices]]
    normals: Matrix | None
    normal_rows: Indices | None


def _flat_polygons(
    mesh: Any,
    time: float,
    points: Matrix,
    counts: Indices,
    indices: Indices,
    layers: Sequence[CornerValues],
    domain: _Domain,
) -> _Polygons:
    normals, rows = _read_normals(mesh, time, domain)
    flat = [(layer.values, layer.rows) for layer in layers]
    return _Polygons(points, counts, indices, np.arange(len(counts)), flat, normals, rows)


def _subdivided(
    mesh: Any,
    time: float,
    scheme: str,
    points: Matrix,
    counts: Indices,
    indices: Indices,
    layers: Sequence[CornerValues],
) -> tuple[_Polygons, npt.NDArray[np.bool_]]:
    """The limit surface, and which of the cage's faces its boundary rule leaves out."""
    path = str(mesh.GetPath())
    if scheme == "loop" and (counts != 3).any():
        raise UserError(f"{path}: subdivisionScheme loop wants triangles only; use catmullClark")
    boundary = str(mesh.GetInterpolateBoundaryAttr().Get(time) or "edgeAndCorner")
    cage = Cage(points, counts, indices, scheme, boundary, **_read_creases(mesh, time, len(points)))
    if scheme == "catmullClark" and (counts == 3).any():
        rule = str(mesh.GetTriangleSubdivisionRuleAttr().Get(time) or "catmullClark")
        if rule != "catmullClark":
            log.warning("%s: triangleSubdivisionRule %s: its triangles are divided as others", path, rule)
    if mesh.GetNormalsAttr().HasAuthoredValue() or mesh.GetPrim().HasAttribute("primvars:normals"):
        log.warning(
            "%s: is a subdivision surface (%s), so its authored normals are not used; a polygon mesh should "
            "say subdivisionScheme none",
            path,
            scheme,
        )
    surface = limit_surface(cage, layers)
    half_extent = float(np.ptp(points, axis=0).max()) / 2
    if surface.deviation > TOLERANCE * half_extent:
        log.warning(
            "%s: is divided %d times only, for its size; off the limit surface by %.2g of its half size",
            path,
            surface.levels,
            surface.deviation / half_extent,
        )
    size = surface.faces.shape[1]
    polygons = _Polygons(
        surface.points,
        np.full(len(surface.faces), size),
        surface.faces.ravel(),
        surface.parents,
        [(values, rows.ravel()) for values, rows in surface.layers],
        surface.normals,
        surface.normal_faces.ravel(),
    )
    border = boundary_faces(counts, indices) if boundary == "none" else np.zeros(len(counts), bool)
    return polygons, border


def _read_creases(mesh: Any, time: float, points: int) -> dict[str, Any]:
    """The crease and corner arguments of `Cage`.

    Raises:
        UserError: the arrays do not fit together.
    """
    path = str(mesh.GetPath())
    lengths = np.array(mesh.GetCreaseLengthsAttr().Get(time) or [], np.int64)
    indices = np.array(mesh.GetCreaseIndicesAttr().Get(time) or [], np.int64)
    sharpness = np.array(mesh.GetCreaseSharpnessesAttr().Get(time) or [], np.float64)
    corners = np.array(mesh.GetCornerIndicesAttr().Get(time) or [], np.int64)
    corner_sharpness = np.array(mesh.GetCornerSharpnessesAttr().Get(time) or [], np.float64)
    edges = np.maximum(lengths - 1, 0)
    rows = np.concatenate([indices, corners])
    fits = (
        int(lengths.sum()) == len(indices)
        and (lengths >= 2).all()
        and len(sharpness) in (len(lengths), int(edges.sum()))
        and len(corners) == len(corner_sharpness)
        and (not len(rows) or (rows.min() >= 0 and rows.max() < points))
        and np.isfinite(sharpness).all()
        and np.isfinite(corner_sharpness).all()
    )
    if not fits:
        raise UserError(f"{path}: its crease or corner arrays do not fit together; export the mesh again")
    if len(sharpness) != int(edges.sum()):  # one figure for each crease instead of each edge
        sharpness = np.repeat(sharpness, edges)
    last = np.zeros(len(indices), bool)
    last[np.cumsum(lengths) - 1] = True
    start = np.flatnonzero(~last)
    return {
        "crease_edges": np.stack([indices[start], indices[start + 1]], axis=1).reshape(-1, 2),
        "crease_sharpness": sharpness,
        "corners": corners,
        "corner_sharpness": corner_sharpness,
    }


def _read_holes(mesh: Any, time: float, faces: int) -> npt.NDArray[np.bool_]:
    rows = np.array(mesh.GetHoleIndicesAttr().Get(time) or [], np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= faces):
        raise UserError(f"{mesh.GetPath()}: holeIndices name faces that do not exist; export the mesh again")
    holes = np.zeros(faces, bool)
    holes[rows] = True
    return holes


def _check_topology(path: str, points: Matrix, counts: Indices, indices: Indices) -> None:
    if not len(points) or not len(counts):
        raise UserError(f"{path}: has no points or no faces; expected a mesh")
    if not np.isfinite(points).all():
        raise UserError(f"{path}: has points that are not finite; export the mesh again")
    if counts.min() < 3 or counts.sum() != len(indices):
        raise UserError(f"{path}: faceVertexCounts do not fit faceVertexIndices; export the mesh again")
    if indices.min() < 0 or indices.max() >= len(points):
        raise UserError(f"{path}: faceVertexIndices name points that do not exist; export the mesh again")


class _Domain:
    """Turns a primvar's interpolation into rows per polygon corner."""

    def __init__(self, path: str, points: int, counts: Indices, indices: Indices) -> None:
        self.path = path
        self._rows = {
            "vertex": (points, indices),
            "varying": (points, indices),
            "faceVarying": (len(indices), np.arange(len(indices))),
            "uniform": (len(counts), np.repeat(np.arange(len(counts)), counts)),
            "constant": (1, np.zeros_like(indices)),
        }

    def corner_rows(self, name: str, interpolation: str, values: int, index: Indices | None) -> Indices:
        """(sum of counts,) rows into the primvar's values.

        Raises:
            UserError: there are not as many values (or indices) as the interpolation asks for.
        """
        expected, rows = self._rows.get(interpolation, (0, None))
        have = values if index is None else len(index)
        if rows is None or have != expected:
            raise UserError(
                f"{self.path}: {name} has {have} values, {interpolation} interpolation asks for {expected}; "
                "export the mesh again"
            )
        if index is None:
            return rows
        if len(index) and (index.min() < 0 or index.max() >= values):
            raise UserError(
                f"{self.path}: {name}:indices name values that do not exist; export the mesh again"
            )
        return index[rows]


def _primvar_values(primvar: Any, time: float, width: int) -> tuple[Matrix, Indices | None]:
    values = np.array(primvar.Get(time) or [], np.float64).reshape(-1, width)
    index = np.array(primvar.GetIndices(time) or [], np.int64) if primvar.IsIndexed() else None
    return values, index


def _read_uvs(mesh: Any, time: float, name: str | None, domain: _Domain) -> CornerValues:
    primvar = find_uv_primvar(mesh, name)
    values, index = _primvar_values(primvar, time, 2)
    if not np.isfinite(values).all():
        raise UserError(f"{domain.path}: has UVs that are not finite; export the mesh again")
    interpolation = str(primvar.GetInterpolation())
    rows = domain.corner_rows(str(primvar.GetName()), interpolation, len(values), index)
    if interpolation in ("constant", "uniform"):
        raise UserError(f"{domain.path}: its UVs are {interpolation}; expected faceVarying or vertex ones")
    linear = str(mesh.GetFaceVaryingLinearInterpolationAttr().Get(time) or "cornersPlus1")
    modes = {"vertex": "vertex", "varying": "all", "faceVarying": linear}
    return CornerValues(values, rows, modes[interpolation])


def find_uv_primvar(mesh: Any, name: str | None = None) -> Any:
    """The primvar with the texture coordinates: `name`, `st`, `UVMap`, or the first texCoord one.

    Raises:
        UserError: the mesh has none.
    """
    from pxr import Sdf, UsdGeom

    api = UsdGeom.PrimvarsAPI(mesh.GetPrim())
    kinds = (
        Sdf.ValueTypeNames.TexCoord2fArray,
        Sdf.ValueTypeNames.TexCoord2dArray,
        Sdf.ValueTypeNames.TexCoord2hArray,
        Sdf.ValueTypeNames.Float2Array,
        Sdf.ValueTypeNames.Double2Array,
        Sdf.ValueTypeNames.Half2Array,
    )
    for wanted in (name, "st", "UVMap"):
        primvar = api.FindPrimvarWithInheritance(wanted) if wanted else None
        if primvar and primvar.HasValue() and primvar.GetTypeName() in kinds:
            return primvar
    for primvar in api.GetPrimvarsWithValues():
        if primvar.GetTypeName() in kinds[:3]:
            return primvar
    raise UserError(f"{mesh.GetPath()}: has no UVs (primvars:st); expected a mesh with texture coordinates")


def _read_normals(mesh: Any, time: float, domain: _Domain) -> tuple[Matrix | None, Indices | None]:
    """The authored normals in the mesh's own space; primvars:normals wins over normals, as USD has it."""
    from pxr import UsdGeom

    primvar = UsdGeom.PrimvarsAPI(mesh.GetPrim()).GetPrimvar("normals")
    if primvar and primvar.HasValue():
        values, index = _primvar_values(primvar, time, 3)
        interpolation = str(primvar.GetInterpolation())
    else:
        values = np.array(mesh.GetNormalsAttr().Get(time) or [], np.float64).reshape(-1, 3)
        index, interpolation = None, str(mesh.GetNormalsInterpolation())
    if not len(values):
        return None, None
    if not np.isfinite(values).all():
        raise UserError(f"{domain.path}: has normals that are not finite; export the mesh again")
    return values, domain.corner_rows("normals", interpolation, len(values), index)


def _facet_normals(vertices: Matrix, faces: Indices, face_of: Indices) -> tuple[Matrix, Indices]:
    """One normal per polygon: the area-weighted one of its triangles."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    total = np.zeros((int(face_of.max()) + 1, 3))
    np.add.at(total, face_of, np.cross(b - a, c - a))
    return unit(total), np.repeat(face_of[:, None], 3, axis=1)
