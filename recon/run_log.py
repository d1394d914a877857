"""Where a run's log messages go: a file in the run folder, and the console without tearing progress bars."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

_PACKAGES = ("recon", "usd_tools", "__main__")


class _ConsoleHandler(logging.Handler):
    """Prints above progress bars; plain text for news, the level's name before anything worse."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            prefix = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
            tqdm.write(prefix + self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Sends this project's messages from INFO on to the file `path` (appended) and to stderr."""
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handlers = (to_file, _ConsoleHandler())
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        for handler in handlers:
            logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
            for handler in handlers:
                logger.removeHandler(handler)
        to_file.close()
