"""The digital asset Recovery Error, in Houdini's process."""

from __future__ import annotations

import hou

from texture_recovery.lop_parameters import errors_on_node, read_parameters
from texture_recovery.recovery_error import RecoveryError, write_error


def cook(node: hou.LopNode, asset: hou.LopNode) -> None:
    """Cooks `node`, the Python Script LOP inside `asset`."""
    shown = read_parameters(RecoveryError, asset)
    with errors_on_node():
        node.setLastModifiedPrims(write_error(node.editableStage(), shown, hou.frame()))
