"""DomeLight and DomeLight_1 as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.asset_paths import asset_file
from usd_tools.errors import UserError
from usd_tools.light_emission import Color, light_value, read_emission
from usd_tools.matrices import Matrix
from usd_tools.normalization import Y_UP_TO_Z_UP
from usd_tools.stage import up_axis, world_matrix

DOME_TYPES = ("DomeLight", "DomeLight_1")


@dataclass(frozen=True)
class Dome:
    """A dome light.

    texture: lat-long picture in the dome's own frame (center column +Z, column at a quarter +X, top row +Y),
        or None for a uniform one. color: its factor, see `read_emission`.
    dome_to_stage: (4, 4) column vectors, from that frame to stage space; holds the pole's turn.
    any_shape, color_space: see `DomeJob`.
    """

    path: str
    texture: str | None
    color: Color
    dome_to_stage: Matrix
    any_shape: bool
    color_space: str | None


def read_dome(stage: Any, prim: Any, time: float) -> Dome:
    """A dome light prim.

    Raises:
        UserError: its picture is missing or of a layout whose orientation USD leaves open, or it has portals.
    """
    path = str(prim.GetPath())
    texture_format = light_value(prim, "inputs:texture:format", time, "automatic")
    if texture_format not in ("automatic", "latlong"):
        # USD names these layouts, but not where the ball or cross looks, and renderers differ.
        raise UserError(
            f"{path}: texture format {texture_format} has no orientation in USD; resample the picture to "
            "lat-long and set the format to latlong"
        )
    if prim.GetRelationship("portals") and prim.GetRelationship("portals").GetTargets():
        raise UserError(f"{path}: has portals, which are local; remove them")
    matrix = world_matrix(prim, time)
    if prim.GetTypeName() == "DomeLight_1" and _pole(stage, prim, time) == "Z":
        matrix = matrix @ Y_UP_TO_Z_UP  # its picture's center looks at -Y then
    texture, color_space = _read_texture(prim, time)
    return Dome(path, texture, read_emission(prim, time), matrix, texture_format == "latlong", color_space)


def _read_texture(prim: Any, time: float) -> tuple[str | None, str | None]:
    """The picture's file and the color space authored for it, each None where there is none."""
    from pxr import Sdf

    attribute = prim.GetAttribute("inputs:texture:file")
    if not attribute:
        return None, None
    asset = attribute.Get(time)
    if asset is None:
        return None, None
    if not isinstance(asset, Sdf.AssetPath):
        raise UserError(f"{attribute.GetPath()}: is {asset!r}; expected an asset path")
    if not asset.path:
        return None, None
    return asset_file(attribute, str(attribute.GetPath()), time), str(attribute.GetColorSpace()) or None


def _pole(stage: Any, prim: Any, time: float) -> str:
    pole = str(light_value(prim, "poleAxis", time, "scene"))
    if pole not in ("scene", "Y", "Z"):
        raise UserError(f"{prim.GetPath()}: poleAxis {pole}; expected scene, Y or Z")
    return up_axis(stage) if pole == "scene" else pole


def stage_to_dome(dome: Dome) -> Matrix:
    """(3, 3) takes directions of stage space into the dome's own frame; of determinant 1 or -1."""
    matrix = np.linalg.inv(dome.dome_to_stage[:3, :3])
    return matrix / np.abs(np.linalg.det(matrix)) ** (1 / 3)
