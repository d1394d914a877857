"""The look bound to a mesh: a UsdPreviewSurface as plain data, one source per channel."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from usd_tools.errors import UserError
from usd_tools.files import is_url

log = logging.getLogger(__name__)

INPUTS = {
    "albedo": ("diffuseColor", (0.18, 0.18, 0.18)),
    "roughness": ("roughness", (0.5,)),
    "metallic": ("metallic", (0.0,)),
    "occlusion": ("occlusion", (1.0,)),
    "normal": ("normal", (0.0, 0.0, 1.0)),
}
"""Our channels as UsdPreviewSurface inputs, with the fallbacks of its specification."""

WRAP_MODES = ("repeat", "clamp", "mirror", "black", "useMetadata")


@dataclass(frozen=True)
class Texture:
    """A UsdUVTexture: value = stored value (curve removed as `color_space` says) * scale + bias.

    components: which of the result's components are taken, "rgb" or one of "r", "g", "b", "a".
    color_space: "raw", "sRGB" or "auto". wrap: the modes of s and t.
    """

    file: str
    components: str
    scale: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    bias: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    color_space: str = "auto"
    wrap: tuple[str, str] = ("useMetadata", "useMetadata")


@dataclass(frozen=True)
class Channel:
    """One channel of a look: a constant (linear), overridden by `texture` where there is one."""

    constant: tuple[float, ...]
    texture: Texture | None = None


@dataclass(frozen=True)
class Look:
    """A channel for each key of INPUTS. uv_primvar: the primvar all textures read, None without textures."""

    channels: dict[str, Channel]
    uv_primvar: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"channels": {name: asdict(channel) for name, channel in self.channels.items()}}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Look:
        """The inverse of `to_json`; `uv_primvar`, which only the stage needs, is not kept."""
        channels = {}
        for name, channel in data["channels"].items():
            texture = channel["texture"]
            if texture is not None:
                lists = {key: tuple(texture[key]) for key in ("scale", "bias", "wrap")}
                texture = Texture(**{**texture, **lists})
            channels[name] = Channel(tuple(channel["constant"]), texture)
        return Look(channels)


def read_look(mesh: Any, time: float) -> Look:
    """The UsdPreviewSurface bound to a UsdGeom.Mesh.

    Raises:
        UserError: there is none, or it uses what is not supported (each named).
    """
    from pxr import UsdShade

    prim = mesh.GetPrim()
    subsets = UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets()
    if subsets:
        names = ", ".join(str(subset.GetPrim().GetName()) for subset in subsets[:6])
        raise UserError(
            f"{prim.GetPath()}: has several materials by GeomSubsets ({names}), which are not supported; "
            "bind one material to the whole mesh, or convert with --no-ground-truth"
        )
    material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
    if not material:
        raise UserError(
            f"{prim.GetPath()}: has no material bound; bind a UsdPreviewSurface, or convert with "
            "--no-ground-truth"
        )
    return read_material(material, time)


def read_material(material: Any, time: float) -> Look:
    """The UsdPreviewSurface of a UsdShade.Material, see `read_look`."""
    from pxr import UsdShade

    path = material.GetPath()
    surface, _, _ = material.ComputeSurfaceSource()
    identifier = surface.GetIdAttr().Get() if surface else None
    if identifier != "UsdPreviewSurface":
        found = _foreign_surface(material) if identifier is None else str(identifier)
        raise UserError(
            f"{path}: its surface is {found}; expected a UsdPreviewSurface, or convert with --no-ground-truth"
        )
    if _number(surface, "useSpecularWorkflow", time, 0.0):
        raise UserError(
            f"{surface.GetPath()}: useSpecularWorkflow is not supported; author metallic, or use "
            "--no-ground-truth"
        )
    for name, neutral in (("opacity", 1.0), ("clearcoat", 0.0), ("displacement", 0.0)):
        shader_input = surface.GetInput(name)
        if shader_input and (
            shader_input.HasConnectedSource() or _number(surface, name, time, neutral) != neutral
        ):
            log.warning("%s: %s is not part of the ground truth and left out", surface.GetPath(), name)
    channels: dict[str, Channel] = {}
    primvars: set[str] = set()
    for channel, (name, fallback) in INPUTS.items():
        channels[channel], primvar = _read_channel(surface, name, fallback, time)
        if primvar is not None:
            primvars.add(primvar)
    if len(primvars) > 1:
        raise UserError(f"{path}: its textures read several UV sets ({', '.join(sorted(primvars))}); use one")
    assert isinstance(surface, UsdShade.Shader), "a surface source is a shader"
    return Look(channels, next(iter(primvars), None))


def _foreign_surface(material: Any) -> str:
    """What a material without universal surface has instead, for people."""
    for output in material.GetSurfaceOutputs():
        for source in output.GetConnectedSources()[0]:
            shader = source.source.GetPrim()
            identifier = shader.GetAttribute("info:id").Get() if shader.HasAttribute("info:id") else None
            return f"{identifier or shader.GetPath()} (render context {output.GetBaseName()})"
    return "missing (a referenced .mtlx file is not read)"


def _number(shader: Any, name: str, time: float, fallback: float) -> float:
    shader_input = shader.GetInput(name)
    value = shader_input.Get(time) if shader_input else None
    return fallback if value is None else float(value)


def _read_channel(
    surface: Any, name: str, fallback: tuple[float, ...], time: float
) -> tuple[Channel, str | None]:
    """The channel and the UV primvar its texture reads (None for a constant)."""
    from pxr import UsdShade

    attribute = _source(surface.GetInput(name))
    if attribute is None:
        return Channel(fallback), None
    if not UsdShade.Output.IsOutput(attribute):
        value = attribute.Get(time)
        if value is None:
            return Channel(fallback), None
        constant = tuple(float(x) for x in value) if hasattr(value, "__len__") else (float(value),)
        if len(constant) != len(fallback):
            raise UserError(f"{attribute.GetPath()}: has {len(constant)} numbers; expected {len(fallback)}")
        return Channel(constant), None
    shader = UsdShade.Shader(attribute.GetPrim())
    components = str(UsdShade.Output(attribute).GetBaseName())
    if components not in (("rgb",) if len(fallback) == 3 else ("r", "g", "b", "a")):
        raise UserError(
            f"{attribute.GetPath()}: cannot drive inputs:{name}; expected a texture's matching output"
        )
    texture, primvar = _read_texture(shader, components, time)
    return Channel(fallback, texture), primvar


def _source(shader_input: Any) -> Any:
    """The attribute that gives an input its value (through node graphs), or None."""
    if not shader_input:
        return None
    attributes = shader_input.GetValueProducingAttributes()
    return attributes[0] if attributes else None


def _read_texture(shader: Any, components: str, time: float) -> tuple[Texture, str]:
    path = shader.GetPath()
    identifier = shader.GetIdAttr().Get()
    if identifier != "UsdUVTexture":
        raise UserError(f"{path}: is a {identifier} node; expected a UsdUVTexture or a constant")
    scale, bias = _four(shader, "scale", 1.0, time), _four(shader, "bias", 0.0, time)
    wrap_s, wrap_t = (_token(shader, name, "useMetadata", time) for name in ("wrapS", "wrapT"))
    for mode in (wrap_s, wrap_t):
        if mode not in WRAP_MODES:
            raise UserError(f"{path}: wrap mode {mode}; expected one of {', '.join(WRAP_MODES)}")
    color_space = _token(shader, "sourceColorSpace", "auto", time)
    if color_space not in ("raw", "sRGB", "auto"):
        raise UserError(f"{path}: sourceColorSpace {color_space}; expected raw, sRGB or auto")
    file = asset_file(_source(shader.GetInput("file")), f"{path}.inputs:file", time)
    return Texture(file, components, scale, bias, color_space, (wrap_s, wrap_t)), _read_primvar(shader, time)


def _four(shader: Any, name: str, fallback: float, time: float) -> tuple[float, ...]:
    attribute = _source(shader.GetInput(name))
    value = attribute.Get(time) if attribute is not None else None
    return (fallback,) * 4 if value is None else tuple(float(x) for x in value)


def _token(shader: Any, name: str, fallback: str, time: float) -> str:
    attribute = _source(shader.GetInput(name))
    value = attribute.Get(time) if attribute is not None else None
    return fallback if value is None else str(value)


def _read_primvar(texture: Any, time: float) -> str:
    """The primvar a UsdUVTexture's st input reads; `st` where it says nothing."""
    from pxr import UsdShade

    attribute = _source(texture.GetInput("st"))
    if attribute is None or not UsdShade.Output.IsOutput(attribute):
        return "st"
    shader = UsdShade.Shader(attribute.GetPrim())
    identifier = shader.GetIdAttr().Get()
    if identifier != "UsdPrimvarReader_float2":
        raise UserError(
            f"{shader.GetPath()}: {identifier} between UVs and texture is not supported; connect a "
            "UsdPrimvarReader_float2, or convert with --no-ground-truth"
        )
    return _token(shader, "varname", "st", time)


def asset_file(attribute: Any, name: str, time: float) -> str:
    """The file on this machine that an asset attribute names.

    Raises:
        UserError: it names nothing, a URL, a UDIM set, a file inside a package, or a missing file.
    """
    asset: Any = attribute.Get(time) if attribute is not None else None
    authored = str(asset.path) if asset is not None else ""
    if not authored:
        raise UserError(f"{name}: names no file; expected a picture")
    if is_url(authored):
        raise UserError(f"{name}: @{authored}@ is a URL; expected a file on this machine")
    if "<UDIM>" in authored:
        raise UserError(f"{name}: @{authored}@ is a UDIM set, which is not supported; expected one picture")
    resolved = str(asset.resolvedPath)
    if not resolved:
        raise UserError(f"{name}: @{authored}@ is missing; restore the file or mend the path")
    if not Path(resolved).is_file():
        raise UserError(f"{name}: @{authored}@ is no file of its own (inside a package?); unpack it first")
    return resolved
