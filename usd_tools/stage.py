"""Reading stages: opening, choosing variants and the object, transforms. Nothing is ever edited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.files import is_url
from usd_tools.looks.materialx_references import compose_materialx
from usd_tools.matrices import Matrix, column_matrix
from usd_tools.usd_errors import check_composition, usd_errors_told, usd_silenced


def open_stage(path: str | Path, variants: Sequence[str] = ()) -> Any:
    """The composed Usd.Stage at `path`; variant choices (`SET=CHOICE`) go to its session layer only.

    Raises:
        UserError: the file is missing or no USD, refers to itself or a URL, or no prim has such a variant.
    """
    try:
        from pxr import Usd
    except ImportError as error:
        raise UserError(
            f"USD's Python module pxr is missing ({error}); install usd-core, or run in hython"
        ) from None
    if is_url(str(path)):
        raise UserError(f"{path}: is a URL; expected a USD file on this machine")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such stage; check the path")
    with usd_errors_told(path), usd_silenced():
        stage = Usd.Stage.Open(str(path))
        for variant in variants:
            _choose_variant(stage, variant)
        composed = compose_materialx(stage)
    check_composition(path, stage, composed)
    return stage


def _choose_variant(stage: Any, choice: str) -> None:
    from pxr import Usd

    name, equals, value = choice.partition("=")
    if not (name and equals and value):
        raise UserError(f"--variant {choice}: expected SET=CHOICE")
    known: set[str] = set()
    chosen = False
    with Usd.EditContext(stage, stage.GetSessionLayer()):
        for path in [prim.GetPath() for prim in active_prims(stage.GetPseudoRoot())]:
            prim = stage.GetPrimAtPath(path)  # a choice made above may have taken it away
            if not prim or not prim.GetVariantSets().HasVariantSet(name):
                continue
            variants = prim.GetVariantSet(name).GetVariantNames()
            known.update(variants)
            if value in variants:
                _make_editable(prim)
                stage.GetPrimAtPath(path).GetVariantSet(name).SetVariantSelection(value)
                chosen = True
    if not chosen:
        have = f"it offers {', '.join(sorted(known))}" if known else "no prim has such a set"
        raise UserError(f"--variant {choice}: not in the stage; {have}")


def _make_editable(prim: Any) -> None:
    """Makes the instances that `prim` lies in prims of their own (on the current edit target)."""
    stage, path = prim.GetStage(), prim.GetPath()
    while stage.GetPrimAtPath(path).IsInstanceProxy():
        outermost = next(
            above for prefix in path.GetPrefixes() if (above := stage.GetPrimAtPath(prefix)).IsInstance()
        )
        outermost.SetInstanceable(False)


def save_variant_choice(stage: Any, path: Path) -> Path:
    """Writes a layer over the stage's file that holds the variants `open_stage` chose; returns `path`.

    For programs that open files. What counts in root layers alone (axis, units, frames, settings) is copied.
    """
    from pxr import Sdf

    root = stage.GetRootLayer()
    layer = Sdf.Layer.CreateNew(str(path))
    layer.TransferContent(stage.GetSessionLayer())
    layer.subLayerPaths.clear()  # what `compose_materialx` adds for us, such programs compose themselves
    told = root.pseudoRoot
    for key in told.ListInfoKeys():
        if key not in ("subLayers", "subLayerOffsets"):
            layer.pseudoRoot.SetInfo(key, told.GetInfo(key))
    layer.subLayerPaths.append(root.realPath)
    layer.Save()
    return path


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


def authorable(prim: Any) -> Any:
    """`prim`, or the instance that it lies in: nothing can be authored inside one."""
    while prim.IsInstanceProxy():
        prim = prim.GetParent()
    return prim


def is_rendered(prim: Any, time: float) -> bool:
    """Visible at `time`, of the purpose that renderers draw, and not the original of a PointInstancer."""
    from pxr import UsdGeom

    imageable = UsdGeom.Imageable(prim)
    return (
        imageable.ComputeVisibility(time) != UsdGeom.Tokens.invisible
        and imageable.ComputePurpose() in (UsdGeom.Tokens.default_, UsdGeom.Tokens.render)
        and point_instancer_above(prim) is None
    )


def point_instancer_above(prim: Any) -> Any:
    """The UsdGeom.PointInstancer prim that `prim` lies in, or None: such prims are drawn as copies only."""
    from pxr import UsdGeom

    above = prim.GetParent()
    while above and not above.IsPseudoRoot():
        if above.IsA(UsdGeom.PointInstancer):
            return above
        above = above.GetParent()
    return None


def prim_at(stage: Any, path: str, option: str) -> Any:
    """The prim at `path`.

    Raises:
        UserError: `path` is malformed or names none.
    """
    from pxr import Sdf

    if not Sdf.Path.IsValidPathString(path) or not path.startswith("/"):
        raise UserError(f"{option} {path}: expected a prim path such as /World/object")
    prim = stage.GetPrimAtPath(path)
    if not prim or not (prim.IsActive() and prim.IsLoaded() and prim.IsDefined()) or prim.IsAbstract():
        raise UserError(f"{option} {path}: no such active prim in {stage.GetRootLayer().GetDisplayName()}")
    return prim


def find_mesh(stage: Any, path: str | None = None, time: float = 1.0) -> Any:
    """The UsdGeom.Mesh to recover: the one at or below `path`, or else the only visible one of the stage.

    Raises:
        UserError: there is none, or more than one (they are named).
    """
    visible = _find_meshes(stage, path, time)
    if len(visible) > 1:
        where = stage.GetRootLayer().GetDisplayName() if path is None else f"--object {path}"
        names = ", ".join(str(mesh.GetPath()) for mesh in visible[:6])
        more = ", ..." if len(visible) > 6 else ""
        raise UserError(
            f"{where}: has {len(visible)} meshes ({names}{more}); name one by --object, "
            "or the prim above them"
        )
    return visible[0]


def find_object(stage: Any, path: str | None = None, time: float = 1.0) -> tuple[Any, list[Any]]:
    """The prim to recover and its UsdGeom.Meshes: all visible ones below `path`, or the stage's only one.

    A single mesh is the prim itself.

    Raises:
        UserError: there is no mesh, or no `path` and more than one (they are named).
    """
    meshes = [find_mesh(stage, None, time)] if path is None else _find_meshes(stage, path, time)
    return meshes[0].GetPrim() if len(meshes) == 1 else stage.GetPrimAtPath(path), meshes


def _find_meshes(stage: Any, path: str | None, time: float) -> list[Any]:
    from pxr import UsdGeom

    root = stage.GetPseudoRoot() if path is None else prim_at(stage, path, "--object")
    where = stage.GetRootLayer().GetDisplayName() if path is None else f"--object {path}"
    meshes = [prim for prim in active_prims(root) if prim.IsA(UsdGeom.Mesh)]
    visible = [prim for prim in meshes if is_rendered(prim, time)]
    if path is not None and root.IsA(UsdGeom.Mesh):
        visible = [root]  # named by the user: visible or not
        if instancer := point_instancer_above(root):
            raise UserError(
                f"{where}: is drawn as copies by the PointInstancer {instancer.GetPath()}, which is not "
                "supported; export one copy as a mesh"
            )
    if not visible:
        what = _instead_of_meshes(root, meshes)
        raise UserError(f"{where}: has {what}; expected one visible mesh, name it by --object")
    return [UsdGeom.Mesh(prim) for prim in visible]


def _instead_of_meshes(root: Any, hidden: Sequence[Any]) -> str:
    """What there is where no mesh is drawn, for error messages."""
    from pxr import UsdGeom

    if any(point_instancer_above(prim) for prim in hidden):
        return "only meshes that a PointInstancer copies, which is not supported"
    if hidden:
        return "only invisible meshes, proxies or guides"
    shapes = [prim for prim in active_prims(root) if prim.IsA(UsdGeom.Gprim)]
    names = ", ".join(f"{prim.GetPath()} is a {prim.GetTypeName()}" for prim in shapes[:3])
    return f"no mesh ({names})" if names else "no mesh"


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
    # A cache of one use, because it takes prims without a type, too.
    matrix = column_matrix(UsdGeom.XformCache(time).GetLocalToWorldTransform(prim))
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-30:
        raise UserError(
            f"{prim.GetPath()}: its transform at frame {time:g} is singular or not finite; remove zero scales"
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
