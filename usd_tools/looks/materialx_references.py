"""Composes the .mtlx files that a stage references, where OpenUSD cannot (usd-core lacks that plugin)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from usd_tools.errors import UserError
from usd_tools.files import is_url
from usd_tools.looks.materialx_document import read_materialx
from usd_tools.looks.reading import HANDLERS
from usd_tools.looks.surfaces import SURFACES

log = logging.getLogger(__name__)

_KNOWN_KINDS = {*HANDLERS, *SURFACES, "normalmap", "normal", "tangent", "bitangent"}


def compose_materialx(stage: Any) -> set[str]:
    """Adds what .mtlx references bring, in an anonymous layer below the session layer; no file is edited.

    Returns the paths of the prims that have such references. A file that cannot be read is warned about: what
    needs it will say so.
    """
    from pxr import Pcp, Sdf

    if Sdf.FileFormat.FindByExtension("mtlx"):
        return set()
    overlay = None
    layers: dict[str, Any] = {}
    done: set[str] = set()
    composed: set[str] = set()
    while True:
        sites = {
            str(error.rootSite.path)
            for error in stage.GetCompositionErrors()
            if error.errorType in (Pcp.ErrorType_InvalidAssetPath, Pcp.ErrorType_InvalidSublayerPath)
        } - done
        if not sites:
            return composed
        for site in sorted(sites):
            done.add(site)
            found = _references(stage, site)
            if found and overlay is None:
                overlay = Sdf.Layer.CreateAnonymous("materialx.usda")
                stage.GetSessionLayer().subLayerPaths.append(overlay.identifier)
            if found:
                composed.add(site)
            for file, target in found:
                layer = _layer(file, layers)
                if layer is not None:
                    _reference(stage, overlay, site, layer, target)


def _layer(file: str, layers: dict[str, Any]) -> Any:
    if file not in layers:
        try:
            layers[file] = read_materialx(file, _KNOWN_KINDS)
            log.info("%s: is read by the MaterialX package, as this build of OpenUSD cannot", file)
        except UserError as error:
            log.warning("%s", error)
            layers[file] = None
    return layers[file]


def _references(stage: Any, site: str) -> list[tuple[str, str]]:
    """The .mtlx files, each with the path in it, that the prim at `site` references or takes as payload."""
    from pxr import Sdf

    if site == "/":
        return [
            (layer.ComputeAbsolutePath(path), "")
            for layer in stage.GetLayerStack()
            for path in layer.subLayerPaths
            if _is_local_materialx(layer.ComputeAbsolutePath(path))
        ]
    found = []
    prim = stage.GetPrimAtPath(site)
    for spec in prim.GetPrimStack() if prim else ():
        for arcs in (spec.referenceList, spec.payloadList):
            for arc in arcs.GetAddedOrExplicitItems():
                path = spec.layer.ComputeAbsolutePath(arc.assetPath) if arc.assetPath else ""
                if _is_local_materialx(path):
                    target = "" if arc.primPath == Sdf.Path.emptyPath else str(arc.primPath)
                    found.append((path, target))
    return found


def _is_local_materialx(path: str) -> bool:
    return path.lower().endswith(".mtlx") and not is_url(path) and Path(path).is_file()


def _reference(stage: Any, overlay: Any, site: str, layer: Any, target: str) -> None:
    from pxr import Sdf, Usd

    if site == "/":
        overlay.subLayerPaths.append(layer.identifier)
        return
    path = Sdf.Path(site)
    with Usd.EditContext(stage, overlay):
        # Nothing can be said about the insides of an instance: what lies above must be a prim of its own.
        for above in path.GetPrefixes():
            prim = stage.GetPrimAtPath(above)
            if prim and prim.IsInstance() and above != path:
                prim.SetInstanceable(False)
        stage.OverridePrim(path).GetReferences().AddReference(layer.identifier, target or Sdf.Path())
