"""A run's imported layer on a stage, switched between the original object and the recovered one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usd_tools.errors import UserError
from usd_tools.recovered_layer import ROOT
from usd_tools.source_variants import ORIGINAL, RECOVERED, VARIANT_SET
from usd_tools.stage import authorable, find_object
from usd_tools.usd_errors import usd_reason

CHOICES = (ORIGINAL, RECOVERED)


@dataclass(frozen=True)
class ImportRecovered:
    """What to bring in; each field is a parameter of the digital asset.

    layer: file that import_materials wrote, over a stage or alone. show: one of CHOICES. object_path: prim
    that the recovered one replaces, for a layer that was written alone; one over a stage tells it itself.
    """

    layer: str = ""
    show: str = RECOVERED
    object_path: str = ""


def write_recovered(stage: Any, shown: ImportRecovered, original: Any = None, time: float = 1.0) -> list[str]:
    """Makes `stage`'s root layer one that has the run's layer below it and decides what is shown.

    The root layer is the caller's own, made for this. original: the stage that it will lie over; a layer that
    was written alone takes the place of the object's meshes there, visible at `time`. Returns the paths of
    the prims that were switched.

    Raises:
        UserError: the layer is missing or cannot be read, or the object's path names nothing.
    """
    from pxr import Sdf

    if shown.show not in CHOICES:
        raise UserError(f"show {shown.show}: expected {' or '.join(CHOICES)}")
    if shown.object_path and not (
        Sdf.Path.IsValidPathString(shown.object_path) and Sdf.Path(shown.object_path).IsAbsolutePath()
    ):
        raise UserError(f"object {shown.object_path}: expected a prim path such as /World/object")
    run_layer = _open_layer(shown.layer)
    stage.GetRootLayer().subLayerPaths = [run_layer.identifier]

    hosts = [prim for prim in stage.TraverseAll() if _has_choices(prim)]
    if hosts:
        for prim in hosts:
            prim.GetVariantSet(VARIANT_SET).SetVariantSelection(shown.show)
        return [str(prim.GetPath()) for prim in hosts]
    switched = []
    if stage.GetPrimAtPath(ROOT):
        _show(stage, ROOT, shown.show == RECOVERED)
        switched.append(ROOT)
    for path in _replaced(original, shown.object_path, time) if shown.object_path else ():
        _show(stage, path, shown.show == ORIGINAL)
        switched.append(path)
    return switched


def _replaced(original: Any, object_path: str, time: float) -> list[str]:
    """The meshes of the object, and not the lights among them; the prim itself where it has none.

    An instance is replaced as a whole: nothing can be authored inside it.
    """
    if original is None or not original.GetPseudoRoot().GetChildren():
        return [object_path]  # nothing to lie over yet
    if not original.GetPrimAtPath(object_path):
        raise UserError(
            f"object {object_path}: is not on the stage of the node's input; name the primitive that the "
            "recovered one replaces, or leave it empty to see both"
        )
    prims = [original.GetPrimAtPath(object_path)]
    with suppress(UserError):
        prims = [mesh.GetPrim() for mesh in find_object(original, object_path, time)[1]]
    return list(dict.fromkeys(str(authorable(prim).GetPath()) for prim in prims))


def _open_layer(path: str) -> Any:
    from pxr import Sdf, Tf

    if not path:
        raise UserError(
            "layer: is not set; choose the USD file that a run was imported to. The shelf tool Import "
            "Recovered writes it and sets it here"
        )
    if Path(path).is_dir():
        raise UserError(
            f"{path}: is a folder; expected a USD file, such as the recovered.usda that the shelf tool "
            "Import Recovered writes"
        )
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; click Import Recovered on the shelf, which writes it")
    try:
        layer = Sdf.Layer.FindOrOpen(Path(path).absolute().as_posix())
    except Tf.ErrorException as error:
        raise UserError(
            f"{path}: cannot be read as USD ({usd_reason(error)}); import the run again"
        ) from None
    if layer is None:
        raise UserError(f"{path}: is no USD file; choose the one that a run was imported to")
    return layer


def _has_choices(prim: Any) -> bool:
    variants = prim.GetVariantSets()
    return VARIANT_SET in variants.GetNames() and set(CHOICES) <= set(
        variants.GetVariantSet(VARIANT_SET).GetVariantNames()
    )


def _show(stage: Any, path: str, visible: bool) -> None:
    from pxr import UsdGeom

    prim = UsdGeom.Imageable(stage.OverridePrim(path))
    prim.CreateVisibilityAttr(UsdGeom.Tokens.inherited if visible else UsdGeom.Tokens.invisible)
