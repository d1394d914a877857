"""The layer that brings a run's result into USD: mesh, look and light below /Recovered, in stage space."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.matrices import Matrix, row_matrix, transform_normals, transform_points, unit
from usd_tools.normalization import rotation_of
from usd_tools.obj import ObjMesh
from usd_tools.stage import active_prims, open_stage, prim_at
from usd_tools.usd_errors import usd_reason
from usd_tools.usd_preview_surface import define_preview_surface

log = logging.getLogger(__name__)

ROOT = "/Recovered"
MESH = f"{ROOT}/mesh"
MATERIAL = f"{ROOT}/looks/recovered"
LIGHT = f"{ROOT}/light"

_STAGE_METADATA = (
    "metersPerUnit",
    "upAxis",
    "startTimeCode",
    "endTimeCode",
    "timeCodesPerSecond",
    "framesPerSecond",
)


@dataclass(frozen=True)
class Recovered:
    """A run's result in the dataset frame.

    textures: asset path of each channel, as the layer will name it. probe: that of the recovered light, None
        where the light was known. stage_to_dataset: (4, 4) similarity, column vectors.
    """

    mesh: ObjMesh
    textures: Mapping[str, str]
    probe: str | None
    stage_to_dataset: Matrix
    up_axis: str
    meters_per_unit: float


def write_layer(path: Path, recovered: Recovered) -> None:
    """A layer that stands alone: /Recovered is its default prim. The suffix of `path` decides the format."""
    from pxr import Usd, UsdGeom

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, recovered.up_axis)
    UsdGeom.SetStageMetersPerUnit(stage, recovered.meters_per_unit)
    stage.SetDefaultPrim(_define(stage, recovered).GetPrim())
    _save(stage, path)


def write_layer_over(path: Path, recovered: Recovered, original: str | Path, object_path: str) -> None:
    """A layer over the stage `original`, whose file stays as it is: the object is hidden, /Recovered added.

    Raises:
        UserError: `original` cannot be read, has no such object, or already has something at /Recovered.
    """
    from pxr import Usd, UsdGeom

    source = open_stage(original)
    prim = prim_at(source, object_path, "--object")
    if prim.IsInstanceProxy() or prim.IsInPrototype():
        raise UserError(
            f"--object {object_path}: lies inside an instance and cannot be hidden; uninstance it"
        )
    if not prim.IsA(UsdGeom.Imageable):
        raise UserError(
            f"--object {object_path}: is a {prim.GetTypeName() or 'prim without type'}; expected a mesh"
        )
    if source.GetPrimAtPath(ROOT):
        raise UserError(f"{original}: already has a prim {ROOT}; give the stage without an earlier result")
    domes = _lights_to_hide(source) if recovered.probe else []
    stage = Usd.Stage.CreateNew(str(path))
    root = stage.GetRootLayer()
    root.subLayerPaths.append(relative_asset(Path(original), path.parent))
    for name in _STAGE_METADATA:
        if source.HasAuthoredMetadata(name):
            stage.SetMetadata(name, source.GetMetadata(name))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.GetStageUpAxis(source))
    UsdGeom.SetStageMetersPerUnit(stage, UsdGeom.GetStageMetersPerUnit(source))
    if source.HasDefaultPrim():
        root.defaultPrim = source.GetRootLayer().defaultPrim
    for hidden in (object_path, *domes):
        over = UsdGeom.Imageable(stage.OverridePrim(hidden))
        over.CreateVisibilityAttr(UsdGeom.Tokens.invisible)
    stage.GetPrimAtPath(object_path).SetMetadata("comment", f"hidden: {MESH} stands in its place")
    _define(stage, recovered)
    _save(stage, path)


def relative_asset(file: Path, folder: Path) -> str:
    """`file` as an asset path relative to `folder`; absolute where there is no relative way (other drive)."""
    try:
        relative = Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return file.resolve().as_posix()
    return relative if relative.startswith("../") else f"./{relative}"


def _lights_to_hide(stage: Any) -> list[str]:
    """The original's domes: beside the recovered light they would light everything twice."""
    domes = [
        prim for prim in active_prims(stage.GetPseudoRoot()) if prim.GetTypeName().startswith("DomeLight")
    ]
    hidden = [str(prim.GetPath()) for prim in domes if not prim.IsInstanceProxy()]
    if hidden:
        log.info("the recovered light takes the place of %s, hidden in the new layer", ", ".join(hidden))
    return hidden


def _define(stage: Any, recovered: Recovered) -> Any:
    from pxr import UsdGeom, UsdShade

    root = UsdGeom.Xform.Define(stage, ROOT)
    mesh = _define_mesh(stage, recovered.mesh, np.linalg.inv(recovered.stage_to_dataset).astype(np.float64))
    UsdGeom.Scope.Define(stage, f"{ROOT}/looks")
    material = define_preview_surface(stage, MATERIAL, recovered.textures)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    if recovered.probe:
        _define_light(stage, recovered.probe, recovered.stage_to_dataset)
    return root


def _define_mesh(stage: Any, mesh: ObjMesh, dataset_to_stage: Matrix) -> Any:
    from pxr import Sdf, UsdGeom, Vt

    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError("the recovered mesh has no UVs; its textures cannot be applied, train again")
    prim = UsdGeom.Mesh.Define(stage, MESH)
    points = transform_points(dataset_to_stage, mesh.vertices).astype(np.float32)
    vertices = Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(points))
    prim.CreatePointsAttr(vertices)
    prim.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(vertices))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    prim.CreateFaceVertexIndicesAttr(_integers(mesh.faces))
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    st = UsdGeom.PrimvarsAPI(prim).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(mesh.uvs, np.float32)))
    st.SetIndices(_integers(mesh.uv_faces))
    if mesh.normals is not None and mesh.normal_faces is not None:
        normals = unit(transform_normals(dataset_to_stage, mesh.normals))[mesh.normal_faces].reshape(-1, 3)
        prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(normals, np.float32)))
        prim.SetNormalsInterpolation(UsdGeom.Tokens.faceVarying)
    return prim


def _integers(values: Any) -> Any:
    from pxr import Vt

    return Vt.IntArray.FromNumpy(np.ascontiguousarray(values, np.int32).reshape(-1))


def _define_light(stage: Any, probe: str, stage_to_dataset: Matrix) -> None:
    from pxr import Sdf, UsdGeom, UsdLux

    light = UsdLux.DomeLight.Define(stage, LIGHT)
    light.CreateTextureFileAttr(Sdf.AssetPath(probe))
    light.CreateTextureFormatAttr(UsdLux.Tokens.latlong)
    light.CreateIntensityAttr(1.0)
    turn = np.eye(4)
    turn[:3, :3] = rotation_of(stage_to_dataset).T
    UsdGeom.Xformable(light).AddTransformOp().Set(row_matrix(turn))


def _save(stage: Any, path: Path) -> None:
    """Saves; USD tells failures (full disk) by its own exception."""
    from pxr import Tf

    try:
        stage.GetRootLayer().Save()
    except Tf.ErrorException as error:
        reason = usd_reason(error)
        raise UserError(
            f"{path.parent}: the layer could not be written ({reason}); check its space"
        ) from None
