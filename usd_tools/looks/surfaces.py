"""Which inputs of a surface shader our channels are, for each shading model, and what it has beyond them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from usd_tools.errors import UserError
from usd_tools.looks.network import CHANNELS
from usd_tools.looks.stage_network import NetworkReader, is_output, source

log = logging.getLogger(__name__)

Fallback = tuple[float, ...]


@dataclass(frozen=True)
class SurfaceModel:
    """inputs: shader input and fallback of each channel; occlusion where the model has it.

    weight: an input that multiplies the base color. tangent_space: whether the normal input holds vectors in
    tangent space; else it is in world space, and a normal map node drives it. neutral: inputs that have no
    channel, and the values at which they change nothing.
    """

    inputs: dict[str, tuple[str, Fallback]]
    weight: tuple[str, float] | None = None
    tangent_space: bool = False
    neutral: dict[str, Fallback] = field(default_factory=dict)


_WHITE, _BLACK = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)

PREVIEW_SURFACE = SurfaceModel(
    inputs={
        "albedo": ("diffuseColor", (0.18, 0.18, 0.18)),
        "roughness": ("roughness", (0.5,)),
        "metallic": ("metallic", (0.0,)),
        "occlusion": ("occlusion", (1.0,)),
        "normal": ("normal", (0.0, 0.0, 1.0)),
    },
    tangent_space=True,
    neutral={
        "opacity": (1.0,),
        "clearcoat": (0.0,),
        "displacement": (0.0,),
        "emissiveColor": _BLACK,
        "ior": (1.5,),
    },
)

STANDARD_SURFACE = SurfaceModel(
    inputs={
        "albedo": ("base_color", (0.8, 0.8, 0.8)),
        "roughness": ("specular_roughness", (0.2,)),
        "metallic": ("metalness", (0.0,)),
        "normal": ("normal", (0.0, 0.0, 1.0)),
    },
    weight=("base", 1.0),
    neutral={
        "specular": (1.0,),
        "specular_color": _WHITE,
        "specular_IOR": (1.5,),
        "specular_anisotropy": (0.0,),
        "diffuse_roughness": (0.0,),
        "transmission": (0.0,),
        "subsurface": (0.0,),
        "sheen": (0.0,),
        "coat": (0.0,),
        "thin_film_thickness": (0.0,),
        "emission": (0.0,),
        "opacity": _WHITE,
    },
)

OPEN_PBR = SurfaceModel(
    inputs={
        "albedo": ("base_color", (0.8, 0.8, 0.8)),
        "roughness": ("specular_roughness", (0.3,)),
        "metallic": ("base_metalness", (0.0,)),
        "normal": ("geometry_normal", (0.0, 0.0, 1.0)),
    },
    weight=("base_weight", 1.0),
    neutral={
        "specular_weight": (1.0,),
        "specular_color": _WHITE,
        "specular_ior": (1.5,),
        "specular_roughness_anisotropy": (0.0,),
        "base_diffuse_roughness": (0.0,),
        "transmission_weight": (0.0,),
        "subsurface_weight": (0.0,),
        "fuzz_weight": (0.0,),
        "coat_weight": (0.0,),
        "thin_film_weight": (0.0,),
        "emission_luminance": (0.0,),
        "geometry_opacity": (1.0,),
    },
)

GLTF_PBR = SurfaceModel(
    inputs={
        "albedo": ("base_color", _WHITE),
        "roughness": ("roughness", (1.0,)),
        "metallic": ("metallic", (1.0,)),
        "occlusion": ("occlusion", (1.0,)),
        "normal": ("normal", (0.0, 0.0, 1.0)),
    },
    neutral={
        "specular": (1.0,),
        "specular_color": _WHITE,
        "ior": (1.5,),
        "transmission": (0.0,),
        "sheen_color": _BLACK,
        "clearcoat": (0.0,),
        "iridescence": (0.0,),
        "emissive": _BLACK,
        "alpha": (1.0,),
        "anisotropy_strength": (0.0,),
    },
)

SURFACES = {
    "UsdPreviewSurface": PREVIEW_SURFACE,
    "standard_surface": STANDARD_SURFACE,
    "open_pbr_surface": OPEN_PBR,
    "gltf_pbr": GLTF_PBR,
}
"""By the shader's kind, see `stage_network.split_identifier`."""


def read_channels(reader: NetworkReader, surface: Any, model: SurfaceModel) -> dict[str, int]:
    """The node of each of CHANNELS. What the look has beyond them is warned about.

    Raises:
        UserError: the specular workflow, or nodes that are not supported.
    """
    if reader.literal(surface, "useSpecularWorkflow", 0):
        raise UserError(
            f"{surface.GetPath()}: useSpecularWorkflow is not supported; author metallic, or use "
            "--no-ground-truth"
        )
    builder = reader.builder
    channels = {}
    for channel, width in CHANNELS.items():
        if channel not in model.inputs:
            channels[channel] = builder.constant(*[1.0] * width)
            continue
        name, fallback = model.inputs[channel]
        if channel == "normal" and not model.tangent_space:
            channels[channel] = _world_normal(reader, surface, name)
        else:
            channels[channel] = reader.value(surface, name, *fallback)
    if model.weight:
        weight = reader.value(surface, model.weight[0], model.weight[1])
        if not builder.is_constant(weight, 1.0):
            channels["albedo"] = builder.add("multiply", [channels["albedo"], weight])
    _warn_of_the_rest(surface, model, reader.time)
    return channels


def _world_normal(reader: NetworkReader, surface: Any, name: str) -> int:
    """A world-space normal input as tangent-space vectors: what its normal map node holds."""
    attribute = source(surface.GetInput(name))
    if attribute is None or not is_output(attribute):
        return reader.builder.constant(0.0, 0.0, 1.0)
    output = reader.describe(attribute)
    while output.kind == "dot":
        attribute = source(output.shader.GetInput("in"))
        if attribute is None or not is_output(attribute):
            return reader.builder.constant(0.0, 0.0, 1.0)
        output = reader.describe(attribute)
    if output.kind == "normal":
        return reader.builder.constant(0.0, 0.0, 1.0)
    if output.kind != "normalmap":
        raise UserError(
            f"{surface.GetPath()}.inputs:{name}: is driven by {output.path}, a {output.kind} node; expected "
            "a normalmap node"
        )
    for frame in ("normal", "tangent", "bitangent"):
        axis = source(output.shader.GetInput(frame))
        if axis is not None and is_output(axis) and reader.describe(axis).kind != frame:
            raise UserError(f"{output.path}: has a {frame} of its own, which is not supported; disconnect it")
    space = str(reader.literal(output.shader, "space", "tangent"))
    if space != "tangent":
        raise UserError(f"{output.path}: is in {space} space, which is not supported; bake to tangent space")
    stored = reader.value(output.shader, "in", 0.5, 0.5, 1.0)
    return reader.builder.add("normal_map", [stored, reader.value(output.shader, "scale", 1.0)])


def _warn_of_the_rest(surface: Any, model: SurfaceModel, time: float) -> None:
    for name, neutral in model.neutral.items():
        attribute = source(surface.GetInput(name))
        if attribute is None:
            continue
        if not is_output(attribute):
            value = attribute.Get(time)
            figures = tuple(value) if hasattr(value, "__len__") else (value,)
            if value is None or figures == neutral:
                continue
        log.warning("%s: %s is not part of the ground truth and left out", surface.GetPath(), name)
