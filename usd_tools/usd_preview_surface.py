"""Authoring a UsdPreviewSurface look from one picture per channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from usd_tools.materials import INPUTS


def define_preview_surface(stage: Any, path: str, textures: Mapping[str, str], uv_primvar: str = "st") -> Any:
    """A UsdShade.Material at `path`: UsdPreviewSurface, every texture read at `uv_primvar`, repeating.

    textures: asset path of each channel (keys of `materials.INPUTS`); albedo is sRGB, the others raw, and the
        normal map is tangent space, OpenGL +Y, stored as n * 0.5 + 0.5.
    """
    from pxr import Gf, Sdf, UsdShade

    kinds = Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", kinds.Token))
    reader = UsdShade.Shader.Define(stage, f"{path}/{uv_primvar}")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", kinds.String).Set(uv_primvar)
    coordinates = reader.CreateOutput("result", kinds.Float2)
    for channel, asset in textures.items():
        texture = UsdShade.Shader.Define(stage, f"{path}/{channel}")
        texture.CreateIdAttr("UsdUVTexture")
        texture.CreateInput("file", kinds.Asset).Set(Sdf.AssetPath(asset))
        texture.CreateInput("st", kinds.Float2).ConnectToSource(coordinates)
        texture.CreateInput("sourceColorSpace", kinds.Token).Set("sRGB" if channel == "albedo" else "raw")
        for wrap in ("wrapS", "wrapT"):
            texture.CreateInput(wrap, kinds.Token).Set("repeat")
        if channel == "normal":
            texture.CreateInput("scale", kinds.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
            texture.CreateInput("bias", kinds.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        name, fallback = INPUTS[channel]
        if channel == "normal":
            kind, output = kinds.Normal3f, texture.CreateOutput("rgb", kinds.Float3)
        elif len(fallback) == 3:
            kind, output = kinds.Color3f, texture.CreateOutput("rgb", kinds.Float3)
        else:
            kind, output = kinds.Float, texture.CreateOutput("r", kinds.Float)
        surface.CreateInput(name, kind).ConnectToSource(output)
    return material
