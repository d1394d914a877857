"""The lights of a stage: domes and distant lights, which one probe can hold; others are refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.distant_light import Distant, read_distant
from usd_tools.dome_light import DOME_TYPES, Dome, read_dome, stage_to_dome
from usd_tools.errors import UserError
from usd_tools.light_emission import read_emission
from usd_tools.matrices import Matrix, nearest_rotation
from usd_tools.probe_job import DistantJob, DomeJob, ProbeJob
from usd_tools.stage import active_prims

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class StageLights:
    """Everything that shines on the object, at one moment; at least one light."""

    domes: tuple[Dome, ...]
    distants: tuple[Distant, ...]


def find_lights(stage: Any, time: float, lit: Any = None) -> StageLights:
    """The stage's visible lights that emit anything.

    lit: the UsdPrim they are to light; lights whose lightLink leaves it out are left out. None: all lights.

    Raises:
        UserError: there is none; some are local or have filters; a picture is missing or unusable.
    """
    name = stage.GetRootLayer().GetDisplayName()
    prims = [prim for prim in _visible_lights(stage, time) if lit is None or _links(prim, lit)]
    prims = [prim for prim in prims if any(read_emission(prim, time))]
    if not prims:
        raise UserError(f"{name}: has no light that shines; add the DomeLight of the renders")
    local = [prim for prim in prims if prim.GetTypeName() not in (*DOME_TYPES, "DistantLight")]
    if local:
        names = ", ".join(f"{prim.GetPath()} ({prim.GetTypeName()})" for prim in local[:6])
        raise UserError(
            f"{name}: has local lights ({names}), which no light probe can hold; hide them if the renders "
            "are without them"
        )
    for prim in prims:
        filters = prim.GetRelationship("light:filters")
        if filters and filters.GetTargets():
            raise UserError(
                f"{prim.GetPath()}: has a light filter ({filters.GetTargets()[0]}), which is not supported; "
                "remove it"
            )
    return StageLights(
        tuple(read_dome(stage, prim, time) for prim in prims if prim.GetTypeName() in DOME_TYPES),
        tuple(read_distant(prim, time) for prim in prims if prim.GetTypeName() == "DistantLight"),
    )


def _visible_lights(stage: Any, time: float) -> list[Any]:
    from pxr import UsdGeom, UsdLux

    return [
        prim
        for prim in active_prims(stage.GetPseudoRoot())
        if prim.HasAPI(UsdLux.LightAPI)
        and UsdGeom.Imageable(prim).ComputeVisibility(time) != UsdGeom.Tokens.invisible
    ]


def _links(light: Any, lit: Any) -> bool:
    from pxr import UsdLux

    query = UsdLux.LightAPI(light).GetLightLinkCollectionAPI().ComputeMembershipQuery()
    return bool(query.IsPathIncluded(lit.GetPath()))


def probe_job(lights: StageLights, turn: Matrix) -> ProbeJob:
    """How to bake `lights` into a probe in another frame.

    turn: (3, 3) rotation that takes directions of stage space there.
    """
    return ProbeJob(
        tuple(
            DomeJob(dome.texture, dome.color, stage_to_dome(dome) @ turn.T, dome.any_shape, dome.color_space)
            for dome in lights.domes
        ),
        tuple(
            DistantJob(turn @ light.direction, light.half_angle, light.irradiance)
            for light in lights.distants
        ),
    )


def rotation_since(stage: Any, start: StageLights, time: float, lit: Any = None) -> Matrix:
    """(3, 3) R, stage space, by which all lights turn from `start` to `time`: L_time(d) = L_start(R^T d).

    Raises:
        UserError: they do not turn as one, or change otherwise (brighter, another picture, on or off).
    """
    now = find_lights(stage, time, lit)
    _check_same_lights(start, now, time)
    rotation = _turn(start, now)
    for before, after in zip(start.domes, now.domes):
        turned = stage_to_dome(after) @ rotation
        if before.texture and not np.allclose(turned, stage_to_dome(before), atol=_TOLERANCE):
            raise UserError(_turns_alone(after.path, time))
    for old, new in zip(start.distants, now.distants):
        if not np.allclose(rotation @ old.direction, new.direction, atol=_TOLERANCE):
            raise UserError(_turns_alone(new.path, time))
    return rotation


def rotations_since(
    stage: Any, start: StageLights, times: Iterable[float], lit: Any = None
) -> dict[float, Matrix]:
    """`rotation_since` for many times; lights that cannot vary are looked at once only.

    Raises:
        UserError: as `rotation_since`.
    """
    if not lights_vary(stage):
        return {time: np.eye(3) for time in times}
    return {time: rotation_since(stage, start, time, lit) for time in times}


def _turn(start: StageLights, now: StageLights) -> Matrix:
    """How the first light that has an orientation has turned."""
    for before, after in zip(start.domes, now.domes):
        if before.texture:
            return nearest_rotation(stage_to_dome(after).T @ stage_to_dome(before))
    for old, new in zip(start.distants, now.distants):
        return nearest_rotation(new.light_to_stage) @ nearest_rotation(old.light_to_stage).T
    return np.eye(3)


def _check_same_lights(start: StageLights, now: StageLights, time: float) -> None:
    before, after = _emissions(start), _emissions(now)
    changed = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    if changed:
        raise UserError(
            f"{changed[0]}: its light changes until frame {time:g}; expected lights that only turn, as one"
        )


def _emissions(lights: StageLights) -> dict[str, tuple[Any, ...]]:
    """What may not change, by the light's path."""
    return {
        **{dome.path: (dome.texture, *np.round(dome.color, 6)) for dome in lights.domes},
        **{x.path: (round(x.half_angle, 6), *np.round(x.irradiance, 6)) for x in lights.distants},
    }


def _turns_alone(path: str, time: float) -> str:
    return f"{path}: turns by itself until frame {time:g}; expected that all lights turn as one"


def light_paths(stage: Any) -> list[str]:
    """All prims that are lights, visible or not: what a recovered light takes the place of."""
    from pxr import UsdLux

    prims = active_prims(stage.GetPseudoRoot())
    return [str(prim.GetPath()) for prim in prims if prim.HasAPI(UsdLux.LightAPI)]


def lights_vary(stage: Any) -> bool:
    """Whether anything of any light, or of the prims above it, has time samples that may differ."""
    from pxr import Sdf

    prims = {prefix for path in light_paths(stage) for prefix in Sdf.Path(path).GetPrefixes()}
    return any(
        attribute.ValueMightBeTimeVarying()
        for path in prims
        for attribute in stage.GetPrimAtPath(path).GetAuthoredAttributes()
    )
