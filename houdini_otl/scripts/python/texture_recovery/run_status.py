"""How a training run is doing, by the status.json that it rewrites while it works."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

STATUS_FILE = "status.json"
DONE = "done"
_SIGN_OF_LIFE = timedelta(minutes=2)


@dataclass(frozen=True)
class RunStatus:
    """stage: starting, coarse, fine or done. iteration, total: within it. error: what ended the run early."""

    stage: str
    iteration: int
    total: int
    pid: int
    error: str | None
    written: datetime

    @property
    def finished(self) -> bool:
        return self.stage == DONE and self.error is None

    def seems_alive(self, now: datetime | None = None) -> bool:
        """Whether the run may still be working: its process exists here, or it wrote a short while ago.

        The process may live on another machine, and its number may have passed to another program: a hint.
        """
        if self.finished or self.error is not None:
            return False
        now = now or datetime.now(timezone.utc)
        return now - self.written < _SIGN_OF_LIFE or process_exists(self.pid)

    def __str__(self) -> str:
        if self.finished:
            return "finished"
        if self.stage == "starting":
            where = "starting"
        elif self.iteration < self.total:
            where = f"{self.stage} stage, {self.iteration} of {self.total}"
        else:  # unwrapping, baking or export, which tell nothing of themselves
            where = f"what follows the {self.stage} stage"
        return where if self.error is None else f"ended in {where} ({self.error})"


def read_run_status(run: Path) -> RunStatus | None:
    """The status of the run folder; None where there is none, or none that can be understood."""
    try:
        content = json.loads((run / STATUS_FILE).read_text(encoding="utf-8"))
        error = content["error"]
        written = datetime.fromisoformat(content["time"])
        return RunStatus(
            stage=str(content["stage"]),
            iteration=int(content["iteration"]),
            total=int(content["total"]),
            pid=int(content["pid"]),
            error=None if error is None else str(error),
            written=written if written.tzinfo else written.replace(tzinfo=timezone.utc),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def process_exists(pid: int) -> bool:
    """Whether a process with this number runs on this machine."""
    if pid <= 0:
        return False
    if sys.platform == "win32":  # os.kill would end it there
        import ctypes

        synchronize, still_running = 0x00100000, 0x102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, pid)
        if not handle:
            return False
        waited = ctypes.windll.kernel32.WaitForSingleObject(handle, 0)
        ctypes.windll.kernel32.CloseHandle(handle)
        return bool(waited == still_running)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
