"""Looks after background jobs from Houdini's event loop, which leaves the interface free."""

from __future__ import annotations

import time
from collections.abc import Callable

import hou

from texture_recovery import dialogs
from texture_recovery.background_job import BackgroundJob, Outcome

_SECONDS = 1.0


class JobMonitor:
    """The running jobs, one of each name. Progress goes to Houdini's status line."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[BackgroundJob, Callable[[], None]]] = {}
        self._looked_at = float("-inf")

    def start(self, job: BackgroundJob, succeeded: Callable[[], None]) -> None:
        """Starts `job`; `succeeded` is called when it has ended well, a message appears when not.

        Raises:
            UserError: it cannot be started.
        """
        job.start()
        if not self._jobs:
            hou.ui.addEventLoopCallback(self._look)
        self._jobs[job.name] = (job, succeeded)
        self._looked_at = float("-inf")

    def running(self, name: str) -> BackgroundJob | None:
        """The job of this name, if it is running."""
        return self._jobs[name][0] if name in self._jobs else None

    def offer_to_stop(self, name: str, consequence: str) -> bool:
        """When such a job runs: tells how far it is and offers to stop it. Returns whether it runs."""
        job = self.running(name)
        if job is None:
            return False
        if dialogs.ask(f"{job}\n\nLog: {job.log}", ("Keep Running", "Stop"), name) == "Stop":
            job.stop()
            hou.ui.setStatusMessage(f"{name}: stopping. {consequence}")
        return True

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < _SECONDS:
            return
        self._looked_at = now
        for job, succeeded in list(self._jobs.values()):
            outcome = job.poll()
            hou.ui.setStatusMessage(str(job))
            if outcome is not Outcome.RUNNING:
                self._end(job, succeeded)

    def _end(self, job: BackgroundJob, succeeded: Callable[[], None]) -> None:
        # Before any window opens: an open window lets the event loop call again.
        self._jobs.pop(job.name)
        if not self._jobs:
            hou.ui.removeEventLoopCallback(self._look)
        with dialogs.telling_errors(job.name):
            if job.outcome is Outcome.SUCCEEDED:
                succeeded()
            elif job.outcome is Outcome.FAILED:
                dialogs.tell_error(job.failure(), job.name)


MONITOR = JobMonitor()
"""This session's jobs."""
