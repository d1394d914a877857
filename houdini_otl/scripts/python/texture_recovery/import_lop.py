"""The digital asset Import Recovered, in Houdini's process."""

from __future__ import annotations

import hou
import loputils  # type: ignore[import-not-found]  # Houdini's own, without stubs
from pxr import Usd

from texture_recovery.lop_parameters import errors_on_node, read_parameters
from texture_recovery.recovered_variant import ImportRecovered, write_recovered


def cook(node: hou.LopNode, asset: hou.LopNode) -> None:
    """Cooks `node`, the Python Script LOP inside `asset`.

    The run's layer comes below a layer of the node's own, whose choice of variant is stronger wherever
    Houdini puts the pair.
    """
    shown = read_parameters(ImportRecovered, asset)
    with errors_on_node():
        original = node.editableStage()  # addSubLayer works only after it
        layer = loputils.createPythonLayer(node)
        switched = write_recovered(Usd.Stage.Open(layer), shown, original, hou.frame())
        node.addSubLayer(layer.identifier)
        node.setLastModifiedPrims(switched)


def reload(asset: hou.LopNode) -> None:
    """Reads the layer again after the run was imported anew; the button's callback."""
    layer = asset.evalParm("layer")
    if isinstance(layer, str) and layer:
        hou.lop.reloadLayer(layer, True)
