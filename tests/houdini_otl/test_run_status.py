"""Reading status.json as training writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from texture_recovery.run_status import RunStatus, process_exists, read_run_status

from recon.run_folder import DONE, RunFolder


def test_what_training_writes_is_understood(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path / "run", resume=False)
    assert str(read_run_status(run.path)) == "starting"
    run.report("coarse", 20, 80)
    status = read_run_status(run.path)
    assert status is not None and (status.stage, status.iteration, status.total) == ("coarse", 20, 80)
    assert status.pid == os.getpid() and status.seems_alive() and not status.finished
    assert str(status) == "coarse stage, 20 of 80"
    with pytest.raises(RuntimeError), run.reporting_errors():
        raise RuntimeError("out of memory")
    status = read_run_status(run.path)
    assert status is not None and not status.seems_alive()
    assert str(status) == "ended in coarse stage, 20 of 80 (RuntimeError: out of memory)"
    run.report("coarse", 80, 80)
    assert str(read_run_status(run.path)) == "what follows the coarse stage"
    run.report(DONE, 1, 1)
    status = read_run_status(run.path)
    assert status is not None and status.finished and str(status) == "finished"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stage": 1}', "not JSON", None])
def test_no_status_to_understand(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "status.json").write_text(text)
    assert read_run_status(tmp_path) is None


def test_alive_by_a_recent_word_or_by_the_process() -> None:
    now = datetime.now(timezone.utc)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()

    def status(pid: int, age: timedelta) -> RunStatus:
        return RunStatus("fine", 1, 9, pid, None, now - age)

    assert not status(dead.pid, timedelta(hours=1)).seems_alive(now)
    assert status(dead.pid, timedelta(seconds=30)).seems_alive(now)  # on another machine, perhaps
    assert status(os.getpid(), timedelta(hours=1)).seems_alive(now)


def test_time_without_zone_is_utc(tmp_path: Path) -> None:
    content = {
        "stage": "fine",
        "iteration": 1,
        "total": 2,
        "pid": 1,
        "error": None,
        "time": "2026-05-01T10:00:00",
    }
    (tmp_path / "status.json").write_text(json.dumps(content))
    status = read_run_status(tmp_path)
    assert status is not None and status.written == datetime(2026, 5, 1, 10, tzinfo=timezone.utc)


def test_process_exists() -> None:
    assert process_exists(os.getpid())
    assert not process_exists(0) and not process_exists(-1)
