"""The layer that brings a run's result into USD: alone below /Recovered, or over the original stage."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.lights import find_lights, light_paths, lights_vary, rotations_since
from usd_tools.matrices import Matrix, row_matrix
from usd_tools.normalization import rotation_of
from usd_tools.obj import ObjMesh
from usd_tools.open_pbr_surface import add_open_pbr_surface
from usd_tools.recovered_mesh import UV_PRIMVAR, copy_transform, define_mesh
from usd_tools.recovered_place import RecoveredPlace, find_place, open_instances
from usd_tools.source_variants import SourceVariants
from usd_tools.usd_errors import usd_reason, usd_silenced
from usd_tools.usd_preview_surface import add_preview_surface

log = logging.getLogger(__name__)

ROOT = "/Recovered"
"""Where a layer that stands alone holds the result."""

CUSTOM_DATA = "separate_and_specialize"
"""Key of the run's settings in the customData of the prim that holds the result."""

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
        where the light was known. stage_to_dataset: (4, 4) similarity, column vectors. frame: the one on
        which stage and dataset frame are related so, None for the stage's first. mesh_is_known: the mesh is
        the original's own. settings: what to remember of the run, strings and numbers by name.
    """

    mesh: ObjMesh
    textures: Mapping[str, str]
    probe: str | None
    stage_to_dataset: Matrix
    up_axis: str
    meters_per_unit: float
    frame: float | None = None
    mesh_is_known: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def mesh_path(root: str = ROOT) -> str:
    return f"{root}/mesh"


def material_path(root: str = ROOT) -> str:
    return f"{root}/looks/recovered"


def light_path(root: str = ROOT) -> str:
    return f"{root}/light"


def write_layer(path: Path, recovered: Recovered) -> None:
    """A layer that stands alone: /Recovered is its default prim. The suffix of `path` decides the format."""
    from pxr import Usd, UsdGeom, UsdShade

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, recovered.up_axis)
    UsdGeom.SetStageMetersPerUnit(stage, recovered.meters_per_unit)
    root = UsdGeom.Xform.Define(stage, ROOT).GetPrim()
    stage.SetDefaultPrim(root)
    Usd.ModelAPI(root).SetKind("component")
    _describe(root, recovered)
    mesh = define_mesh(stage, mesh_path(), recovered.mesh, _dataset_to_stage(recovered))
    material = _define_look(stage, ROOT, recovered, UV_PRIMVAR)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    if recovered.probe:
        _define_light(stage, ROOT, recovered, {})
    _save(stage, path)


@usd_silenced()  # what cannot be composed was told of when the source was opened
def write_layer_over(path: Path, recovered: Recovered, source: Any, object_path: str) -> str:
    """A layer over the stage `source`, as `open_stage` gives it, whose files stay as they are.

    A variant set (see `SourceVariants`) flips between the original object and light and what was recovered of
    them: a mesh that moves as the original does, or only another look on the original mesh. Returns the path
    of the prim that holds the result. The variants chosen in `source` are chosen in the new layer, too.

    Raises:
        UserError: `source` has no such object, or has a result for it already.
    """
    from pxr import UsdGeom

    frame = source.GetStartTimeCode() if recovered.frame is None else recovered.frame
    place = find_place(source, object_path, frame)
    known = recovered.mesh_is_known and _is_same_mesh(place, recovered)
    lights = light_paths(source) if recovered.probe else []
    if lights:
        log.info("the recovered light takes the place of %s", ", ".join(lights))

    stage = _stage_over(source, path)
    for path_inside in (*place.replaced, *lights):
        open_instances(stage, path_inside)

    differs = [place.root, *place.replaced, *lights]
    switch = SourceVariants(stage, differs)
    with switch.recovered(place.root):
        _describe(UsdGeom.Xform.Define(stage, place.root).GetPrim(), recovered)
        material = _define_look(stage, place.root, recovered, place.uv_primvar if known else UV_PRIMVAR)
        if not known:
            _define_mesh_in_place(stage, place, recovered, material)
        if recovered.probe:
            _define_light(stage, place.root, recovered, _light_turns(source, frame))
    if known:
        (mesh,) = place.replaced
        with switch.recovered(mesh):
            _bind_over_the_original(stage, switch.host(mesh), mesh, material)
    for hidden in lights if known else [*place.replaced, *lights]:
        with switch.recovered(hidden):
            _hide(stage, hidden, frame)
    _save(stage, path)
    return place.root


def _stage_over(source: Any, path: Path) -> Any:
    """A new stage at `path` with `source` as its sublayer, the same variants and the same metadata."""
    from pxr import Usd, UsdGeom

    original = source.GetRootLayer()
    stage = Usd.Stage.CreateNew(str(path))
    root = stage.GetRootLayer()
    root.TransferContent(source.GetSessionLayer())  # the variants
    root.subLayerPaths.clear()  # what reading alone needed
    root.subLayerPaths.append(relative_asset(Path(original.realPath), path.parent))
    for name in _STAGE_METADATA:
        if source.HasAuthoredMetadata(name):
            stage.SetMetadata(name, source.GetMetadata(name))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.GetStageUpAxis(source))
    UsdGeom.SetStageMetersPerUnit(stage, UsdGeom.GetStageMetersPerUnit(source))
    if source.HasDefaultPrim():
        root.defaultPrim = original.defaultPrim
    return stage


def relative_asset(file: Path, folder: Path) -> str:
    """`file` as an asset path relative to `folder`; absolute where there is no relative way (other drive)."""
    try:
        relative = Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return file.resolve().as_posix()
    return relative if relative.startswith("../") else f"./{relative}"


def _dataset_to_stage(recovered: Recovered) -> Matrix:
    return np.linalg.inv(recovered.stage_to_dataset).astype(np.float64)


def _is_same_mesh(place: RecoveredPlace, recovered: Recovered) -> bool:
    """Whether the recovered maps fit the original prim as it is: same corners, in place and in UV."""
    same = place.same_mesh(recovered.mesh, _dataset_to_stage(recovered))
    if not same:
        log.warning(
            "%s: is not the mesh that was trained on (other UVs or shape), so that mesh is brought along",
            place.prim.GetPath(),
        )
    return same


def _describe(prim: Any, recovered: Recovered) -> None:
    prim.SetCustomDataByKey(CUSTOM_DATA, dict(recovered.settings))


def _define_look(stage: Any, root: str, recovered: Recovered, uv_primvar: str) -> Any:
    from pxr import UsdGeom, UsdShade

    UsdGeom.Scope.Define(stage, f"{root}/looks")
    material = UsdShade.Material.Define(stage, material_path(root))
    add_preview_surface(material, recovered.textures, uv_primvar)
    add_open_pbr_surface(material, recovered.textures, uv_primvar)
    return material


def _define_mesh_in_place(stage: Any, place: RecoveredPlace, recovered: Recovered, material: Any) -> None:
    """The recovered mesh with the original's transform, so that it moves with it."""
    from pxr import UsdShade

    to_local = np.linalg.inv(place.local_to_stage) @ _dataset_to_stage(recovered)
    mesh = define_mesh(stage, mesh_path(place.root), recovered.mesh, to_local)
    copy_transform(place.prim, mesh.GetPrim())
    if place.purpose != "default":
        mesh.CreatePurposeAttr(place.purpose)
    mesh.CreateDoubleSidedAttr(place.double_sided)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)


def _light_turns(source: Any, frame: float) -> dict[float, Matrix]:
    """How the original's lights turn, by frame: (3, 3) in stage space since `frame`; {} where they do not."""
    if not lights_vary(source):
        return {}
    first, last = source.GetStartTimeCode(), source.GetEndTimeCode()
    frames = sorted({frame, *np.arange(first, last + 1e-6)})
    try:
        return rotations_since(source, find_lights(source, frame), frames)
    except UserError as error:
        log.info("the recovered light stands still: %s", error)
        return {}


def _define_light(stage: Any, root: str, recovered: Recovered, turns: Mapping[float, Matrix]) -> None:
    from pxr import Sdf, UsdGeom, UsdLux

    assert recovered.probe is not None, "called where a light was learnt"
    light = UsdLux.DomeLight.Define(stage, light_path(root))
    light.CreateTextureFileAttr(Sdf.AssetPath(recovered.probe))
    light.CreateTextureFormatAttr(UsdLux.Tokens.latlong)
    light.CreateIntensityAttr(1.0)
    transform = UsdGeom.Xformable(light).AddTransformOp()
    dataset_to_stage = rotation_of(recovered.stage_to_dataset).T
    for time, turn in turns.items():
        transform.Set(_rotation(turn @ dataset_to_stage), time)
    if not turns:
        transform.Set(_rotation(dataset_to_stage))
    UsdGeom.Xformable(light).SetResetXformStack(True)  # the light does not turn with the object


def _rotation(rotation: Matrix) -> Any:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    return row_matrix(matrix)


def _bind_over_the_original(stage: Any, host: str, object_path: str, material: Any) -> None:
    """Binds by a collection on `host`, which beats a binding on the object itself.

    A plain binding in a variant would lose to one in the original's own layers.
    """
    from pxr import Usd, UsdShade

    prim = stage.GetPrimAtPath(host)
    collection = Usd.CollectionAPI.Apply(prim, "recovered")
    collection.CreateIncludesRel().AddTarget(object_path)
    binding = UsdShade.MaterialBindingAPI.Apply(prim)
    bound = UsdShade.MaterialBindingAPI(stage.GetPrimAtPath(object_path))
    tokens = UsdShade.Tokens
    for purpose in (tokens.allPurpose, tokens.full, tokens.preview):
        if bound.ComputeBoundMaterial(purpose)[0].GetPath() != material.GetPath():
            binding.Bind(collection, material, "recovered", tokens.strongerThanDescendants, purpose)
        if bound.ComputeBoundMaterial(purpose)[0].GetPath() != material.GetPath():
            raise UserError(
                f"{object_path}: a binding above it is stronger than any new one; remove its bindMaterialAs"
            )


def _hide(stage: Any, path: str, frame: float) -> None:
    """Hides a prim in the current variant: by its visibility or, where the original insists on it, wholly."""
    from pxr import UsdGeom

    prim = stage.GetPrimAtPath(path)
    if not prim or not prim.IsActive():  # gone with a prim above it
        return
    visibility = UsdGeom.Imageable(prim).CreateVisibilityAttr(UsdGeom.Tokens.invisible)
    if visibility.Get(frame) != UsdGeom.Tokens.invisible or visibility.GetTimeSamples():
        visibility.Clear()
        prim.SetActive(False)
        if stage.GetPrimAtPath(path).IsActive():
            raise UserError(f"{path}: its layers insist on showing it; remove its visibility")


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
