"""Stands in for Houdini's `loputils` in tests: what the plugin calls of it."""

from __future__ import annotations

from typing import Any

from pxr import Sdf


def createPythonLayer(node: Any, savepath: str = "") -> Sdf.Layer:  # noqa: N802 - the name is Houdini's
    """An anonymous layer with marks of Houdini's own, by which it will be saved."""
    layer = Sdf.Layer.CreateAnonymous("loputils.usda")
    layer.customLayerData = {"HoudiniSaveControl": "Separate"}
    node._held.append(layer)
    return layer
