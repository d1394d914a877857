"""Which picture of a folder, or of a file name pattern, belongs to which frame."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from usd_tools.errors import UserError
from usd_tools.frames import format_frames

PICTURE_SUFFIXES = (".exr", ".png", ".jpg", ".jpeg")


def find_pictures(images: str, option: str = "--images", subframes: bool = False) -> dict[float, Path]:
    """The pictures of a sequence by frame.

    images: a folder with one sequence, or a pattern with one frame number in the file's name: `%04d`, `####`,
        `$F4`, `<F4>` (`$F`, `<F>`, `%d`: any number of digits); for sub-frames `%07.2f`, `####.##`, `$FF`,
        `<FF>`. In a folder the frame is the one number that differs between the names (of a single picture
        the last), so that UDIM tiles, versions and sizes in the names are not mistaken for it.
    subframes: read numbers at the end of names in a folder as `NAME.0001.500.exr` for frame 1.5.

    Raises:
        UserError: there are none, or the folder holds more than one sequence.
    """
    path = Path(images)
    return _sequence_in(path, option, subframes) if path.is_dir() else _matches_of(path, option)


def _sequence_in(folder: Path, option: str, subframes: bool) -> dict[float, Path]:
    names: dict[tuple[str, ...], list[tuple[list[str], Path]]] = defaultdict(list)
    number = r"([0-9]+(?:\.[0-9]{1,3}$)?)" if subframes else r"([0-9]+)"
    for path in sorted(folder.iterdir()):
        parts = re.split(number, path.stem)  # text, number, text, number, ..., text
        if len(parts) > 1 and path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith("."):
            names[(*parts[::2], path.suffix)].append((parts[1::2], path))
    if not names:
        raise UserError(f"{option} {folder}: no numbered pictures (.exr, .png, .jpg) in it; check the folder")
    sequences = [
        sequence for texts, members in sorted(names.items()) for sequence in _sequences(texts, members)
    ]
    if len(sequences) > 1:
        patterns = sorted(pattern for pattern, _ in sequences)
        told = ", ".join(patterns[:6]) + (", ..." if len(patterns) > 6 else "")
        raise UserError(f"{option} {folder}: holds several sequences ({told}); give one as a pattern")
    return sequences[0][1]


def _sequences(
    texts: Sequence[str], members: Sequence[tuple[list[str], Path]]
) -> list[tuple[str, dict[float, Path]]]:
    """Pattern and pictures of each sequence among names that differ in their numbers only."""
    columns = list(zip(*(numbers for numbers, _ in members)))
    differing = [column for column, values in enumerate(columns) if len(set(values)) > 1]
    frame = differing[-1] if differing else len(columns) - 1
    sequences: dict[str, dict[float, Path]] = defaultdict(dict)
    for numbers, path in members:
        marked = [*numbers[:frame], "####", *numbers[frame + 1 :]]
        stem = "".join(text + number for text, number in zip(texts, [*marked, ""]))
        _add(sequences[stem + texts[-1]], float(numbers[frame]), path)
    return list(sequences.items())


_TOKENS = re.compile(
    r"(?P<subframe>%0?\d*\.(?P<decimals>\d+)f|(?P<whole>#+)\.(?P<fraction>#+)|\$FF|<FF>)"
    r"|%0?(?P<printf>\d*)d|(?P<hashes>#+)|\$F(?P<houdini>\d?)|<F(?P<angle>\d?)>"
)


def _matches_of(pattern: Path, option: str) -> dict[float, Path]:
    tokens = list(_TOKENS.finditer(pattern.name))
    if len(tokens) != 1:
        raise UserError(
            f"{option} {pattern}: expected an existing folder, or a file name with one frame number "
            "as %04d, ####, $F4 or <F4>"
        )
    token = tokens[0]
    before, after = pattern.name[: token.start()], pattern.name[token.end() :]
    name = re.compile(f"{re.escape(before)}({_number_expression(token)}){re.escape(after)}")
    pictures: dict[float, Path] = {}
    if pattern.parent.is_dir():
        for path in sorted(pattern.parent.iterdir()):
            if match := name.fullmatch(path.name):
                _add(pictures, round(float(match[1]), 6), path)
    if not pictures:
        raise UserError(f"{option} {pattern}: no file has such a name; check folder and pattern")
    return pictures


def _number_expression(token: re.Match[str]) -> str:
    if token["subframe"]:
        decimals = len(token["fraction"] or "") or int(token["decimals"] or 0)
        fraction = rf"\.[0-9]{{{decimals}}}" if decimals else r"(?:\.[0-9]+)?"
        return rf"[0-9]+{fraction}"
    digits = len(token["hashes"] or "") or int(token["printf"] or token["houdini"] or token["angle"] or 0)
    # Padded to `digits`; frames that need more digits simply have more.
    return rf"[0-9]{{{digits}}}|[1-9][0-9]{{{digits},}}" if digits else r"[0-9]+"


def _add(pictures: dict[float, Path], frame: float, path: Path) -> None:
    if frame in pictures:
        raise UserError(f"{path}: frame {frame:g} exists twice, also as {pictures[frame].name}; remove one")
    pictures[frame] = path


def match_pictures(
    frames: Iterable[float],
    pictures: dict[float, Path],
    images: str,
    complete: bool,
    option: str = "--images",
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
            f"{option} {images}: {' and '.join(told)}; {len(frames)} frames and {len(pictures)} pictures: "
            "render the missing ones or select with --frames"
        )
    return [pictures[frame] for frame in frames]
