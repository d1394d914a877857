"""The arithmetic of material networks, by the names MaterialX gives it. Arrays are (..., C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


def _divide(a: Array, b: Array) -> Array:
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def _power(base: Array, exponent: Array) -> Array:
    return np.power(np.maximum(base, 0), exponent)


def _remap(x: Array, in_low: Array, in_high: Array, out_low: Array, out_high: Array) -> Array:
    return out_low + _divide(x - in_low, in_high - in_low) * (out_high - out_low)


def _range(
    x: Array, in_low: Array, in_high: Array, gamma: Array, out_low: Array, out_high: Array, clamped: Array
) -> Array:
    unit = _divide(x - in_low, in_high - in_low)
    curved = np.sign(unit) * np.abs(unit) ** _divide(np.ones_like(gamma), gamma)
    value = out_low + curved * (out_high - out_low)
    low, high = np.minimum(out_low, out_high), np.maximum(out_low, out_high)
    return np.where(clamped != 0, np.clip(value, low, high), value)


def _smoothstep(x: Array, low: Array, high: Array) -> Array:
    t = np.clip(_divide(x - low, high - low), 0, 1)
    return np.where(x >= high, 1.0, t * t * (3 - 2 * t))


def _luminance(color: Array, weights: Array) -> Array:
    return (color[..., :3] * weights).sum(axis=-1, keepdims=True)


def _saturate(color: Array, amount: Array, weights: Array) -> Array:
    gray = _luminance(color, weights)
    return np.concatenate([gray + (color[..., :3] - gray) * amount, color[..., 3:]], axis=-1)


def _rgb_to_hsv(color: Array) -> Array:
    """Hue, saturation and value, all in 0..1 for colors in 0..1 (Smith 1978)."""
    value = color[..., :3].max(axis=-1)
    chroma = value - color[..., :3].min(axis=-1)
    red, green, blue = (color[..., i] for i in range(3))
    sector = [(green - blue, 0.0), (blue - red, 2.0), (red - green, 4.0)]
    parts = [_divide(difference, chroma) + start for difference, start in sector]
    hue = np.where(value == red, parts[0], np.where(value == green, parts[1], parts[2])) / 6
    hue = np.where(chroma > 0, hue - np.floor(hue), 0.0)
    return np.stack([hue, _divide(chroma, np.maximum(value, 0)), value], axis=-1)


def _hsv_to_rgb(hsv: Array) -> Array:
    hue, saturation, value = (hsv[..., i] for i in range(3))
    places = [np.mod(start + 6 * hue, 6) for start in (5, 3, 1)]
    falls = [np.clip(np.minimum(place, 4 - place), 0, 1) for place in places]
    return np.stack([value - value * saturation * fall for fall in falls], axis=-1)


def _adjust_hsv(color: Array, amount: Array) -> Array:
    """Hue is turned by the first amount, saturation and value are scaled by the others."""
    hsv = _rgb_to_hsv(color)
    turned = hsv[..., :1] + amount[..., :1]
    return _hsv_to_rgb(np.concatenate([turned, hsv[..., 1:] * amount[..., 1:]], axis=-1))


def _take(x: Array, components: Sequence[int]) -> Array:
    """Components in any order; -1 stands for 0 and -2 for 1, as in MaterialX's old swizzles."""
    columns = {-1: np.zeros_like(x[..., :1]), -2: np.ones_like(x[..., :1])}
    return np.concatenate([columns.get(i, x[..., i : i + 1]) for i in components], axis=-1)


def _combine(*parts: Array) -> Array:
    shape = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return np.concatenate([np.broadcast_to(part, (*shape, part.shape[-1])) for part in parts], axis=-1)


def _convert(x: Array, size: int, opaque: bool) -> Array:
    """To `size` components: one is repeated, more are cut, missing ones are 0, or 1 for a color's alpha."""
    have = x.shape[-1]
    if have == 1 and size > 1:
        color = np.repeat(x, 3 if opaque and size == 4 else size, axis=-1)
        return _convert(color, size, opaque) if color.shape[-1] < size else color
    if have >= size:
        return x[..., :size]
    missing = np.zeros((*x.shape[:-1], size - have), x.dtype)
    if opaque and size == 4:
        missing[..., -1] = 1
    return np.concatenate([x, missing], axis=-1)


def _compare(
    test: Callable[[Array, Array], Array],
) -> Callable[[Array, Array, Array, Array], Array]:
    return lambda value1, value2, yes, no: np.where(test(value1, value2), yes, no)


def _switch(which: Array, *choices: Array) -> Array:
    index = np.floor(which).astype(int)
    result: Array = np.zeros_like(choices[0])
    for number, choice in enumerate(choices):
        result = np.where(index == number, choice, result)
    return result


def _normalize(x: Array) -> Array:
    return _divide(x, np.linalg.norm(x, axis=-1, keepdims=True))


def _normal_map(stored: Array, scale: Array) -> Array:
    """MaterialX's normalmap in tangent space: an all black texel is flat."""
    flat = np.array([0.0, 0.0, 1.0], np.float32)
    vector = np.where((stored == 0).all(axis=-1, keepdims=True), flat, stored * 2 - 1)
    stretch = np.concatenate([scale, scale] if scale.shape[-1] == 1 else [scale], axis=-1)
    stretch = np.concatenate([stretch, np.ones_like(stretch[..., :1])], axis=-1)
    return _normalize(vector * stretch)


def _rotate(vector: Array, degrees: Array) -> Array:
    """Counter-clockwise, (..., 2)."""
    angle = np.radians(degrees)
    x, y = vector[..., :1], vector[..., 1:2]
    return np.concatenate(
        [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=-1
    )


OPERATIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": _divide,
    "modulo": lambda a, b: a - b * np.floor(_divide(a, b)),
    "power": _power,
    "safepower": lambda base, exponent: np.sign(base) * np.power(np.abs(base), exponent),
    "min": np.minimum,
    "max": np.maximum,
    "absval": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": lambda x: np.floor(x + 0.5),
    "fract": lambda x: x - np.floor(x),
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
    "sin": np.sin,
    "cos": np.cos,
    "exp": np.exp,
    "clamp": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "invert": lambda x, amount: amount - x,
    "mix": lambda foreground, background, amount: background * (1 - amount) + foreground * amount,
    "remap": _remap,
    "range": _range,
    "smoothstep": _smoothstep,
    "contrast": lambda x, amount, pivot: (x - pivot) * amount + pivot,
    "luminance": _luminance,
    "rgbtohsv": _rgb_to_hsv,
    "hsvtorgb": _hsv_to_rgb,
    "hsvadjust": _adjust_hsv,
    "saturate": _saturate,
    "dotproduct": lambda a, b: (a * b).sum(axis=-1, keepdims=True),
    "magnitude": lambda x: np.linalg.norm(x, axis=-1, keepdims=True),
    "normalize": _normalize,
    "ifgreater": _compare(np.greater),
    "ifgreatereq": _compare(np.greater_equal),
    "ifequal": _compare(np.equal),
    "switch": _switch,
    "combine": _combine,
    "take": _take,
    "convert": _convert,
    "rotate": _rotate,
    "normal_map": _normal_map,
}
"""By name; settings are keyword arguments. Division by zero gives 0, as no map may hold infinities."""


def apply(operation: str, inputs: Sequence[Array], settings: dict[str, Any]) -> Array:
    """One operation on arrays whose leading shapes broadcast."""
    return np.asarray(OPERATIONS[operation](*inputs, **settings))
