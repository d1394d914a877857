"""Writing output so that nothing half-written is ever seen, and joining paths so that none escapes."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from usd_tools.errors import UserError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary sibling of `path` (same suffix) to write; it takes `path`'s place on success.

    On failure the sibling is removed and whatever stood at `path` is untouched. Missing parent folders are
    made (and removed again on failure).

    Raises:
        UserError: `path` is a folder, or lies below a regular file.
    """
    path = Path(path).absolute()
    if path.is_dir():
        raise UserError(f"{path}: is a folder; expected the name of a file to write")
    made = _make_parents(path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 - atomic on every system, unlike Path.rename on Windows
    except BaseException:
        temporary.unlink(missing_ok=True)
        _remove_empty(made)
        raise


@contextmanager
def atomic_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """Yields a temporary sibling folder to fill; it takes `path`'s place on success.

    An existing `path` is replaced only when it is empty or an earlier output of ours, i.e. contains the file
    `marker`. The earlier output stays whole until the new one is complete.

    Raises:
        UserError: `path` is a file, holds something else, or lies below a regular file.
    """
    path = Path(path).absolute()
    if path.is_symlink():
        path = path.resolve()
    refuse_foreign_folder(path, marker)
    made = _make_parents(path)
    token = secrets.token_hex(4)
    temporary = path.with_name(f".{path.name}.{token}.partial")
    previous = path.with_name(f".{path.name}.{token}.previous")
    try:
        _make_folder(temporary)
        yield temporary
        refuse_foreign_folder(path, marker)  # it may have been filled by somebody else in the meantime
        if path.exists():
            path.rename(previous)
        try:
            temporary.rename(path)
        except BaseException:
            if previous.exists():
                previous.rename(path)
            raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(made)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def refuse_foreign_folder(path: Path, marker: str) -> None:
    """Raises UserError unless `path` is absent, an empty folder, or a folder that contains `marker`."""
    try:
        if not path.exists():
            return
    except NotADirectoryError:
        return  # below a regular file: told when the parents are made
    if not path.is_dir():
        raise UserError(f"{path}: is a file; expected a folder to write into")
    if any(path.iterdir()) and not (path / marker).is_file():
        raise UserError(f"{path}: is not empty and not an earlier output (no {marker}); name another folder")


_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+:")  # two letters or more: `C:` is a drive


def is_url(path: str) -> bool:
    """Whether `path` names a scheme (`https:`, `file:`, `omniverse:`) instead of a file."""
    return bool(_URL.match(path)) or path.startswith("//") or path.startswith("\\\\")


def inside(folder: str | Path, relative: str | Path) -> Path:
    """The absolute path of `relative` in `folder`, symbolic links followed.

    Raises:
        UserError: `relative` is absolute, names a URL or leads out of `folder`.
    """
    text = str(relative)
    if is_url(text):
        raise UserError(f"{text}: is a URL; expected a file inside {folder}")
    base = Path(folder).resolve()
    try:
        joined = (base / text).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # NUL bytes, link loops
        raise UserError(f"{text!r}: is not a usable path inside {folder} ({error})") from None
    if Path(text).is_absolute() or not joined.is_relative_to(base):
        raise UserError(f"{text}: leads out of {folder}; expected a relative path inside it")
    return joined


def _make_parents(path: Path) -> list[Path]:
    """Makes the missing parents of `path`; returns those made, deepest first."""
    missing = []
    for parent in path.parents:
        if os.path.lexists(parent):
            break
        missing.append(parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (NotADirectoryError, FileExistsError):
        raise UserError(f"{path}: a parent of it is a file, not a folder; give another output path") from None
    return missing


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir()
    except FileNotFoundError:  # what special file systems (/proc) answer instead of a refusal
        raise UserError(f"{folder.parent}: no folder can be made there; give another output path") from None


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
