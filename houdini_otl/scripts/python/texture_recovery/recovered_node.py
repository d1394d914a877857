"""The LOP node that shows a recovered result after the original."""

from __future__ import annotations

import hou
from pxr import Sdf

from texture_recovery.pipeline_commands import JobFolder
from texture_recovery.stage_source import lop_network, selected_lop
from usd_tools.errors import UserError
from usd_tools.import_materials import import_run, read_origin

NODE_TYPE = "texture_recovery::import_recovered"


def show_recovered(folder: JobFolder) -> hou.LopNode:
    """Writes the finished run as a USD layer and puts an Import Recovered node for it after the selected LOP.

    The layer holds the recovered object alone: the original comes from the node's input, in whatever state
    the network has it by now.

    Raises:
        UserError: the run is not finished, or there is no network for the node.
    """
    import_run(folder.run, folder.recovered)
    loaded = Sdf.Layer.Find(folder.recovered.as_posix())
    if loaded is not None:
        hou.lop.reloadLayer(loaded.identifier, True)
    below = selected_lop()
    network = lop_network() if below is None else below.parent()
    node = None if network is None else network.createNode(NODE_TYPE, "recovered")
    if not isinstance(node, hou.LopNode):
        raise UserError(f"{folder.recovered}: is written, but its node cannot be made; select a LOP node")
    if below is not None:
        node.setInput(0, below)
    values = {"layer": folder.recovered.as_posix(), "object_path": _replaced(folder, below)}
    for name, value in values.items():
        parm = node.parm(name)
        if parm is not None:
            parm.set(value)
    node.moveToGoodPosition()
    node.setDisplayFlag(True)
    node.setCurrent(True, clear_all_selected=True)
    return node


def _replaced(folder: JobFolder, below: hou.LopNode | None) -> str:
    """Path of the object that the recovered one replaces; "" on another stage than the exported one."""
    path = read_origin(folder.run).object or ""
    if below is None or not path:
        return path
    stage = below.stage(ignore_errors=True)  # prims live as long as it does
    return path if stage.GetPrimAtPath(path) else ""
