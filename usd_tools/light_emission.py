"""What a UsdLux light emits: intensity, exposure, color and temperature as one linear color."""

from __future__ import annotations

import logging
import math
from typing import Any, TypeVar

import numpy as np

from usd_tools.errors import UserError

log = logging.getLogger(__name__)

Color = tuple[float, float, float]
T = TypeVar("T")


def read_emission(prim: Any, time: float) -> Color:
    """Linear Rec.709 color * temperature * intensity * 2^exposure of a prim with LightAPI, not normalized.

    The temperature's color is UsdLux's own, as renderers have it: near white, not white, at 6500 K.

    Raises:
        UserError: it is negative or not finite.
    """
    from pxr import UsdLux

    color = np.array(light_value(prim, "inputs:color", time, (1.0, 1.0, 1.0)), np.float64)
    if light_value(prim, "inputs:enableColorTemperature", time, False):
        kelvin = light_value(prim, "inputs:colorTemperature", time, 6500.0)
        color = color * np.array(UsdLux.BlackbodyTemperatureAsRgb(kelvin))
    exposure = light_value(prim, "inputs:exposure", time, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        color = color * light_value(prim, "inputs:intensity", time, 1.0) * np.exp2(exposure)
    if not np.isfinite(color).all() or (color < 0).any():
        raise UserError(
            f"{prim.GetPath()}: its color times intensity is {color.tolist()}; expected finite numbers "
            "from 0 on"
        )
    for name in ("diffuse", "specular"):
        if light_value(prim, f"inputs:{name}", time, 1.0) != 1.0:
            log.warning("%s: inputs:%s is not physical and left out", prim.GetPath(), name)
    return float(color[0]), float(color[1]), float(color[2])


def light_value(prim: Any, name: str, time: float, fallback: T) -> T:
    """The attribute's value at `time`: authored, or its schema's; `fallback` where there is neither.

    Raises:
        UserError: it is not of the fallback's kind, or a number that is NaN.
    """
    attribute = prim.GetAttribute(name)
    value: Any = attribute.Get(time) if attribute else None
    if value is None:
        return fallback
    try:
        if isinstance(fallback, tuple):
            value = tuple(float(number) for number in value)
            usable = len(value) == len(fallback)
        elif isinstance(fallback, float):
            usable = not math.isnan(value)
        else:
            usable = isinstance(value, type(fallback))
    except (TypeError, ValueError):
        usable = False
    if not usable:
        kind = "three numbers" if isinstance(fallback, tuple) else type(fallback).__name__
        raise UserError(f"{prim.GetPath()}.{name}: is {value!r}; expected {kind} like {fallback}")
    return value
