"""The digital asset Turntable Dataset, in Houdini's process."""

from __future__ import annotations

import hou

from texture_recovery.lop_parameters import errors_on_node, read_parameters
from texture_recovery.turntable import Turntable, write_turntable


def cook(node: hou.LopNode, asset: hou.LopNode) -> None:
    """Cooks `node`, the Python Script LOP inside `asset`."""
    turntable = read_parameters(Turntable, asset)
    with errors_on_node():
        node.setLastModifiedPrims(write_turntable(node.editableStage(), turntable))
