"""Authoring a UsdPreviewSurface look from one picture per channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INPUTS = {
    "albedo": ("diffuseColor", 3),
    "roughness": ("roughness", 1),
    "metallic": ("metallic", 1),
    "occlusion": ("occlusion", 1),
    "normal": ("normal", 3),
}
"""Each channel's input of UsdPreviewSurface, and how many components it has."""


def add_preview_surface(material: Any, textures: Mapping[str, str], uv_primvar: str = "st") -> None:
    """Gives a UsdShade.Material a UsdPreviewSurface; every texture is read at `uv_primvar`, repeating.

    textures: asset path of each channel (keys of INPUTS); albedo is sRGB, the others raw, and the normal map
        is tangent space, OpenGL +Y, stored as n * 0.5 + 0.5.
    """
    from pxr import Gf, Sdf, UsdShade

    kinds = Sdf.ValueTypeNames
    stage, path = material.GetPrim().GetStage(), material.GetPath()
    surface = UsdShade.Shader.Define(stage, path.AppendChild("preview_surface"))
    surface.CreateIdAttr("UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", kinds.Token))
    reader = UsdShade.Shader.Define(stage, path.AppendChild("preview_uv"))
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", kinds.String).Set(uv_primvar)
    coordinates = reader.CreateOutput("result", kinds.Float2)
    for channel, asset in textures.items():
        texture = UsdShade.Shader.Define(stage, path.AppendChild(f"preview_{channel}"))
        texture.CreateIdAttr("UsdUVTexture")
        texture.CreateInput("file", kinds.Asset).Set(Sdf.AssetPath(asset))
        texture.CreateInput("st", kinds.Float2).ConnectToSource(coordinates)
        texture.CreateInput("sourceColorSpace", kinds.Token).Set("sRGB" if channel == "albedo" else "raw")
        for wrap in ("wrapS", "wrapT"):
            texture.CreateInput(wrap, kinds.Token).Set("repeat")
        if channel == "normal":
            texture.CreateInput("scale", kinds.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
            texture.CreateInput("bias", kinds.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        name, components = INPUTS[channel]
        if channel == "normal":
            kind, output = kinds.Normal3f, texture.CreateOutput("rgb", kinds.Float3)
        elif components == 3:
            kind, output = kinds.Color3f, texture.CreateOutput("rgb", kinds.Float3)
        else:
            kind, output = kinds.Float, texture.CreateOutput("r", kinds.Float)
        surface.CreateInput(name, kind).ConnectToSource(output)
