"""Which frames are converted, and which of them are held out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from usd_tools.errors import UserError

LARGEST_COUNT = 100_000
"""Frames a SPEC may name; more is a typing error, not a turntable."""

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER})(?::({_NUMBER}))?")


def parse_frames(spec: str, option: str = "--frames") -> list[float]:
    """The frames, ascending and without repetition, of `1:50` (inclusive), `1:50:2` or `1,5,9` (or a mix).

    Raises:
        UserError: `spec` is none of these, or names more than LARGEST_COUNT frames.
    """
    frames: set[float] = set()
    for part in spec.split(","):
        part = part.strip()
        if match := _RANGE.fullmatch(part):
            first, last = float(match[1]), float(match[2])
            step = float(match[3] or 1)
            if step <= 0 or last < first:
                raise UserError(f"{option} {spec}: expected FIRST:LAST:STEP with FIRST <= LAST and STEP > 0")
            count = int((last - first) / step + 1e-6) + 1
            if count > LARGEST_COUNT:
                raise UserError(f"{option} {spec}: names {count} frames; expected at most {LARGEST_COUNT}")
            frames.update(round(first + i * step, 6) for i in range(count))
        elif re.fullmatch(_NUMBER, part):
            frames.add(float(part))
        else:
            raise UserError(f"{option} {spec}: expected frames as 1:50, 1:50:2 or 1,5,9")
    return sorted(frames)


@dataclass(frozen=True)
class Split:
    """frames: all selected ones, ascending. test: those of them that are held out."""

    frames: tuple[float, ...]
    test: frozenset[float]


def split_frames(
    selected: Sequence[Iterable[float]], test_spec: str | None, test_every: int | None
) -> list[Split]:
    """Holds out the frames of `test_spec` (added where not selected), or every `test_every`th picture.

    selected: the frames of each camera. Pictures are counted from 0, camera by camera; held out are those
        that `test_every` divides.

    Raises:
        UserError: no frame is left to train on, or `test_every` is below 1.
    """
    if test_every is not None and test_every < 1:
        raise UserError(f"--test-every {test_every}: expected 2 or more")
    named = set() if test_spec is None else set(parse_frames(test_spec, "--test-frames"))
    splits = []
    count = 0
    for frames in (sorted(named.union(frames)) for frames in selected):
        test = set(frames[-count % test_every :: test_every]) if test_every else named
        splits.append(Split(tuple(frames), frozenset(test)))
        count += len(frames)
    if all(len(split.frames) == len(split.test) for split in splits):
        raise UserError(
            "no training frame is left: hold out fewer (--test-frames, --test-every), select more"
        )
    return splits


def format_frames(frames: Iterable[float]) -> str:
    """Frames for people: runs of whole numbers as 3:7."""
    runs: list[list[float]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    texts = [f"{first:g}" if first == last else f"{first:g}:{last:g}" for first, last in runs]
    return ", ".join(texts[:8]) + (", ..." if len(texts) > 8 else "")
