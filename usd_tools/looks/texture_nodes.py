"""Nodes that read pictures and texture coordinates: those of UsdPreviewSurface, and MaterialX's."""

from __future__ import annotations

from typing import Any

from usd_tools.asset_paths import asset_file, names_nothing
from usd_tools.errors import UserError
from usd_tools.looks.stage_network import Handler, NetworkReader, NodeOutput, color_space, is_output, source
from usd_tools.looks.texture_lookup import WRAP_MODES

_ADDRESS_MODES = {"periodic": "repeat", "clamp": "clamp", "mirror": "mirror", "constant": "black"}


def usd_uv_texture(reader: NetworkReader, output: NodeOutput) -> int:
    """UsdUVTexture: (stored value, its curve removed) * scale + bias."""
    builder, shader = reader.builder, output.shader
    components = {"rgb": [0, 1, 2], "r": [0], "g": [1], "b": [2], "a": [3], "rgba": [0, 1, 2, 3]}
    if output.name not in components:
        raise UserError(f"{output.path}: has no output {output.name}; expected rgb, r, g, b or a")
    # MaterialX's version of the node has MaterialX's defaults, and tells color spaces by the file's metadata.
    is_materialx = str(shader.GetIdAttr().Get()).startswith("ND_")
    attribute = source(shader.GetInput("file"))
    default = "periodic" if is_materialx else "useMetadata"
    wrap = [str(reader.literal(shader, name, default)) for name in ("wrapS", "wrapT")]
    wrap = ["repeat" if mode == "periodic" else mode for mode in wrap]
    for mode in wrap:
        if mode not in WRAP_MODES:
            raise UserError(f"{output.path}: wrap mode {mode}; expected one of {', '.join(WRAP_MODES)}")
    if is_materialx:
        space = color_space(attribute) if attribute is not None else "raw"
    else:
        space = str(reader.literal(shader, "sourceColorSpace", "auto"))
        if space not in ("raw", "sRGB", "auto"):
            raise UserError(f"{output.path}: sourceColorSpace {space}; expected raw, sRGB or auto")
    fallback = reader.literal(shader, "fallback", None)
    if fallback is not None and names_nothing(attribute, reader.time):
        texture = builder.constant(*fallback)
    else:
        file = asset_file(attribute, f"{output.path}.inputs:file", reader.time, udim=True)
        texture = builder.add(
            "texture",
            [_coordinates(reader, output, "st")],
            file=file,
            color_space=space,
            wrap=wrap,
            outside=[0.0] * 4,
        )
        scale, bias = (reader.literal(shader, name, None) for name in ("scale", "bias"))
        if scale is not None and tuple(scale) != (1.0,) * 4:
            texture = builder.add("multiply", [texture, builder.constant(*scale)])
        if bias is not None and tuple(bias) != (0.0,) * 4:
            texture = builder.add("add", [texture, builder.constant(*bias)])
    return builder.add("take", [texture], components=components[output.name])


def usd_transform(reader: NetworkReader, output: NodeOutput) -> int:
    """UsdTransform2d: in * scale, turned counter-clockwise, + translation."""
    builder, shader = reader.builder, output.shader
    value = _coordinates(reader, output, "in")
    value = builder.add("multiply", [value, reader.value(shader, "scale", 1.0, 1.0)])
    value = builder.add("rotate", [value, reader.value(shader, "rotation", 0.0)])
    return builder.add("add", [value, reader.value(shader, "translation", 0.0, 0.0)])


def primvar_reader(reader: NetworkReader, output: NodeOutput) -> int:
    """UsdPrimvarReader_float2, or MaterialX's geompropvalue: texture coordinates only."""
    if output.size not in (0, 2):
        raise UserError(
            f"{output.path}: reads a primvar that is no pair of texture coordinates, which is not supported; "
            "bake it to a texture"
        )
    name = "geomprop" if output.kind.startswith("geomprop") else "varname"
    primvar = str(reader.literal(output.shader, name, "")) or None
    return reader.builder.add("uv", primvar=primvar)


def texture_coordinates(reader: NetworkReader, output: NodeOutput) -> int:
    """MaterialX's texcoord: the mesh's own set."""
    index = int(reader.literal(output.shader, "index", 0))
    return reader.builder.add("uv", primvar=None if index == 0 else f"st{index}")


def image(reader: NetworkReader, output: NodeOutput) -> int:
    """MaterialX's image."""
    return _image(reader, output, _coordinates(reader, output, "texcoord"))


def tiled_image(reader: NetworkReader, output: NodeOutput) -> int:
    """MaterialX's tiledimage: repeats at (texcoord * uvtiling - uvoffset) / image size * tile size."""
    builder, shader = reader.builder, output.shader
    uv = _coordinates(reader, output, "texcoord")
    for operation, name, neutral in (
        ("multiply", "uvtiling", 1.0),
        ("subtract", "uvoffset", 0.0),
        ("divide", "realworldimagesize", 1.0),
        ("multiply", "realworldtilesize", 1.0),
    ):
        amount = reader.value(shader, name, neutral, neutral)
        if not builder.is_constant(amount, neutral, neutral):
            uv = builder.add(operation, [uv, amount])
    return _image(reader, output, uv)


def _image(reader: NetworkReader, output: NodeOutput, uv: int) -> int:
    builder, shader = reader.builder, output.shader
    modes = []
    for name in ("uaddressmode", "vaddressmode"):
        mode = str(reader.literal(shader, name, "periodic"))
        if mode not in _ADDRESS_MODES:
            raise UserError(f"{output.path}: {name} {mode}; expected one of {', '.join(_ADDRESS_MODES)}")
        modes.append(_ADDRESS_MODES[mode])
    size = output.size or 3
    default = [float(v) for v in _figures(reader.literal(shader, "default", [0.0] * size))]
    attribute = source(shader.GetInput("file"))
    if names_nothing(attribute, reader.time):
        return builder.constant(*default)
    space = color_space(attribute) if output.is_color else "raw"
    texture = builder.add(
        "texture",
        [uv],
        file=asset_file(attribute, f"{output.path}.inputs:file", reader.time, udim=True),
        color_space=space,
        wrap=modes,
        outside=(default + [1.0] * 4)[:4] if size >= 3 else (default * 4)[:4],
    )
    return builder.add("take", [texture], components=list(range(size)))


def _figures(value: Any) -> list[float]:
    return list(value) if hasattr(value, "__len__") else [value]


def place2d(reader: NetworkReader, output: NodeOutput) -> int:
    """MaterialX's place2d: about a pivot, divided by scale, turned, less the offset; or in reverse."""
    builder, shader = reader.builder, output.shader
    pivot = reader.value(shader, "pivot", 0.0, 0.0)
    uv = builder.add("subtract", [_coordinates(reader, output, "texcoord"), pivot])
    scale, offset = reader.value(shader, "scale", 1.0, 1.0), reader.value(shader, "offset", 0.0, 0.0)
    clockwise = builder.add("multiply", [reader.value(shader, "rotate", 0.0), builder.constant(-1)])
    steps = [("divide", scale), ("rotate", clockwise), ("subtract", offset)]
    if int(reader.literal(shader, "operationorder", 0)):
        steps.reverse()
    for operation, amount in steps:
        uv = builder.add(operation, [uv, amount])
    return builder.add("add", [uv, pivot])


def rotate2d(reader: NetworkReader, output: NodeOutput) -> int:
    """MaterialX's rotate2d turns clockwise."""
    builder = reader.builder
    amount = reader.value(output.shader, "amount", 0.0)
    clockwise = builder.add("multiply", [amount, builder.constant(-1)])
    return builder.add("rotate", [reader.value(output.shader, "in", 0.0, 0.0), clockwise])


def _coordinates(reader: NetworkReader, output: NodeOutput, name: str) -> int:
    """An input for texture coordinates: the mesh's own where nothing is connected or given."""
    attribute = source(output.shader.GetInput(name))
    if attribute is None or (not is_output(attribute) and attribute.Get(reader.time) is None):
        return reader.builder.add("uv", primvar=None)
    return reader.value(output.shader, name, 0.0, 0.0)


HANDLERS: dict[str, Handler] = {
    "UsdUVTexture": usd_uv_texture,
    "UsdTransform2d": usd_transform,
    "UsdPrimvarReader_float2": primvar_reader,
    "UsdPrimvarReader": primvar_reader,
    "geompropvalue": primvar_reader,
    "geompropvalueuniform": primvar_reader,
    "texcoord": texture_coordinates,
    "image": image,
    "tiledimage": tiled_image,
    "place2d": place2d,
    "rotate2d": rotate2d,
}
