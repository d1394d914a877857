"""What commands show while they work: log lines and progress bars, both on stderr."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from usd_tools.errors import UserError

T = TypeVar("T")


def setup_logging() -> None:
    """Log lines as plain text on stderr; warnings say that they are."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return prefix + " ".join(record.getMessage().split())


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """`items` with a progress bar, where tqdm is installed and stderr is a terminal."""
    try:
        from tqdm import tqdm
    except ImportError:  # Houdini's Python
        yield from items
        return
    yield from tqdm(items, total=total, desc=label, disable=None)


def parse_resolution(text: str) -> tuple[int, int]:
    """Width and height of `WxH`."""
    width, _, height = text.lower().partition("x")
    if not (
        width.isdecimal() and height.isdecimal() and 0 < int(width) <= 65536 and 0 < int(height) <= 65536
    ):
        raise UserError(f"--resolution {text}: expected WIDTHxHEIGHT in pixels, such as 512x512")
    return int(width), int(height)


def positive_integer(text: str) -> int:
    """For argparse: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
