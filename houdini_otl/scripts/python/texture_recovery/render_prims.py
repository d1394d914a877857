"""RenderSettings, RenderProduct and RenderVars that Karma (husk) renders a turntable by.

The names of Karma's attributes are as Houdini 20.5 to 22 write them; see the RenderVar table of `_VARS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

ROOT = "/Render/turntable"
SETTINGS = f"{ROOT}/settings"
PRODUCT = f"{ROOT}/product"
FRAME_TOKEN = "<F4>"
ENGINES = ("cpu", "xpu")
SAMPLES = "karma:global:pathtracedsamples"
"""Karma's samples per pixel, an attribute of RenderSettings."""


class _Var(NamedTuple):
    """A RenderVar: USD's data type and source, Karma's AOV name, pixel format and filter."""

    data_type: str
    source_type: str
    source: str
    name: str
    format: str
    filter: str


_AVERAGE = '["ubox",{}]'
_NEAREST = '["minmax",{"mode":"zmin"}]'  # an average of two depths or normals would be neither

_VARS = {
    "beauty": _Var("color4f", "lpe", "C.*[LO]", "C", "color4h", _AVERAGE),
    "albedo": _Var("color3f", "raw", "export_basecolor", "albedo", "color3h", _AVERAGE),
    "normal": _Var("normal3f", "raw", "ray:hitN", "N", "float3", _NEAREST),
    "depth": _Var("float", "raw", "ray:hitPz", "depth", "float", _NEAREST),
}


def write_render_prims(
    stage: Any,
    *,
    camera: str,
    resolution: tuple[int, int],
    samples: int,
    engine: str,
    aovs: Sequence[str],
    picture: str,
    frames: Sequence[int],
) -> list[str]:
    """Authors the settings below ROOT and names them as the layer's; returns the prims' paths.

    engine: one of ENGINES. aovs: of `albedo`, `normal` and `depth`, written beside the beauty. picture: file
    name, with FRAME_TOKEN where the frame's number belongs.
    """
    from pxr import Gf, Sdf, UsdGeom, UsdRender

    for scope in ("/Render", ROOT, f"{ROOT}/vars"):
        if not stage.GetPrimAtPath(scope):
            UsdGeom.Scope.Define(stage, scope)

    settings = UsdRender.Settings.Define(stage, SETTINGS)
    settings.CreateCameraRel().SetTargets([camera])
    settings.CreateProductsRel().SetTargets([PRODUCT])
    settings.CreateResolutionAttr(Gf.Vec2i(*resolution))
    settings.CreatePixelAspectRatioAttr(1.0)
    settings.CreateDisableMotionBlurAttr(True)  # a blurred picture measures nothing
    _set(settings, "karma:global:engine", Sdf.ValueTypeNames.Token, engine)
    _set(settings, SAMPLES, Sdf.ValueTypeNames.Int, samples)

    product = UsdRender.Product.Define(stage, PRODUCT)
    product.CreateProductTypeAttr(UsdRender.Tokens.raster)
    name = product.CreateProductNameAttr()
    name.Clear()
    for frame in frames:
        name.Set(picture.replace(FRAME_TOKEN, f"{frame:04d}"), frame)
    wanted = ["beauty", *aovs]
    product.CreateOrderedVarsRel().SetTargets([_define_var(stage, aov) for aov in wanted])

    layer = stage.GetEditTarget().GetLayer()
    layer.pseudoRoot.SetInfo("renderSettingsPrimPath", SETTINGS)
    return [SETTINGS, PRODUCT, *(f"{ROOT}/vars/{aov}" for aov in wanted)]


def _define_var(stage: Any, aov: str) -> Any:
    from pxr import Sdf, UsdRender

    record = _VARS[aov]
    var = UsdRender.Var.Define(stage, f"{ROOT}/vars/{aov}")
    var.CreateDataTypeAttr(record.data_type)
    var.CreateSourceTypeAttr(record.source_type)
    var.CreateSourceNameAttr(record.source)
    kinds = Sdf.ValueTypeNames
    _set(var, "driver:parameters:aov:name", kinds.String, record.name)
    _set(var, "driver:parameters:aov:format", kinds.Token, record.format)
    _set(var, "driver:parameters:aov:karma:filter", kinds.String, record.filter)
    # Lossless: Karma's default compression changes what is measured.
    _set(var, "driver:parameters:aov:husk:OpenEXR:compression", kinds.Token, "zips")
    return var.GetPath()


def _set(schema: Any, name: str, kind: Any, value: object) -> None:
    schema.GetPrim().CreateAttribute(name, kind, custom=False).Set(value)
