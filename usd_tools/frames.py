"""Which frames, and which picture belongs to each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from usd_tools.errors import UserError

LARGEST_COUNT = 100_000
"""Frames a SPEC may name; more is a typing error, not a turntable."""

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER})(?::({_NUMBER}))?")
_IMAGE_SUFFIXES = (".exr", ".png", ".jpg", ".jpeg")


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


def split_frames(selected: Iterable[float], test_spec: str | None, test_every: int | None) -> Split:
    """Holds out the frames of `test_spec` (added where not selected), or those with index % test_every == 0.

    Raises:
        UserError: no frame is left to train on, or `test_every` is below 1.
    """
    frames = sorted(set(selected))
    if test_spec is not None:
        test = set(parse_frames(test_spec, "--test-frames"))
        frames = sorted(test.union(frames))
    elif test_every is not None:
        if test_every < 1:
            raise UserError(f"--test-every {test_every}: expected 2 or more")
        test = set(frames[::test_every])
    else:
        test = set()
    if not test.symmetric_difference(frames):
        raise UserError(
            "no training frame is left: hold out fewer (--test-frames, --test-every), select more"
        )
    return Split(tuple(frames), frozenset(test))


def find_pictures(images: str) -> dict[int, Path]:
    """The pictures of a sequence by frame number.

    images: a folder with one sequence (`NAME.0001.exr`, the trailing number is the frame), or a pattern with
        one of `%04d`, `####`, `$F4`, `<F4>` (`$F`, `<F>`, `%d`: any number of digits) in the file's name.

    Raises:
        UserError: there are none, or the folder holds more than one sequence.
    """
    path = Path(images)
    return _sequence_in(path) if path.is_dir() else _matches_of(path)


def _sequence_in(folder: Path) -> dict[int, Path]:
    sequences: dict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"(.*?)(\d+)", path.stem)
        if match and path.suffix.lower() in _IMAGE_SUFFIXES and not path.name.startswith("."):
            _add(sequences[match[1], path.suffix], int(match[2]), path)
    if not sequences:
        raise UserError(f"--images {folder}: no numbered pictures (.exr, .png, .jpg) in it; check the folder")
    if len(sequences) > 1:
        names = ", ".join(f"{prefix}####{suffix}" for prefix, suffix in sorted(sequences))
        raise UserError(f"--images {folder}: holds several sequences ({names}); give one as a pattern")
    return next(iter(sequences.values()))


_TOKENS = re.compile(r"%0?(?P<printf>\d*)d|(?P<hashes>#+)|\$F(?P<houdini>\d?)|<F(?P<angle>\d?)>")


def _matches_of(pattern: Path) -> dict[int, Path]:
    tokens = list(_TOKENS.finditer(pattern.name))
    if len(tokens) != 1:
        raise UserError(
            f"--images {pattern}: expected an existing folder, or a file name with one frame number "
            "as %04d, ####, $F4 or <F4>"
        )
    token = tokens[0]
    digits = len(token["hashes"] or "") or int(token["printf"] or token["houdini"] or token["angle"] or 0)
    before, after = pattern.name[: token.start()], pattern.name[token.end() :]
    # Padded to `digits`; frames that need more digits simply have more.
    number = rf"\d{{{digits}}}|[1-9]\d{{{digits},}}" if digits else r"\d+"
    name = re.compile(f"{re.escape(before)}({number}){re.escape(after)}")
    pictures: dict[int, Path] = {}
    if pattern.parent.is_dir():
        for path in sorted(pattern.parent.iterdir()):
            if match := name.fullmatch(path.name):
                _add(pictures, int(match[1]), path)
    if not pictures:
        raise UserError(f"--images {pattern}: no file has such a name; check folder and pattern")
    return pictures


def _add(pictures: dict[int, Path], number: int, path: Path) -> None:
    if number in pictures:
        raise UserError(f"{path}: frame {number} exists twice, also as {pictures[number].name}; remove one")
    pictures[number] = path


def match_pictures(
    frames: Iterable[float], pictures: dict[int, Path], images: str, complete: bool
) -> list[Path]:
    """The picture of each frame.

    complete: whether the pictures must be exactly these frames; otherwise others may lie beside them.

    Raises:
        UserError: frames without picture, or pictures without frame (named).
    """
    frames = list(frames)
    missing = [frame for frame in frames if frame not in pictures]
    extra = sorted(set(pictures).difference(frames)) if complete else []
    if missing or extra:
        told = []
        if missing:
            told.append(f"no picture of {len(missing)} frames ({format_frames(missing)})")
        if extra:
            told.append(f"{len(extra)} pictures that are no frame of the stage ({format_frames(extra)})")
        raise UserError(
            f"--images {images}: {' and '.join(told)}; {len(frames)} frames and {len(pictures)} pictures: "
            "render the missing ones or select with --frames"
        )
    return [pictures[int(frame)] for frame in frames]


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
