"""Looks that show errors as they are, whatever the light: emission and nothing else."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from usd_tools.errors import UserError

ROOT = "/RecoveryError"
LOOK = f"{ROOT}/look"


def colored_look(stage: Any) -> Any:
    """Shows displayColor as it is, whatever the light."""
    from pxr import Gf, Sdf

    reader = _shader(stage, "color", "UsdPrimvarReader_float3")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("displayColor")
    reader.CreateInput("fallback", Sdf.ValueTypeNames.Float3).Set(Gf.Vec3f(0))
    return _unlit(stage, reader.CreateOutput("result", Sdf.ValueTypeNames.Float3))


def textured_look(stage: Any, picture: Path, uv_primvar: str) -> Any:
    """Shows the part of the report's picture above its color bar, whatever the light."""
    from pxr import Gf, Sdf

    kinds = Sdf.ValueTypeNames
    share = _bar_share(picture)
    reader = _shader(stage, "uv", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", kinds.String).Set(uv_primvar)
    fit = _shader(stage, "fit", "UsdTransform2d")
    fit.CreateInput("in", kinds.Float2).ConnectToSource(reader.CreateOutput("result", kinds.Float2))
    fit.CreateInput("scale", kinds.Float2).Set(Gf.Vec2f(1, share))
    fit.CreateInput("translation", kinds.Float2).Set(Gf.Vec2f(0, 1 - share))
    texture = _shader(stage, "picture", "UsdUVTexture")
    texture.CreateInput("file", kinds.Asset).Set(Sdf.AssetPath(picture.resolve().as_posix()))
    texture.CreateInput("sourceColorSpace", kinds.Token).Set("sRGB")
    texture.CreateInput("wrapS", kinds.Token).Set("clamp")
    texture.CreateInput("wrapT", kinds.Token).Set("clamp")
    texture.CreateInput("st", kinds.Float2).ConnectToSource(fit.CreateOutput("result", kinds.Float2))
    return _unlit(stage, texture.CreateOutput("rgb", kinds.Float3))


def _bar_share(picture: Path) -> float:
    """The part of the picture's height that is the square layout, above its color bar."""
    with picture.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise UserError(f"{picture}: is no PNG; compare again")
    width, height = struct.unpack(">II", head[16:24])
    if not 0 < width <= height:
        raise UserError(f"{picture}: is {width}x{height}, not a layout with a color bar below; compare again")
    return float(width / height)


def _unlit(stage: Any, color: Any) -> Any:
    from pxr import Gf, Sdf, UsdGeom, UsdShade

    if not stage.GetPrimAtPath(ROOT):
        UsdGeom.Scope.Define(stage, ROOT)
    material = UsdShade.Material.Define(stage, LOOK)
    surface = _shader(stage, "surface", "UsdPreviewSurface")
    surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(0))
    surface.CreateInput("specularColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(0))
    surface.CreateInput("useSpecularWorkflow", Sdf.ValueTypeNames.Int).Set(1)
    surface.CreateInput("emissiveColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(color)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    return material


def _shader(stage: Any, name: str, identifier: str) -> Any:
    from pxr import UsdGeom, UsdShade

    if not stage.GetPrimAtPath(ROOT):
        UsdGeom.Scope.Define(stage, ROOT)
    shader = UsdShade.Shader.Define(stage, f"{LOOK}/{name}")
    shader.CreateIdAttr(identifier)
    return shader
