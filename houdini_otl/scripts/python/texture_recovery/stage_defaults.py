"""What a stage itself tells of how it is rendered: what an export's form first shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from texture_recovery.render_prims import SAMPLES
from texture_recovery.turntable import MARKER
from usd_tools.camera_selection import camera_samples, find_cameras
from usd_tools.render_settings import picture_format, stage_settings


def export_frames(stage: Any, cameras: Sequence[str], now: float, playbar: tuple[float, float]) -> str:
    """The frames to render through `cameras`, as a SPEC.

    Those of the turntable that is among them; of several cameras that stand still, the current one `now`; the
    stage's own range; and `playbar`, first and last, where the stage, as usual for LOPs, has none.
    """
    chosen = find_cameras(stage, cameras)
    ours = [camera for camera in chosen if camera.GetPrim().GetCustomDataByKey(MARKER)]
    times = [time for camera in ours for time in camera_samples(camera)]
    if times:
        return _range(min(times), max(times))
    if len(chosen) > 1 and not any(camera_samples(camera) for camera in chosen):
        return f"{now:g}"
    if stage.HasAuthoredTimeCodeRange():
        return _range(stage.GetStartTimeCode(), stage.GetEndTimeCode())
    return _range(*playbar)


def export_resolution(stage: Any, camera: str, now: float) -> tuple[int, int] | None:
    """Width and height of pictures through `camera`, by the stage's render settings; None without any.

    Raises:
        UserError: the settings contradict themselves.
    """
    return picture_format(stage, camera, now).resolution


def export_samples(stage: Any) -> int | None:
    """Karma's samples per pixel, by the stage's render settings; None without any."""
    settings = stage_settings(stage)
    value = settings.GetPrim().GetAttribute(SAMPLES).Get() if settings else None
    return value if isinstance(value, int) and value > 0 else None


def _range(first: float, last: float) -> str:
    return f"{first:g}:{last:g}"
