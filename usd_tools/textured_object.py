"""The object to recover as one mesh: all its meshes and material subsets, each triangle with its look."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError
from usd_tools.looks.network import Look
from usd_tools.looks.reading import read_look
from usd_tools.matrices import Matrix
from usd_tools.mesh_reading import TriangleMesh, find_uv_primvar, read_triangles
from usd_tools.obj import ObjMesh

log = logging.getLogger(__name__)

Indices = npt.NDArray[np.int64]
UvSet = tuple[Matrix, Indices]


@dataclass(frozen=True)
class TexturedObject:
    """mesh: its texture coordinates are those that each triangle's look reads most.

    looks: the distinct ones; none where looks were not asked for. face_looks: (F,) each triangle's.
    uv_sets: values and (F, 3) rows of the other coordinates that looks read, by primvar; triangles whose look
    does not read a set have their main coordinates there.
    """

    mesh: ObjMesh
    looks: tuple[Look, ...] = ()
    face_looks: Indices = field(default_factory=lambda: np.zeros(0, np.int64))
    uv_sets: dict[str, UvSet] = field(default_factory=dict)


def read_object(meshes: Sequence[Any], time: float, with_looks: bool = True) -> TexturedObject:
    """The UsdGeom.Meshes as one object in stage space.

    Raises:
        UserError: a mesh or a look cannot be read (see `read_mesh`, `read_look`).
    """
    known: dict[str, int] = {}
    looks: list[Look] = []
    parts: list[TexturedObject] = []
    for mesh in meshes:
        if not with_looks:
            parts.append(TexturedObject(read_triangles(mesh, time, [None]).mesh))
            continue
        part = _read_part(mesh, time)
        numbers = []
        for look in part.looks:
            key = repr(look)
            if key not in known:
                known[key] = len(looks)
                looks.append(look)
            numbers.append(known[key])
        parts.append(replace(part, face_looks=np.array(numbers, np.int64)[part.face_looks]))
    return _merged(parts, tuple(looks))


def _read_part(mesh: Any, time: float) -> TexturedObject:
    """One mesh with its subsets' looks, whose primvars are named as the mesh has them."""
    found, owners = _bound_looks(mesh, time)
    looks = [_with_own_primvars(look, mesh) for look in found]
    # The main coordinates of each look, of plain ones whatever the mesh has.
    mains = [(look.uv_primvars() or [None])[0] for look in looks]
    names: list[str | None] = list(dict.fromkeys(mains + [n for look in looks for n in look.uv_primvars()]))
    triangles = read_triangles(mesh, time, names)
    face_looks = owners[triangles.polygons]
    if (face_looks < 0).any():
        raise UserError(
            f"{mesh.GetPath()}: has faces without material beside its GeomSubsets; bind one to the mesh too"
        )
    uvs, uv_faces = _chosen(triangles, [mains[look] for look in range(len(looks))], face_looks)
    others = {
        name: _chosen(
            triangles,
            [name if name in look.uv_primvars() else main for look, main in zip(looks, mains)],
            face_looks,
        )
        for name in names
        if name is not None and any(name in look.uv_primvars()[1:] for look in looks)
    }
    shape = replace(triangles.mesh, uvs=uvs, uv_faces=uv_faces)
    return TexturedObject(shape, tuple(looks), face_looks, others)


def _bound_looks(mesh: Any, time: float) -> tuple[list[Look], Indices]:
    """The looks of a mesh and, for each of its faces, which (-1: none)."""
    from pxr import UsdShade

    prim = mesh.GetPrim()
    subsets = UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets()
    faces = len(mesh.GetFaceVertexCountsAttr().Get(time) or [])
    owners = np.full(faces, -1, np.int64)
    looks: list[Look] = []
    for subset in subsets:
        rows = np.array(subset.GetIndicesAttr().Get(time) or [], np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= faces):
            raise UserError(f"{subset.GetPath()}: names faces that {prim.GetPath()} does not have")
        if str(subset.GetElementTypeAttr().Get(time)) != "face":
            raise UserError(f"{subset.GetPath()}: is no subset of faces; materials are bound to faces")
        rows = rows[owners[rows] < 0]
        if len(rows):
            looks.append(read_look(subset, time))
            owners[rows] = len(looks) - 1
    if not looks or ((owners < 0).any() and UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]):
        looks.append(read_look(prim, time))
        owners[owners < 0] = len(looks) - 1
    return looks, owners


def _with_own_primvars(look: Look, mesh: Any) -> Look:
    """The look with the primvars that `find_uv_primvar` finds for those it names."""
    actual = {}
    for name in look.uv_primvars():
        actual[name] = str(find_uv_primvar(mesh, name).GetPrimvarName())
        if name not in (None, "st", "UVMap", actual[name]):
            log.warning("%s: has no primvars:%s, which its material reads", mesh.GetPath(), name)
    nodes = tuple(
        replace(node, settings={"primvar": actual.get(node.settings["primvar"], node.settings["primvar"])})
        if node.operation == "uv"
        else node
        for node in look.nodes
    )
    return Look(nodes, look.channels)


def _chosen(triangles: TriangleMesh, names: Sequence[str | None], face_looks: Indices) -> UvSet:
    """One set of coordinates in which the triangles of each look have those of its name."""
    values, faces, total = [], np.zeros((len(face_looks), 3), np.int64), 0
    for name in dict.fromkeys(names):
        rows, indices = triangles.uv_sets[name]
        mine = np.isin(face_looks, [look for look, own in enumerate(names) if own == name])
        faces[mine] = indices[mine] + total
        values.append(rows)
        total += len(rows)
    return np.concatenate(values), faces


def _merged(parts: Sequence[TexturedObject], looks: tuple[Look, ...]) -> TexturedObject:
    if len(parts) == 1:
        return replace(parts[0], looks=looks)
    mains = [_present(part.mesh.uvs, part.mesh.uv_faces) for part in parts]
    shape = ObjMesh(
        *_stacked([_present(part.mesh.vertices, part.mesh.faces) for part in parts]),
        *_stacked(mains),
        *_stacked([_present(part.mesh.normals, part.mesh.normal_faces) for part in parts]),
    )
    names = dict.fromkeys(name for part in parts for name in part.uv_sets)
    sets = {
        name: _stacked([part.uv_sets.get(name, main) for part, main in zip(parts, mains)]) for name in names
    }
    return TexturedObject(shape, looks, np.concatenate([part.face_looks for part in parts]), sets)


def _present(values: Any, faces: Any) -> UvSet:
    assert values is not None and faces is not None, "meshes are read with texture coordinates and normals"
    return values, faces


def _stacked(pieces: Sequence[UvSet]) -> UvSet:
    start = np.cumsum([0, *(len(values) for values, _ in pieces)])
    return (
        np.concatenate([values for values, _ in pieces]),
        np.concatenate([faces + begin for (_, faces), begin in zip(pieces, start)]),
    )
