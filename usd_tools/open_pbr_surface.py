"""Authoring a MaterialX look (OpenPBR) from one picture per channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INPUTS = {
    "albedo": ("base_color", "color3"),
    "roughness": ("specular_roughness", "float"),
    "metallic": ("base_metalness", "float"),
    "normal": ("geometry_normal", "vector3"),
}
"""Each channel's input of open_pbr_surface, and its MaterialX type. OpenPBR has no input for occlusion."""


def add_open_pbr_surface(material: Any, textures: Mapping[str, str], uv_primvar: str = "st") -> None:
    """Gives a UsdShade.Material an OpenPBR surface in the render context `mtlx`.

    It reads the pictures that `add_preview_surface` reads, so that renderers that prefer MaterialX (Karma,
    Storm with it) and those that do not show the same: OpenPBR's defaults are a dielectric of index 1.5
    (4 % head-on), GGX with alpha = roughness squared, and no other lobes.

    No MaterialX version is authored, which means 1.38 in USD: renderers with 1.39 upgrade ND_normalmap by
    themselves (it got another name there), while those with 1.38 know no other.
    """
    from pxr import Sdf, UsdShade

    kinds = Sdf.ValueTypeNames
    usd_types = {"color3": kinds.Color3f, "float": kinds.Float, "vector3": kinds.Float3}
    stage, path = material.GetPrim().GetStage(), material.GetPath()

    def node(name: str, identifier: str) -> Any:
        shader = UsdShade.Shader.Define(stage, path.AppendChild(name))
        shader.CreateIdAttr(identifier)
        return shader

    surface = node("open_pbr_surface", "ND_open_pbr_surface_surfaceshader")
    material.CreateSurfaceOutput("mtlx").ConnectToSource(surface.CreateOutput("out", kinds.Token))
    reader = node("open_pbr_uv", "ND_geompropvalue_vector2")
    reader.CreateInput("geomprop", kinds.String).Set(uv_primvar)
    coordinates = reader.CreateOutput("out", kinds.Float2)
    for channel, (name, mtlx_type) in INPUTS.items():
        kind = usd_types[mtlx_type]
        image = node(f"open_pbr_{channel}", f"ND_image_{mtlx_type}")
        file = image.CreateInput("file", kinds.Asset)
        file.Set(Sdf.AssetPath(textures[channel]))
        file.GetAttr().SetColorSpace("srgb_texture" if channel == "albedo" else "raw")
        image.CreateInput("texcoord", kinds.Float2).ConnectToSource(coordinates)
        for mode in ("uaddressmode", "vaddressmode"):
            image.CreateInput(mode, kinds.String).Set("periodic")
        output = image.CreateOutput("out", kind)
        if channel == "normal":
            normal_map = node("open_pbr_normal_map", "ND_normalmap")  # decodes n * 0.5 + 0.5 itself
            normal_map.CreateInput("in", kinds.Float3).ConnectToSource(output)
            output = normal_map.CreateOutput("out", kinds.Float3)
        surface.CreateInput(name, kind).ConnectToSource(output)
