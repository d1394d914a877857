"""What of a stage can be chosen for export: objects that can be recovered, and cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from usd_tools.errors import UserError
from usd_tools.stage import active_prims, is_rendered


def recoverable_objects(stage: Any, time: float) -> list[str]:
    """Paths of the meshes that renderers draw at `time`, and of the prims that hold several of them.

    They come in the stage's order; of prims with the same meshes, the innermost counts.

    Raises:
        UserError: there are none.
    """
    from pxr import UsdGeom

    prims = active_prims(stage.GetPseudoRoot())
    meshes = [prim for prim in prims if prim.IsA(UsdGeom.Mesh) and is_rendered(prim, time)]
    if not meshes:
        raise UserError(
            "the selected node's stage has no visible mesh; select the node that shows the object to recover "
            "(primitives such as spheres have to be made meshes first)"
        )
    counts = Counter(str(path) for mesh in meshes for path in mesh.GetPath().GetPrefixes())
    own = {str(mesh.GetPath()) for mesh in meshes}
    below = {path: [counts[str(child.GetPath())] for child in _children(stage, path)] for path in counts}
    groups = {path for path, count in counts.items() if count > 1 and count not in below[path]}
    return [path for path in (str(prim.GetPath()) for prim in prims) if path in own | groups]


def _children(stage: Any, path: str) -> list[Any]:
    from pxr import Usd

    return list(stage.GetPrimAtPath(path).GetFilteredChildren(Usd.TraverseInstanceProxies()))


def cameras(stage: Any) -> list[str]:
    """Paths of the stage's cameras."""
    from pxr import UsdGeom

    return [str(prim.GetPath()) for prim in active_prims(stage.GetPseudoRoot()) if prim.IsA(UsdGeom.Camera)]


def most_likely(paths: Sequence[str], hints: Iterable[str]) -> int:
    """The index of the path that the first of `hints` to name any means; else 0.

    A hint is a prim's path or name; what it names itself goes before what lies below it.
    """
    for hint in hints:
        for index, path in enumerate(paths):
            if path == hint or path.endswith(f"/{hint}"):
                return index
        for index, path in enumerate(paths):
            if path.startswith(f"{hint}/") or hint in path.split("/"):
                return index
    return 0
