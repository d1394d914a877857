"""The light of a stage: one dome as plain data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.materials import asset_file
from usd_tools.matrices import Matrix
from usd_tools.stage import active_prims, up_axis, world_matrix

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dome:
    """A DomeLight.

    texture: lat-long picture in the light's own frame (center column +Z, column at a quarter +X, top row
        +Y), or None for a uniform one.
    color: linear Rec.709 factor: color * temperature * intensity * 2^exposure.
    light_to_world: (4, 4) column vectors, stage space. path: of the prim.
    """

    texture: str | None
    color: tuple[float, float, float]
    light_to_world: Matrix
    path: str


def find_dome(stage: Any, time: float) -> Dome:
    """The stage's only light.

    Raises:
        UserError: there is no light; there are several; it is no dome, or a dome of an unsupported format.
    """
    from pxr import UsdGeom, UsdLux

    name = stage.GetRootLayer().GetDisplayName()
    lights = [
        prim
        for prim in active_prims(stage.GetPseudoRoot())
        if prim.HasAPI(UsdLux.LightAPI)
        and UsdGeom.Imageable(prim).ComputeVisibility(time) != UsdGeom.Tokens.invisible
    ]
    if not lights:
        raise UserError(
            f"{name}: has no light; add the DomeLight of the renders, or convert with --no-ground-truth "
            "and train with light.mode=learnt"
        )
    domes = [prim for prim in lights if prim.GetTypeName() in ("DomeLight", "DomeLight_1")]
    others = [prim for prim in lights if prim not in domes]
    if others:
        names = ", ".join(f"{prim.GetPath()} ({prim.GetTypeName()})" for prim in others[:6])
        raise UserError(
            f"{name}: has lights that are no DomeLight ({names}), which are not supported; remove them or "
            "convert with --no-ground-truth"
        )
    if len(domes) > 1:
        names = ", ".join(str(prim.GetPath()) for prim in domes[:6])
        raise UserError(f"{name}: has {len(domes)} domes ({names}); hide all but one")
    return read_dome(stage, domes[0], time)


def read_dome(stage: Any, prim: Any, time: float) -> Dome:
    """A DomeLight prim as plain data, see `find_dome`."""
    from pxr import UsdLux

    path = str(prim.GetPath())
    texture_format = _value(prim, "inputs:texture:format", time, "automatic")
    if texture_format not in ("automatic", "latlong"):
        raise UserError(f"{path}: texture format {texture_format} is not supported; expected latlong")
    if prim.GetTypeName() == "DomeLight_1":
        pole = _value(prim, "poleAxis", time, "scene")
        if (up_axis(stage) if pole == "scene" else pole) != "Y":
            raise UserError(
                f"{path}: poleAxis {pole} with the pole along Z is not supported; use a DomeLight"
            )
    color = np.array(_value(prim, "inputs:color", time, (1.0, 1.0, 1.0)), np.float64)
    if _value(prim, "inputs:enableColorTemperature", time, False):
        kelvin = _value(prim, "inputs:colorTemperature", time, 6500.0)
        color = color * np.array(UsdLux.BlackbodyTemperatureAsRgb(kelvin))
    gain = _value(prim, "inputs:intensity", time, 1.0) * 2.0 ** _value(prim, "inputs:exposure", time, 0.0)
    color = color * gain
    if not np.isfinite(color).all() or (color < 0).any() or not color.any():
        raise UserError(
            f"{path}: its color times intensity is {color.tolist()}; expected a light that shines"
        )
    attribute = prim.GetAttribute("inputs:texture:file")
    asset = attribute.Get(time) if attribute else None
    texture = asset_file(attribute, f"{path}.inputs:texture:file", time) if asset and asset.path else None
    return Dome(texture, (float(color[0]), float(color[1]), float(color[2])), world_matrix(prim, time), path)


def _value(prim: Any, name: str, time: float, fallback: Any) -> Any:
    attribute = prim.GetAttribute(name)
    value = attribute.Get(time) if attribute else None
    return fallback if value is None else value
