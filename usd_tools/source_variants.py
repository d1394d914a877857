"""A variant set by which an artist flips between the original and the recovered asset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

VARIANT_SET = "source"
ORIGINAL, RECOVERED = "original", "recovered"


class SourceVariants:
    """The set on the deepest prim above all that differs; on each root prim where there is no such one.

    A variant is weaker than what the original's own layers say about the same attribute. So what is authored
    in one has to be either new prims, or opinions that the original does not have.
    """

    def __init__(self, stage: Any, paths: Sequence[str]) -> None:
        """
        paths: the prims that differ. The sets are added to prims of `stage`, which get `recovered` selected;
            `original` is left empty: it is the stage as it was, but for an empty root prim where the result
            needs one of its own.
        """
        from pxr import Sdf

        self._stage = stage
        common = Sdf.Path(paths[0])
        for path in paths[1:]:
            common = common.GetCommonPrefix(path)
        self._common = None if common == Sdf.Path.absoluteRootPath else common
        for host in sorted({self.host(path) for path in paths}):
            prim = stage.OverridePrim(host)
            if not prim.IsDefined():  # a new root prim: a variant cannot define the prim it is on
                prim = stage.DefinePrim(host, "Xform")
            variants = prim.GetVariantSets().AddVariantSet(VARIANT_SET)
            for name in (ORIGINAL, RECOVERED):
                variants.AddVariant(name)
            variants.SetVariantSelection(RECOVERED)

    def host(self, path: str) -> str:
        """The prim with the set that holds the difference of `path`."""
        from pxr import Sdf

        return str(self._common or Sdf.Path(path).GetPrefixes()[0])

    @contextmanager
    def recovered(self, path: str) -> Iterator[None]:
        """Edits of `path` go to the `recovered` variant."""
        variants = self._stage.GetPrimAtPath(self.host(path)).GetVariantSet(VARIANT_SET)
        with variants.GetVariantEditContext():
            yield
