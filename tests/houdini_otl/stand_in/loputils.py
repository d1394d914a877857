"""Stands in for Houdini's `loputils` in tests: what the plugin calls of it."""

from __future__ import annotations

from typing import Any

from pxr import Sdf


def createPythonLayer(node: Any, savepath: str = "") -> Sdf.Layer:  # noqa: N802 - the name is Houdini's
    layer = Sdf.Layer.CreateAnonymous("loputils.usda")
    node._held.append(layer)
    return layer
