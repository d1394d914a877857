"""A digital asset's parameters as the record that its cook function takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast, get_type_hints

import hou

from texture_recovery.wording import in_houdinis_words
from usd_tools.errors import UserError

Record = TypeVar("Record")


def read_parameters(kind: type[Record], asset: hou.OpNode) -> Record:
    """The parameters of `asset` at the current frame; the dataclass `kind` has a field of each one's name."""
    kinds = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if kinds[field.name] == tuple[int, int]:
            values[field.name] = cast("tuple[int, int]", asset.evalParmTuple(field.name))
        else:
            values[field.name] = kinds[field.name](asset.evalParm(field.name))
    return kind(**values)


@contextmanager
def errors_on_node() -> Iterator[None]:
    """Shows a UserError as the node's own error, in one line instead of a traceback."""
    try:
        yield
    except UserError as error:
        raise hou.NodeError(in_houdinis_words(str(error))) from None
