"""A stage's distant illumination as plain data, for the pixel part to bake into one lat-long probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.matrices import Matrix


@dataclass(frozen=True)
class DomeJob:
    """texture: lat-long file, or None for a uniform light. color: its factor, linear Rec.709.

    target_to_light: (3, 3) takes directions of the probe's frame into the light's own, in which the picture's
        center column looks at +Z, the one at a quarter of the width at +X, the top row at +Y.
    any_shape: whether pictures that are not 2:1 count as lat-long, too.
    color_space: name authored on the stage; None where the picture itself has to tell.
    """

    texture: str | None
    color: tuple[float, ...]
    target_to_light: Matrix
    any_shape: bool = False
    color_space: str | None = None


@dataclass(frozen=True)
class DistantJob:
    """A disc of constant radiance, infinitely far away.

    direction: (3,) unit, towards the light, in the probe's frame. half_angle: radians, 0 to pi.
    irradiance: linear Rec.709, on a plane that faces the light.
    """

    direction: Matrix
    half_angle: float
    irradiance: tuple[float, ...]


@dataclass(frozen=True)
class ProbeJob:
    """Lights that add up."""

    domes: tuple[DomeJob, ...] = ()
    distants: tuple[DistantJob, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "domes": [
                {**vars(dome), "target_to_light": dome.target_to_light.tolist()} for dome in self.domes
            ],
            "distants": [{**vars(light), "direction": light.direction.tolist()} for light in self.distants],
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> ProbeJob:
        """The inverse of `to_json`."""
        return ProbeJob(
            tuple(
                DomeJob(
                    **{
                        **dome,
                        "color": tuple(dome["color"]),
                        "target_to_light": np.array(dome["target_to_light"]),
                    }
                )
                for dome in data["domes"]
            ),
            tuple(
                DistantJob(np.array(light["direction"]), light["half_angle"], tuple(light["irradiance"]))
                for light in data["distants"]
            ),
        )
