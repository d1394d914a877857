"""Learning-rate multipliers of the two stages, as pure functions of (step, total).

`step` counts from 0 within its stage, `total` is the stage's number of steps; the result multiplies the base
rate (0.03 coarse, 0.003 fine). n, the exponent's count, starts where a decay starts.
"""

from __future__ import annotations

from collections.abc import Callable

from usd_tools.errors import UserError

Schedule = Callable[[int, int], float]

_WARM_UP = 100
_FIELD_WARM_UP = 50


def coarse_a(step: int, total: int) -> float:
    """Albedo and normal lead: 1 falls linearly to 0.68 over the first half, then 0.68 * 10^(-0.0001 n)."""
    half = total / 2
    if step < half:
        return _line(step / half, 1.0, 0.68)
    return 0.68 * _decay(step - half, 0.0001)


def coarse_b(step: int, total: int, rise: float = 0.5) -> float:
    """Roughness and metallic: 0 rises linearly to 1 over the first half, then 10^(-0.0002 n).

    rise: another share of the stage than half of it. At 0 the branch learns from the first step on.
    """
    start = rise * total
    if step < start:
        return step / start
    return _decay(step - start, 0.0002)


def coarse_geometry(step: int, total: int) -> float:
    """nvdiffrec's decay from the first step on: 10^(-0.0002 n)."""
    return _decay(step, 0.0002)


def fine_a(step: int, total: int) -> float:
    """Warm-up from 0 over 100 steps, then 10^(-0.0002 n)."""
    if step < _WARM_UP:
        return step / _WARM_UP
    return _decay(step - _WARM_UP, 0.0002)


def fine_b(step: int, total: int) -> float:
    """Rises linearly from 0.01 to 1 over the first 20 %, holds for 20 %, falls linearly to 0.1 at the end."""
    rise, hold = 0.2 * total, 0.4 * total
    if step < rise:
        return _line(step / rise, 0.01, 1.0)
    if step <= hold:
        return 1.0
    return _line(min((step - hold) / (total - hold), 1.0), 1.0, 0.1)


def fine_geometry(step: int, total: int) -> float:
    """nvdiffrec's second pass: warm-up from 0 over 100 steps, then 10^(-0.0002 n), the same as `fine_a`."""
    return fine_a(step, total)


def coarse_joint(step: int, total: int) -> float:
    """The joint baseline follows the mesh's schedule."""
    return coarse_geometry(step, total)


def fine_joint(step: int, total: int) -> float:
    """The joint baseline follows the mesh's schedule."""
    return fine_geometry(step, total)


def fine_field(step: int, total: int) -> float:
    """A field that goes on learning: warm-up over 50 steps, and from 30 % on an exponential fall to 2 %."""
    return min(1.0, (step + 1) / _FIELD_WARM_UP) * annealed(lambda *_: 1.0, 0.02, 0.3)(step, total)


def annealed(schedule: Schedule, final: float, begin: float = 0.5) -> Schedule:
    """`schedule` with an exponential fall to the share `final` of it at the end, from the share `begin` on.

    At a constant rate Adam's steps keep their size, and noise of that size stays in what is learnt.
    """

    def fall(step: int, total: int) -> float:
        progress = (step / total - begin) / (1.0 - begin)
        return schedule(step, total) * final ** max(0.0, progress)

    return fall


SCHEDULES: dict[str, Schedule] = {
    "coarse_a": coarse_a,
    "coarse_b": coarse_b,
    "coarse_geometry": coarse_geometry,
    "coarse_joint": coarse_joint,
    "fine_a": fine_a,
    "fine_b": fine_b,
    "fine_field": fine_field,
    "fine_geometry": fine_geometry,
    "fine_joint": fine_joint,
}


def schedule(name: str) -> Schedule:
    """The schedule called `name`; an unknown name is a `UserError` that lists the known ones."""
    if name not in SCHEDULES:
        raise UserError(f"schedule {name!r}: unknown; use one of {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def _line(share: float, start: float, end: float) -> float:
    return start + (end - start) * share


def _decay(n: float, rate: float) -> float:
    return 10.0 ** (-rate * n)
