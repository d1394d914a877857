"""What of a stage can be chosen for export: objects that can be recovered, and cameras."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from usd_tools.errors import UserError
from usd_tools.stage import active_prims, is_rendered


def recoverable_objects(stage: Any, time: float) -> list[str]:
    """Paths of the meshes that renderers draw at `time`.

    Raises:
        UserError: there are none.
    """
    from pxr import UsdGeom

    prims = active_prims(stage.GetPseudoRoot())
    paths = [str(prim.GetPath()) for prim in prims if prim.IsA(UsdGeom.Mesh) and is_rendered(prim, time)]
    if not paths:
        raise UserError(
            "the selected node's stage has no visible mesh; select the node that shows the object to recover "
            "(primitives such as spheres have to be made meshes first)"
        )
    return paths


def cameras(stage: Any) -> list[str]:
    """Paths of the stage's cameras."""
    from pxr import UsdGeom

    return [str(prim.GetPath()) for prim in active_prims(stage.GetPseudoRoot()) if prim.IsA(UsdGeom.Camera)]


def most_likely(paths: Sequence[str], hints: Iterable[str]) -> int:
    """The index of the first path at or below a prim in `hints`, or with such a name as a part; else 0."""
    for hint in hints:
        for index, path in enumerate(paths):
            if path == hint or path.startswith(f"{hint}/") or hint in path.split("/"):
                return index
    return 0
