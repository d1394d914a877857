"""Authoring the recovered mesh as a UsdGeom.Mesh."""

from __future__ import annotations

from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.matrices import Matrix, transform_normals, transform_points, unit
from usd_tools.obj import ObjMesh

UV_PRIMVAR = "st"


def define_mesh(stage: Any, path: str, mesh: ObjMesh, to_local: Matrix) -> Any:
    """A UsdGeom.Mesh at `path`: triangles, `st` and normals per corner, no subdivision.

    to_local: (4, 4) affine, from the dataset frame to the prim's own space. Where it mirrors, the mesh is
        left-handed, so that its corners stay in order and its outside stays outside.

    There is no tangents primvar. The maps are baked in MikkTSpace frames of these very UVs and normals, which
    Karma and Cycles make themselves where no tangents are given, and which Storm's screen-space derivatives
    agree with. Authored tangents would be read by some renderers only, and make them differ as soon as
    somebody edits the UVs.

    Raises:
        UserError: the mesh has no UVs.
    """
    from pxr import Sdf, UsdGeom, Vt

    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError("the recovered mesh has no UVs; its textures cannot be applied, train again")
    prim = UsdGeom.Mesh.Define(stage, path)
    points = transform_points(to_local, mesh.vertices).astype(np.float32)
    vertices = Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(points))
    prim.CreatePointsAttr(vertices)
    prim.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(vertices))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    prim.CreateFaceVertexIndicesAttr(_integers(mesh.faces))
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    if np.linalg.det(to_local[:3, :3]) < 0:
        prim.CreateOrientationAttr(UsdGeom.Tokens.leftHanded)
    st = UsdGeom.PrimvarsAPI(prim).CreatePrimvar(
        UV_PRIMVAR, Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(mesh.uvs, np.float32)))
    st.SetIndices(_integers(mesh.uv_faces))
    if mesh.normals is not None and mesh.normal_faces is not None:
        normals = unit(transform_normals(to_local, mesh.normals))[mesh.normal_faces].reshape(-1, 3)
        prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(normals, np.float32)))
        prim.SetNormalsInterpolation(UsdGeom.Tokens.faceVarying)
    return prim


def _integers(values: Any) -> Any:
    from pxr import Vt

    return Vt.IntArray.FromNumpy(np.ascontiguousarray(values, np.int32).reshape(-1))


def copy_transform(source: Any, target: Any) -> None:
    """Gives the prim `target` the transform operations of `source`, with all their samples.

    Operation by operation, because matrices in their place would turn differently between samples.
    """
    from pxr import UsdGeom

    order = source.GetAttribute("xformOpOrder").Get() if source.HasAttribute("xformOpOrder") else None
    if not order:
        return
    for operation in order:
        attribute = source.GetAttribute(operation.removeprefix("!invert!"))
        if not attribute or target.GetAttribute(attribute.GetName()).HasAuthoredValue():
            continue  # the token that resets the stack, or a pivot that is listed twice
        copy = target.CreateAttribute(attribute.GetName(), attribute.GetTypeName(), False)
        for time in attribute.GetTimeSamples():
            copy.Set(attribute.Get(time), time)
        if not attribute.GetTimeSamples():
            copy.Set(attribute.Get())
    UsdGeom.Xformable(target).CreateXformOpOrderAttr(order)
