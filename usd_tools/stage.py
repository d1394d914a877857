"""Reading stages: opening, choosing the object and its camera, composed meshes. Nothing is ever edited."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError
from usd_tools.files import is_url
from usd_tools.matrices import Matrix, column_matrix, transform_normals, transform_points, unit
from usd_tools.obj import ObjMesh

log = logging.getLogger(__name__)

Indices = npt.NDArray[np.int64]


def open_stage(path: str | Path, variants: Sequence[str] = ()) -> Any:
    """The composed Usd.Stage at `path`; variant choices (`SET=CHOICE`) go to its session layer only.

    Raises:
        UserError: the file is missing or no USD, or no prim has such a variant.
    """
    try:
        from pxr import Tf, Usd
    except ImportError as error:
        raise UserError(
            f"USD's Python module pxr is missing ({error}); install usd-core, or run in hython"
        ) from None
    if is_url(str(path)):
        raise UserError(f"{path}: is a URL; expected a USD file on this machine")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such stage; check the path")
    try:
        stage = Usd.Stage.Open(str(path))
    except Tf.ErrorException as error:
        raise UserError(
            f"{path}: cannot be read as USD ({usd_reason(error)}); export the stage again"
        ) from None
    for variant in variants:
        _choose_variant(stage, variant)
    return stage


def usd_reason(error: Exception) -> str:
    """The first message of a Tf.ErrorException, without USD's source lines; a full disk brings thousands."""
    told = re.search(r" : '(.+?)'(?=\s|$)", str(error), re.DOTALL)
    return " ".join(told[1].split())[:300] if told else "USD gives no reason"


def _choose_variant(stage: Any, choice: str) -> None:
    from pxr import Usd

    name, equals, value = choice.partition("=")
    if not (name and equals and value):
        raise UserError(f"--variant {choice}: expected SET=CHOICE")
    known: set[str] = set()
    chosen = False
    with Usd.EditContext(stage, stage.GetSessionLayer()):
        for prim in list(stage.Traverse()):
            if prim.IsValid() and prim.GetVariantSets().HasVariantSet(name):
                variants = prim.GetVariantSet(name)
                known.update(variants.GetVariantNames())
                if value in variants.GetVariantNames():
                    variants.SetVariantSelection(value)
                    chosen = True
    if not chosen:
        have = f"it offers {', '.join(sorted(known))}" if known else "no prim has such a set"
        raise UserError(f"--variant {choice}: not in the stage; {have}")


def up_axis(stage: Any) -> str:
    """ "Y" or "Z"."""
    from pxr import UsdGeom

    return str(UsdGeom.GetStageUpAxis(stage))


def meters_per_unit(stage: Any) -> float:
    from pxr import UsdGeom

    return float(UsdGeom.GetStageMetersPerUnit(stage))


def active_prims(root: Any) -> list[Any]:
    """All active, defined, loaded prims at and below `root`, inside instances as well."""
    from pxr import Usd

    return list(Usd.PrimRange(root, Usd.TraverseInstanceProxies()))


def is_rendered(prim: Any, time: float) -> bool:
    """Visible at `time`, and of the purpose that renderers draw."""
    from pxr import UsdGeom

    imageable = UsdGeom.Imageable(prim)
    return imageable.ComputeVisibility(time) != UsdGeom.Tokens.invisible and imageable.ComputePurpose() in (
        UsdGeom.Tokens.default_,
        UsdGeom.Tokens.render,
    )


def prim_at(stage: Any, path: str, option: str) -> Any:
    """The prim at `path`.

    Raises:
        UserError: `path` is malformed or names none.
    """
    from pxr import Sdf

    if not Sdf.Path.IsValidPathString(path) or not path.startswith("/"):
        raise UserError(f"{option} {path}: expected a prim path such as /World/object")
    prim = stage.GetPrimAtPath(path)
    if not prim or not prim.IsActive():
        raise UserError(f"{option} {path}: no such active prim in {stage.GetRootLayer().GetDisplayName()}")
    return prim


def find_mesh(stage: Any, path: str | None = None, time: float = 1.0) -> Any:
    """The UsdGeom.Mesh to recover: the one at or below `path`, or else the only visible one of the stage.

    Raises:
        UserError: there is none, or more than one (they are named).
    """
    from pxr import UsdGeom

    root = stage.GetPseudoRoot() if path is None else prim_at(stage, path, "--object")
    where = stage.GetRootLayer().GetDisplayName() if path is None else f"--object {path}"
    meshes = [prim for prim in active_prims(root) if prim.IsA(UsdGeom.Mesh)]
    visible = [prim for prim in meshes if is_rendered(prim, time)]
    if path is not None and root.IsA(UsdGeom.Mesh):
        visible = [root]  # named by the user: visible or not
    if not visible:
        what = "only invisible meshes, proxies or guides" if meshes else "no mesh"
        raise UserError(f"{where}: has {what}; expected one visible mesh, name it by --object")
    if len(visible) > 1:
        names = ", ".join(str(prim.GetPath()) for prim in visible[:6])
        more = ", ..." if len(visible) > 6 else ""
        raise UserError(f"{where}: has {len(visible)} meshes ({names}{more}); name one by --object")
    return UsdGeom.Mesh(visible[0])


def find_camera(stage: Any, path: str | None = None) -> Any:
    """The UsdGeom.Camera at `path`, or else the stage's only one.

    Raises:
        UserError: `path` is no camera; there is none, or more than one (they are named).
    """
    from pxr import UsdGeom

    if path is not None:
        prim = prim_at(stage, path, "--camera")
        if not prim.IsA(UsdGeom.Camera):
            raise UserError(
                f"--camera {path}: is a {prim.GetTypeName() or 'prim without type'}, not a camera"
            )
        return UsdGeom.Camera(prim)
    cameras = [prim for prim in active_prims(stage.GetPseudoRoot()) if prim.IsA(UsdGeom.Camera)]
    name = stage.GetRootLayer().GetDisplayName()
    if not cameras:
        raise UserError(f"{name}: has no camera; add the one the pictures were rendered through")
    if len(cameras) > 1:
        names = ", ".join(str(prim.GetPath()) for prim in cameras[:6])
        raise UserError(f"{name}: has {len(cameras)} cameras ({names}); name one by --camera")
    return UsdGeom.Camera(cameras[0])


def aperture_policy(stage: Any) -> str:
    """The aspectRatioConformPolicy of the stage's render settings, `expandAperture` without any.

    Raises:
        UserError: it is none of USD's.
    """
    from pxr import UsdRender

    from usd_tools.cameras import APERTURE_POLICIES

    settings = UsdRender.Settings.GetStageRenderSettings(stage)
    if not settings:
        return "expandAperture"
    policy = str(settings.GetAspectRatioConformPolicyAttr().Get() or "expandAperture")
    if policy not in APERTURE_POLICIES:
        raise UserError(
            f"{settings.GetPath()}: aspectRatioConformPolicy {policy}; expected one of "
            f"{', '.join(APERTURE_POLICIES)}"
        )
    return policy


def stage_frames(stage: Any, camera: Any) -> list[float] | None:
    """The frames of the stage: its authored range in whole steps, else its camera's samples, or None."""
    from pxr import UsdGeom

    if stage.HasAuthoredTimeCodeRange() and stage.GetEndTimeCode() >= stage.GetStartTimeCode():
        first, last = stage.GetStartTimeCode(), stage.GetEndTimeCode()
        return [first + i for i in range(int(last - first + 1e-6) + 1)]
    samples = UsdGeom.Xformable(camera).GetTimeSamples()
    return [float(time) for time in samples] or None


def value_at(attribute: Any, time: float) -> Any:
    """An attribute's value at `time`, its schema's fallback included.

    Raises:
        UserError: it has none there: the value is blocked, or was never given.
    """
    value = attribute.Get(time)
    if value is None:
        raise UserError(f"{attribute.GetPath()}: has no value at frame {time:g}; give it one")
    return value


def world_matrix(prim: Any, time: float) -> Matrix:
    """Local-to-world (4, 4) of a prim at `time`, column vectors, stage space.

    Raises:
        UserError: it is singular, not finite, or an animated part of it has no value at `time`.
    """
    from pxr import UsdGeom

    _check_transform_values(prim, time)
    matrix = column_matrix(UsdGeom.Imageable(prim).ComputeLocalToWorldTransform(time))
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-30:
        raise UserError(
            f"{prim.GetPath()}: its transform at frame {time:g} is singular; remove the zero scale"
        )
    return matrix


def _check_transform_values(prim: Any, time: float) -> None:
    """USD silently takes a blocked sample of a transform as identity; no artist means that."""
    from pxr import UsdGeom

    while prim and not prim.IsPseudoRoot():
        xformable = UsdGeom.Xformable(prim)
        if xformable:
            for operation in xformable.GetOrderedXformOps():
                if operation.GetNumTimeSamples():
                    value_at(operation.GetAttr(), time)
            if xformable.GetResetXformStack():
                return
        prim = prim.GetParent()


def load_mesh(stage_path: str | Path, prim_path: str | None = None, time: float | None = None) -> ObjMesh:
    """The composed mesh at `prim_path` in STAGE space (see `read_mesh`), at `time` or the first frame."""
    stage = open_stage(stage_path)
    time = stage.GetStartTimeCode() if time is None else time
    return read_mesh(find_mesh(stage, prim_path, time), time)


def read_mesh(mesh: Any, time: float, uv_primvar: str | None = None) -> ObjMesh:
    """A UsdGeom.Mesh as triangles in stage space, float64, counter-clockwise seen from outside.

    Polygons become fans. Normals are the authored ones; a polygon mesh without any is faceted, as USD tells
    renderers to draw it, and a subdivision cage gets smooth ones. Texture coordinates come from
    `uv_primvar`, `st`, `UVMap` or the first texCoord2f primvar.

    Raises:
        UserError: the mesh has no faces or no UVs, or its arrays do not fit together.
    """
    from pxr import UsdGeom

    path = str(mesh.GetPath())
    points = np.array(mesh.GetPointsAttr().Get(time) or [], np.float64).reshape(-1, 3)
    counts = np.array(mesh.GetFaceVertexCountsAttr().Get(time) or [], np.int64)
    indices = np.array(mesh.GetFaceVertexIndicesAttr().Get(time) or [], np.int64)
    _check_topology(path, points, counts, indices)
    scheme = mesh.GetSubdivisionSchemeAttr().Get(time)
    if scheme not in (UsdGeom.Tokens.none, None):
        log.warning("%s: subdivisionScheme %s: the cage is used, not the subdivided surface", path, scheme)

    corners, face_of = _triangle_fans(counts)
    matrix = world_matrix(mesh.GetPrim(), time)
    # A mirroring transform turns the winding around, and so does leftHanded.
    left_handed = mesh.GetOrientationAttr().Get(time) == UsdGeom.Tokens.leftHanded
    if left_handed != (np.linalg.det(matrix[:3, :3]) < 0):
        corners = corners[:, ::-1]

    faces = indices[corners]
    domain = _Domain(path, len(points), len(counts), indices, corners, face_of)
    uvs, uv_faces = _read_uvs(mesh, time, uv_primvar, domain)
    vertices = transform_points(matrix, points)
    normals, normal_faces = _read_normals(mesh, time, domain)
    if normals is not None:
        normals = transform_normals(matrix, normals)
    elif scheme in (UsdGeom.Tokens.none, UsdGeom.Tokens.bilinear, None):
        normals, normal_faces = _facet_normals(vertices, faces, face_of)
    else:
        normals, normal_faces = _smooth_normals(vertices, faces), faces
    return ObjMesh(vertices, faces, uvs, uv_faces, normals, normal_faces)


def _check_topology(path: str, points: Matrix, counts: Indices, indices: Indices) -> None:
    if not len(points) or not len(counts):
        raise UserError(f"{path}: has no points or no faces; expected a mesh")
    if not np.isfinite(points).all():
        raise UserError(f"{path}: has points that are not finite; export the mesh again")
    if counts.min() < 3 or counts.sum() != len(indices):
        raise UserError(f"{path}: faceVertexCounts do not fit faceVertexIndices; export the mesh again")
    if indices.min() < 0 or indices.max() >= len(points):
        raise UserError(f"{path}: faceVertexIndices name points that do not exist; export the mesh again")


def _triangle_fans(counts: Indices) -> tuple[Indices, Indices]:
    """Corners (F, 3) as rows of the face-vertex arrays, and the polygon (F,) of each triangle."""
    first = np.cumsum(counts) - counts
    per_face = counts - 2
    face_of = np.repeat(np.arange(len(counts)), per_face)
    step = np.arange(len(face_of)) - np.repeat(np.cumsum(per_face) - per_face, per_face) + 1
    corners = first[face_of][:, None] + np.stack([np.zeros_like(step), step, step + 1], axis=1)
    return corners, face_of


class _Domain:
    """Turns a primvar's interpolation into rows per triangle corner."""

    def __init__(
        self, path: str, points: int, polygons: int, indices: Indices, corners: Indices, face_of: Indices
    ) -> None:
        self.path = path
        self._rows = {
            "vertex": (points, indices[corners]),
            "varying": (points, indices[corners]),
            "faceVarying": (len(indices), corners),
            "uniform": (polygons, np.repeat(face_of[:, None], 3, axis=1)),
            "constant": (1, np.zeros_like(corners)),
        }

    def corner_rows(self, name: str, interpolation: str, values: int, index: Indices | None) -> Indices:
        """(F, 3) rows into the primvar's values.

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


def _read_uvs(mesh: Any, time: float, name: str | None, domain: _Domain) -> tuple[Matrix, Indices]:
    primvar = find_uv_primvar(mesh, name)
    values, index = _primvar_values(primvar, time, 2)
    if not np.isfinite(values).all():
        raise UserError(f"{domain.path}: has UVs that are not finite; export the mesh again")
    interpolation = str(primvar.GetInterpolation())
    rows = domain.corner_rows(str(primvar.GetName()), interpolation, len(values), index)
    if interpolation in ("constant", "uniform"):
        raise UserError(f"{domain.path}: its UVs are {interpolation}; expected faceVarying or vertex ones")
    return values, rows


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
    polygons = int(face_of.max()) + 1
    total = np.zeros((polygons, 3))
    np.add.at(total, face_of, _area_vectors(vertices, faces))
    return unit(total), np.repeat(face_of[:, None], 3, axis=1)


def _smooth_normals(vertices: Matrix, faces: Indices) -> Matrix:
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], _area_vectors(vertices, faces))
    return unit(total)


def _area_vectors(vertices: Matrix, faces: Indices) -> Matrix:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)
