"""MaterialX's arithmetic, channel and conversion nodes."""

from __future__ import annotations

from usd_tools.errors import UserError
from usd_tools.looks.stage_network import Handler, NetworkReader, NodeOutput

_ACESCG_LUMINANCE = (0.2722287, 0.6740818, 0.0536895)
"""MaterialX's default weights, whatever the working space."""

_TWO = (("in1", 0.0), ("in2", 0.0))
_FACTOR = (("in1", 0.0), ("in2", 1.0))
_ONE = (("in", 0.0),)
_CHOICE = (("value1", 1.0), ("value2", 0.0), ("in1", 0.0), ("in2", 0.0))

_INPUTS: dict[str, tuple[tuple[str, float], ...]] = {
    "add": _TWO,
    "subtract": _TWO,
    "multiply": _FACTOR,
    "divide": _FACTOR,
    "modulo": _FACTOR,
    "power": _FACTOR,
    "safepower": _FACTOR,
    "min": _TWO,
    "max": _TWO,
    "absval": _ONE,
    "sign": _ONE,
    "floor": _ONE,
    "ceil": _ONE,
    "round": _ONE,
    "fract": _ONE,
    "sqrt": _ONE,
    "sin": _ONE,
    "cos": _ONE,
    "exp": _ONE,
    "normalize": _ONE,
    "rgbtohsv": _ONE,
    "hsvtorgb": _ONE,
    "magnitude": _ONE,
    "clamp": (("in", 0.0), ("low", 0.0), ("high", 1.0)),
    "invert": (("in", 0.0), ("amount", 1.0)),
    "mix": (("fg", 0.0), ("bg", 0.0), ("mix", 0.0)),
    "remap": (("in", 0.0), ("inlow", 0.0), ("inhigh", 1.0), ("outlow", 0.0), ("outhigh", 1.0)),
    "range": (
        ("in", 0.0),
        ("inlow", 0.0),
        ("inhigh", 1.0),
        ("gamma", 1.0),
        ("outlow", 0.0),
        ("outhigh", 1.0),
        ("doclamp", 0.0),
    ),
    "smoothstep": (("in", 0.0), ("low", 0.0), ("high", 1.0)),
    "contrast": (("in", 0.0), ("amount", 1.0), ("pivot", 0.5)),
    "ifgreater": _CHOICE,
    "ifgreatereq": _CHOICE,
    "ifequal": (("value1", 0.0), *_CHOICE[1:]),
    "dotproduct": _TWO,
}
"""The inputs of each node in order, with the fallbacks of MaterialX's definitions."""


def plain(reader: NetworkReader, output: NodeOutput) -> int:
    """A node whose inputs all are numbers."""
    inputs = [reader.value(output.shader, name, default) for name, default in _INPUTS[output.kind]]
    return reader.builder.add(output.kind, inputs)


def constant(reader: NetworkReader, output: NodeOutput) -> int:
    return reader.value(output.shader, "value", *[0.0] * (output.size or 1))


def passed_on(reader: NetworkReader, output: NodeOutput) -> int:
    return reader.value(output.shader, "in", *[0.0] * (output.size or 1))


def luminance(reader: NetworkReader, output: NodeOutput) -> int:
    inputs = [reader.value(output.shader, "in", 0.0, 0.0, 0.0)]
    inputs.append(reader.value(output.shader, "lumacoeffs", *_ACESCG_LUMINANCE))
    return reader.builder.add("luminance", inputs)


def saturate(reader: NetworkReader, output: NodeOutput) -> int:
    inputs = [reader.value(output.shader, "in", 0.0, 0.0, 0.0)]
    inputs.append(reader.value(output.shader, "amount", 1.0))
    inputs.append(reader.value(output.shader, "lumacoeffs", *_ACESCG_LUMINANCE))
    return reader.builder.add("saturate", inputs)


def adjust_hsv(reader: NetworkReader, output: NodeOutput) -> int:
    inputs = [reader.value(output.shader, "in", 0.0, 0.0, 0.0)]
    inputs.append(reader.value(output.shader, "amount", 0.0, 1.0, 1.0))
    return reader.builder.add("hsvadjust", inputs)


def color_correct(reader: NetworkReader, output: NodeOutput) -> int:
    """Hue, saturation, gamma, lift, gain, contrast and exposure, in this order."""
    builder, shader = reader.builder, output.shader

    def given(name: str, neutral: float) -> int:
        return reader.value(shader, name, neutral)

    one = builder.constant(1)
    zero = builder.constant(0)
    value = reader.value(shader, "in", 0.0, 0.0, 0.0)
    value = builder.add("hsvadjust", [value, builder.add("combine", [given("hue", 0.0), one, one])])
    weights = builder.constant(*_ACESCG_LUMINANCE)
    value = builder.add("saturate", [value, given("saturation", 1.0), weights])
    value = builder.add("range", [value, zero, one, given("gamma", 1.0), zero, one, zero])
    lift = given("lift", 0.0)
    value = builder.add("multiply", [value, builder.add("subtract", [one, lift])])
    value = builder.add("add", [value, lift])
    value = builder.add("multiply", [value, given("gain", 1.0)])
    value = builder.add("contrast", [value, given("contrast", 1.0), given("contrastpivot", 0.5)])
    exposure = builder.add("power", [builder.constant(2), given("exposure", 0.0)])
    return builder.add("multiply", [value, exposure])


def extract(reader: NetworkReader, output: NodeOutput) -> int:
    index = int(reader.literal(output.shader, "index", 0))
    if not 0 <= index < 4:
        raise UserError(f"{output.path}: index {index}; expected 0 to 3")
    return reader.builder.add("take", [reader.value(output.shader, "in", *[0.0] * 4)], components=[index])


def separate(reader: NetworkReader, output: NodeOutput) -> int:
    """separate2, 3 and 4: one output for each component."""
    component = {"outx": 0, "outr": 0, "outy": 1, "outg": 1, "outz": 2, "outb": 2, "outw": 3, "outa": 3}
    if output.name not in component:
        raise UserError(f"{output.path}: has no output {output.name}; expected outr, outx and so on")
    value = reader.value(output.shader, "in", *[0.0] * 4)
    return reader.builder.add("take", [value], components=[component[output.name]])


def combine(reader: NetworkReader, output: NodeOutput) -> int:
    """combine2, 3 and 4; `combine2` may also join a color and an alpha, or two pairs."""
    count = int(output.kind[-1])
    parts = [reader.value(output.shader, f"in{place}", 0.0) for place in range(1, count + 1)]
    return reader.builder.add("combine", parts)


def convert(reader: NetworkReader, output: NodeOutput) -> int:
    if not output.size:
        raise UserError(f"{output.path}: converts to an unknown type; expected float, color or vector")
    value = reader.value(output.shader, "in", 0.0)
    return reader.builder.add("convert", [value], size=output.size, opaque=output.is_color)


def swizzle(reader: NetworkReader, output: NodeOutput) -> int:
    """Of MaterialX before 1.39; Houdini writes it still."""
    letters = {"r": 0, "x": 0, "g": 1, "y": 1, "b": 2, "z": 2, "a": 3, "w": 3, "0": -1, "1": -2}
    channels = str(reader.literal(output.shader, "channels", ""))
    if not channels or any(letter not in letters for letter in channels):
        raise UserError(f"{output.path}: channels {channels!r}; expected letters of rgba, xyzw, 0 and 1")
    value = reader.value(output.shader, "in", *[0.0] * 4)
    return reader.builder.add("take", [value], components=[letters[letter] for letter in channels])


def switch(reader: NetworkReader, output: NodeOutput) -> int:
    which = reader.value(output.shader, "which", 0.0)
    zeros = [0.0] * (output.size or 1)
    choices = [reader.value(output.shader, f"in{place}", *zeros) for place in range(1, 11)]
    return reader.builder.add("switch", [which, *choices])


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_INPUTS, plain),
    "constant": constant,
    "dot": passed_on,
    "luminance": luminance,
    "saturate": saturate,
    "hsvadjust": adjust_hsv,
    "colorcorrect": color_correct,
    "extract": extract,
    "separate2": separate,
    "separate3": separate,
    "separate4": separate,
    "combine2": combine,
    "combine3": combine,
    "combine4": combine,
    "convert": convert,
    "swizzle": swizzle,
    "switch": switch,
}
