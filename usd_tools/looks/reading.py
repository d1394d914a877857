"""The look bound to a prim, or held by a material: which surface counts, and its channels."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from usd_tools.errors import UserError
from usd_tools.looks import arithmetic_nodes, texture_nodes
from usd_tools.looks.evaluation import check_network
from usd_tools.looks.network import Look
from usd_tools.looks.stage_network import NetworkReader, split_identifier
from usd_tools.looks.surfaces import SURFACES, read_channels

log = logging.getLogger(__name__)

HANDLERS = {**texture_nodes.HANDLERS, **arithmetic_nodes.HANDLERS}

RENDER_CONTEXTS = ("mtlx", "kma", "")
"""Where a material's surface is looked for: renderers that know MaterialX prefer it to the universal one."""


def read_look(prim: Any, time: float) -> Look:
    """The look bound to a mesh or a GeomSubset.

    Raises:
        UserError: there is none, or it uses what is not supported (each named).
    """
    from pxr import UsdShade

    prim = prim.GetPrim()
    material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
    if not material:
        raise UserError(
            f"{prim.GetPath()}: has no material bound; bind one, or convert with --no-ground-truth"
        )
    return read_material(material, time)


def read_material(material: Any, time: float) -> Look:
    """The look of a UsdShade.Material, see `read_look`.

    Of a MaterialX surface and a universal one, the MaterialX counts, unless only the other can be read.
    """
    surfaces = _surfaces(material)
    if not surfaces:
        raise UserError(
            f"{material.GetPath()}: has no surface shader that can be read ({_what_is_there(material)}); "
            f"expected one of {', '.join(SURFACES)}, or convert with --no-ground-truth"
        )
    for place, (context, surface, kind) in enumerate(surfaces):
        reader = NetworkReader(time, HANDLERS)
        try:
            look = _read_surface(reader, surface, kind, surfaces[place + 1 :])
        except UserError as error:
            if place == len(surfaces) - 1:
                raise
            log.warning("%s; its other surface (%s) is used", error, surfaces[place + 1][2])
            continue
        displacement = material.GetDisplacementOutput(context)
        if displacement and displacement.HasConnectedSource():
            log.warning("%s: its displacement is not part of the ground truth", material.GetPath())
        if len(surfaces) > 1:
            log.info("%s: %s is read (render context %s)", material.GetPath(), kind, context or "universal")
        return look
    raise AssertionError("the last surface is returned or raises")


def _occlusion_beside(reader: NetworkReader, others: list[tuple[str, Any, str]], fallback: int) -> int:
    """The occlusion of another surface of the same material: MaterialX's models have none of their own."""
    for _, surface, kind in others:
        if "occlusion" in SURFACES[kind].inputs:
            with suppress(UserError):
                return read_channels(reader, surface, SURFACES[kind])["occlusion"]
    return fallback


def _read_surface(reader: NetworkReader, surface: Any, kind: str, others: list[tuple[str, Any, str]]) -> Look:
    """The look of one surface; `others` of the same material may have the occlusion that it lacks."""
    try:
        channels = read_channels(reader, surface, SURFACES[kind])
        if "occlusion" not in SURFACES[kind].inputs:
            channels["occlusion"] = _occlusion_beside(reader, others, channels["occlusion"])
        look = Look(tuple(reader.builder.nodes), channels)
        check_network(look)
    except (TypeError, ValueError, IndexError, OverflowError) as error:  # USD does not check types of values
        raise UserError(
            f"{surface.GetPath()}: its network has values of types that do not fit together ({error}); mend "
            "its connections and inputs"
        ) from None
    return look


def _surfaces(material: Any) -> list[tuple[str, Any, str]]:
    """Render context, shader and kind of each surface of a known model, those that count more first."""
    found = []
    for context in RENDER_CONTEXTS:
        output = material.GetSurfaceOutput(context)
        if not output or not output.HasConnectedSource():
            continue
        shader, _, _ = material.ComputeSurfaceSource(context)
        kind, _ = split_identifier(str(shader.GetIdAttr().Get() or "")) if shader else ("", "")
        if kind in SURFACES:
            found.append((context, shader, kind))
    return found


def _what_is_there(material: Any) -> str:
    """What a material without a readable surface has instead, for people."""
    for output in material.GetSurfaceOutputs():
        for source in output.GetConnectedSources()[0]:
            shader = source.source.GetPrim()
            identifier = shader.GetAttribute("info:id").Get() if shader.HasAttribute("info:id") else None
            return f"it has {identifier or shader.GetPath()}"
    return "it has none"
