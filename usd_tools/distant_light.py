"""DistantLight as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from usd_tools.light_emission import Color, light_value, read_emission
from usd_tools.matrices import Matrix, unit
from usd_tools.stage import world_matrix


@dataclass(frozen=True)
class Distant:
    """A DistantLight: a disc of constant radiance, infinitely far away.

    direction: (3,) unit, towards the light, stage space. light_to_stage: (4, 4) column vectors.
    half_angle: radians, 0 to pi. irradiance: linear Rec.709, on a plane that faces the light.
    """

    path: str
    direction: Matrix
    light_to_stage: Matrix
    half_angle: float
    irradiance: Color


def read_distant(prim: Any, time: float) -> Distant:
    """A DistantLight prim; it shines along its own -Z."""
    matrix = world_matrix(prim, time)
    angle = math.radians(min(max(float(light_value(prim, "inputs:angle", time, 0.53)), 0.0), 360.0))
    normalized = bool(light_value(prim, "inputs:normalize", time, False))
    factor = facing_irradiance(angle / 2, normalized)
    red, green, blue = (factor * value for value in read_emission(prim, time))
    return Distant(str(prim.GetPath()), unit(matrix[:3, 2]), matrix, angle / 2, (red, green, blue))


def facing_irradiance(half_angle: float, normalized: bool) -> float:
    """Irradiance of a disc of emission 1 on a plane that faces it.

    normalized: UsdLux's inputs:normalize: emission is then divided by the disc's sizeFactor, which is the
        irradiance itself up to a hemisphere (UsdLuxLightAPI, inputs:normalize). A parallel light's emission
        (half_angle 0) is its irradiance in either case.
    """
    if half_angle == 0:
        return 1.0
    sine = math.sin(half_angle) ** 2
    if half_angle <= math.pi / 2:
        return 1.0 if normalized else math.pi * sine
    return 1 / (2 - sine) if normalized else math.pi  # what lies behind the plane lights it no more
