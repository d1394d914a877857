"""Reads the shading network behind an input into plain data; each kind of node is handled elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.looks.color_spaces import canonical_color_space, to_rec709
from usd_tools.looks.network import NetworkBuilder

MOST_NODES = 2000
DEEPEST = 150

_SIZES = {"float": 1, "half": 1, "double": 1, "int": 1, "bool": 1, "float2": 2, "half2": 2, "double2": 2}
_SIZES |= {f"{kind}{n}{letter}": n for kind in ("color", "texCoord") for n in (2, 3, 4) for letter in "fdh"}
_SIZES |= {f"{kind}3{letter}": 3 for kind in ("normal", "vector", "point") for letter in "fdh"}
_SIZES |= {f"{kind}{n}": n for kind in ("float", "half", "double") for n in (3, 4)}
_MATERIALX_SIZES = {"float": 1, "integer": 1, "boolean": 1, "vector2": 2, "vector3": 3, "color3": 3}
_MATERIALX_SIZES |= {"vector4": 4, "color4": 4}


@dataclass(frozen=True)
class NodeOutput:
    """One output of a shader: what a handler turns into nodes.

    kind: the shader's name without type, such as "multiply". size: numbers the output has, 0 if not known.
    """

    shader: Any
    name: str
    kind: str
    size: int
    is_color: bool

    @property
    def path(self) -> str:
        return str(self.shader.GetPath())


Handler = Callable[["NetworkReader", NodeOutput], int]


class NetworkReader:
    """Reads shader inputs at one time; nodes shared by several inputs are read once."""

    def __init__(self, time: float, handlers: dict[str, Handler]) -> None:
        self.time = time
        self.builder = NetworkBuilder()
        self._handlers = handlers
        self._known: dict[str, int] = {}
        self._open: list[str] = []

    def value(self, shader: Any, name: str, *default: float) -> int:
        """The node of an input: what is connected, else its constant, else `default`."""
        attribute = source(shader.GetInput(name))
        if attribute is None:
            return self.builder.constant(*default)
        if is_output(attribute):
            return self.output(attribute)
        figures = attribute.Get(self.time)
        if figures is None:
            return self.builder.constant(*default)
        return self._constant(attribute, figures)

    def literal(self, shader: Any, name: str, default: Any) -> Any:
        """The constant of an input that networks cannot drive, such as a wrap mode."""
        attribute = source(shader.GetInput(name))
        if attribute is not None and is_output(attribute):
            raise UserError(f"{shader.GetPath()}.inputs:{name}: is driven by a node; expected a constant")
        found = attribute.Get(self.time) if attribute is not None else None
        return default if found is None else found

    def output(self, attribute: Any) -> int:
        """The node of a shader's output attribute.

        Raises:
            UserError: the network runs in a circle, is absurdly large, or has a node that is not supported.
        """
        path = str(attribute.GetPath())
        if path in self._known:
            return self._known[path]
        if path in self._open:
            raise UserError(f"{path}: depends on itself; mend the connections")
        if len(self._open) >= DEEPEST or len(self._known) >= MOST_NODES:
            raise UserError(f"{path}: the material's network is too large; bake it to textures")
        self._open.append(path)
        found = self._handled(attribute)
        self._open.pop()
        self._known[path] = found
        return found

    def describe(self, attribute: Any) -> NodeOutput:
        """What is known of a shader's output."""
        from pxr import UsdShade

        shader = UsdShade.Shader(attribute.GetPrim())
        name = str(UsdShade.Output(attribute).GetBaseName())
        kind, type_name = split_identifier(str(shader.GetIdAttr().Get() or ""))
        usd_type = str(attribute.GetTypeName())
        size = _SIZES.get(usd_type, 0) or _MATERIALX_SIZES.get(type_name, 0)
        return NodeOutput(shader, name, kind, size, usd_type.startswith("color") or "color" in type_name)

    def _handled(self, attribute: Any) -> int:
        output = self.describe(attribute)
        handler = self._handlers.get(output.kind)
        if handler is None:
            what = f"is a {output.kind} node" if output.kind else "has no info:id"
            raise UserError(f"{output.path}: {what}, which is not supported; bake it to a texture")
        return handler(self, output)

    def _constant(self, attribute: Any, figures: Any) -> int:
        try:
            value = np.atleast_1d(np.array(figures, np.float64)).ravel()
        except (TypeError, ValueError):
            raise UserError(f"{attribute.GetPath()}: is {figures!r}; expected numbers") from None
        if not np.isfinite(value).all():
            raise UserError(f"{attribute.GetPath()}: is not finite; expected numbers")
        if str(attribute.GetTypeName()).startswith("color") and attribute.HasColorSpace():
            value[:3] = to_rec709(value[:3], color_space(attribute))
        return self.builder.constant(*value)


def color_space(attribute: Any) -> str:
    """The canonical name of the color space an attribute's metadata tells, `raw` without any.

    Raises:
        UserError: it is not known.
    """
    name = str(attribute.GetColorSpace() or "")
    known = canonical_color_space(name)
    if known is None:
        raise UserError(
            f"{attribute.GetPath()}: color space {name} is not known; expected srgb_texture, lin_rec709, "
            "acescg, raw or another of MaterialX's"
        )
    return known


def split_identifier(identifier: str) -> tuple[str, str]:
    """A shader's kind and MaterialX type: `ND_multiply_color3FA` is multiply, color3."""
    if not identifier.startswith("ND_"):
        return identifier, ""
    words = identifier[3:].split("_")
    while len(words) > 1 and words[-1].isdecimal():  # a version, such as _1_0_1 or _100
        words.pop()
    if words[-1] == "surfaceshader":
        return "_".join(words[:-1]), "surfaceshader"
    types = [(place, _type_of(word)) for place, word in enumerate(words) if place and _type_of(word)]
    if not types:
        return "_".join(words), ""
    # `convert_color3_vector3` ends with what comes out; everything from the first type on is type.
    return "_".join(words[: types[0][0]]), types[-1][1]


def _type_of(word: str) -> str:
    """`color3` of `color3`, `color3FA`, `color3B` and the like; "" of anything else."""
    for name in _MATERIALX_SIZES:
        if word == name or (word.startswith(name) and word[len(name) :].isupper()):
            return name
    return ""


def source(shader_input: Any) -> Any:
    """The attribute that gives an input its value (through node graphs), or None."""
    if not shader_input:
        return None
    attributes = shader_input.GetValueProducingAttributes()
    return attributes[0] if attributes else None


def is_output(attribute: Any) -> bool:
    from pxr import UsdShade

    return bool(UsdShade.Output.IsOutput(attribute))
