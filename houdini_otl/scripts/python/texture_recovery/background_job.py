"""Commands that run one after the other beside Houdini: polled, and stopped with all they have started.

Each command is a process group of its own. It outlives Houdini, so that a training run is not lost with the
session, and whatever it prints goes to the job's log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from usd_tools.errors import UserError

_SECONDS_TO_STOP = 15.0
_TAIL_BYTES = 65536


@dataclass(frozen=True)
class Step:
    """label: what it does, such as `rendering`. progress: how far it is, in words; "" for nothing to tell."""

    label: str
    command: Sequence[str]
    environment: Mapping[str, str]
    progress: Callable[[], str] = str


class Outcome(Enum):
    RUNNING = "running"
    SUCCEEDED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


class BackgroundJob:
    """Runs `steps` in order, in the folder `cwd`, until one fails.

    name: for messages, such as `Export Dataset`. log: file that receives all output; made anew.
    """

    def __init__(self, name: str, steps: Sequence[Step], log: Path, cwd: Path) -> None:
        self.name = name
        self.log = log
        self.outcome = Outcome.RUNNING
        self._waiting = list(steps)
        self._cwd = cwd
        self._step = steps[0]
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_asked: float | None = None
        self._code = 0

    def start(self) -> None:
        """Starts the first command.

        Raises:
            UserError: it cannot be started, or the log cannot be written.
        """
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_bytes(b"")
        except OSError as error:
            raise UserError(
                f"{self.log}: cannot be written ({error.strerror}); choose another folder"
            ) from None
        try:
            self._start_next()
        except OSError as error:
            self.outcome = Outcome.FAILED
            raise UserError(
                f"{self._step.command[0]}: cannot be started ({error.strerror}); see {self.log}"
            ) from None

    def poll(self) -> Outcome:
        """Looks after the job; to be called every now and then. Returns at once."""
        if self.outcome is not Outcome.RUNNING or self._process is None:
            return self.outcome
        code = self._process.poll()
        if code is None:
            if self._stop_asked is not None and time.monotonic() - self._stop_asked > _SECONDS_TO_STOP:
                _kill(self._process)
            return self.outcome
        self._code = code
        if self._stop_asked is not None:
            self.outcome = Outcome.STOPPED
        elif code:
            self.outcome = Outcome.FAILED
        elif self._waiting:
            try:
                self._start_next()
            except OSError as error:
                self._append(f"error: {self._step.command[0]}: cannot be started ({error.strerror})\n")
                self.outcome = Outcome.FAILED
        else:
            self.outcome = Outcome.SUCCEEDED
        return self.outcome

    def stop(self) -> None:
        """Asks the running command to end as Ctrl-C would; `poll` insists when it does not."""
        if self.outcome is Outcome.RUNNING and self._process is not None and self._stop_asked is None:
            self._stop_asked = time.monotonic()
            _interrupt(self._process)

    def run(self, tell: Callable[[str], object], seconds: float = 0.5) -> None:
        """For scripts: starts, and returns when all is done; `tell` is given each new line of status.

        When interrupted (Ctrl-C), the job is stopped.

        Raises:
            UserError: the job failed.
        """
        told = ""
        self.start()
        try:
            while self.poll() is Outcome.RUNNING:
                if str(self) != told:
                    told = str(self)
                    tell(told)
                time.sleep(seconds)
        except BaseException:
            self.stop()
            while self.poll() is Outcome.RUNNING:
                time.sleep(seconds)
            raise
        tell(str(self))
        if self.outcome is not Outcome.SUCCEEDED:
            raise UserError(self.failure())

    def failure(self) -> str:
        """Why the job failed: what failed, its last words, and where the log is."""
        words = last_words(self.log) or f"exit code {self._code}, without a word"
        return f"{self.name} failed while {self._step.label}: {words} (log: {self.log})"

    def __str__(self) -> str:
        if self.outcome is not Outcome.RUNNING:
            return f"{self.name}: {self.outcome.value}"
        if self._stop_asked is not None:
            return f"{self.name}: stopping"
        return ", ".join(filter(None, [f"{self.name}: {self._step.label}", self._step.progress()]))

    def _start_next(self) -> None:
        self._step = self._waiting.pop(0)
        command = list(self._step.command)
        self._append(f"> {subprocess.list2cmdline(command)}\n")
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self._cwd,
                env=dict(self._step.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # on POSIX: a group of its own, deaf to what ends Houdini
                creationflags=_windows_flags(),
            )

    def _append(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(text)


def last_words(log: Path) -> str:
    """The last `error:` line of a log, without that word; otherwise its last line."""
    lines = [line for line in _tail(log) if not line.startswith("> ")]
    errors = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    return (errors or lines or [""])[-1]


def warnings(log: Path) -> list[str]:
    """The `warning:` lines of a log, each once."""
    return list(dict.fromkeys(line for line in _tail(log) if line.startswith("warning:")))


def _tail(log: Path) -> list[str]:
    """The last lines of a log that say anything."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _windows_flags() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return 0


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":  # no Ctrl-C reaches a process without a console
        _kill(process)
    else:
        _signal_group(process, signal.SIGINT)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True)
    else:
        _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    if sys.platform != "win32":
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # it has just ended by itself
