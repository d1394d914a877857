"""What an export renders unless it is told otherwise: what the stage itself tells, else sensible values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from texture_recovery.render_prims import SAMPLES
from texture_recovery.turntable import MARKER
from usd_tools.camera_selection import camera_samples, find_cameras
from usd_tools.render_settings import picture_format, stage_settings


@dataclass(frozen=True)
class ExportDefaults:
    """Of a new turntable. frames: SPEC. resolution: width, height in pixels. samples: Karma's, per pixel."""

    frames: str = "1:64"
    resolution: tuple[int, int] = (512, 512)
    samples: int = 128


def stage_defaults(
    stage: Any, cameras: Sequence[str], now: float, playbar: Sequence[float]
) -> ExportDefaults:
    """What is rendered through `cameras`; none for a new turntable. now: the current frame.

    Frames are those of the turntable among the cameras; of several cameras that stand still, `now`; the
    stage's own range; and `playbar`, first and last, where the stage, as usual for LOPs, has none. Resolution
    and samples are those of the stage's render settings.

    Raises:
        UserError: a camera is missing, or the settings contradict themselves.
    """
    usual = ExportDefaults()
    if not cameras:
        return usual
    chosen = find_cameras(stage, cameras)
    pictures = picture_format(stage, str(chosen[0].GetPath()), now)
    return ExportDefaults(
        _frames(stage, chosen, now, playbar),
        pictures.resolution or usual.resolution,
        _samples(stage) or usual.samples,
    )


def _frames(stage: Any, cameras: Sequence[Any], now: float, playbar: Sequence[float]) -> str:
    ours = [camera for camera in cameras if camera.GetPrim().GetCustomDataByKey(MARKER)]
    times = [time for camera in ours for time in camera_samples(camera)]
    if times:
        return _range(min(times), max(times))
    if len(cameras) > 1 and not any(camera_samples(camera) for camera in cameras):
        return f"{now:g}"
    if stage.HasAuthoredTimeCodeRange():
        return _range(stage.GetStartTimeCode(), stage.GetEndTimeCode())
    return _range(playbar[0], playbar[1])


def _samples(stage: Any) -> int | None:
    settings = stage_settings(stage)
    value = settings.GetPrim().GetAttribute(SAMPLES).Get() if settings else None
    return value if isinstance(value, int) and value > 0 else None


def _range(first: float, last: float) -> str:
    return f"{first:g}:{last:g}"
