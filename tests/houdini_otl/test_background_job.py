"""Background jobs: order, progress, failure, stopping, and what is told about each."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from texture_recovery import background_job
from texture_recovery.background_job import BackgroundJob, Outcome, Step, last_words, warnings
from texture_recovery.run_status import process_exists

from usd_tools.errors import UserError


def step(code: str, label: str = "working", progress: Callable[[], str] = str) -> Step:
    return Step(label, [sys.executable, "-c", code], dict(os.environ), progress)


def job(tmp_path: Path, steps: Sequence[Step]) -> BackgroundJob:
    return BackgroundJob("Bake", steps, tmp_path / "logs" / "bake.log", tmp_path)


def wait(running: BackgroundJob, until: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, str(running)
        running.poll()
        time.sleep(0.02)


def wait_end(running: BackgroundJob) -> Outcome:
    wait(running, lambda: running.outcome is not Outcome.RUNNING)
    return running.outcome


def test_steps_run_in_order_and_are_logged(tmp_path: Path) -> None:
    steps = [step("print('one'); open('a', 'w')", "first"), step("import os; print(os.listdir())", "second")]
    told: list[str] = []
    running = job(tmp_path, steps)
    running.run(told.append, 0.01)
    assert told[0] == "Bake: first" and told[-1] == "Bake: finished" and "Bake: second" in told
    lines = running.log.read_text().splitlines()
    assert lines[1] == "one" and "'a'" in lines[3]
    assert lines[0].startswith("> ") and sys.executable in lines[0]


def test_start_does_not_wait(tmp_path: Path) -> None:
    running = job(tmp_path, [step("import time; time.sleep(60)", progress=lambda: "3 of 7")])
    begin = time.monotonic()
    running.start()
    assert running.poll() is Outcome.RUNNING and time.monotonic() - begin < 5
    assert str(running) == "Bake: working, 3 of 7"
    running.stop()
    assert str(running) == "Bake: stopping"
    assert wait_end(running) is Outcome.STOPPED


def test_first_failure_ends_the_job_and_is_told(tmp_path: Path) -> None:
    steps = [
        step("import sys; print('error: no light; add one'); print('bye'); sys.exit(2)"),
        step("open('b', 'w')"),
    ]
    running = job(tmp_path, steps)
    with pytest.raises(UserError) as told:
        running.run(lambda text: None, 0.01)
    assert str(told.value) == f"Bake failed while working: no light; add one (log: {running.log})"
    assert not (tmp_path / "b").exists()


def test_failure_without_a_word(tmp_path: Path) -> None:
    running = job(tmp_path, [step("import sys; sys.exit(3)")])
    running.start()
    assert wait_end(running) is Outcome.FAILED
    assert "exit code 3, without a word" in running.failure()


@pytest.mark.parametrize("later", [False, True])
def test_command_that_cannot_be_started(tmp_path: Path, later: bool) -> None:
    missing = Step("rendering", [str(tmp_path / "husk")], {})
    running = job(tmp_path, [step("pass"), missing] if later else [missing])
    with pytest.raises(UserError, match="husk: cannot be started"):
        running.run(lambda text: None, 0.01)
    assert running.poll() is Outcome.FAILED


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        job(tmp_path, [step("pass")]).start()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_stop_is_an_interrupt_for_the_whole_group(tmp_path: Path) -> None:
    child = "import time, os, pathlib; pathlib.Path('child').write_text(str(os.getpid())); time.sleep(60)"
    parent = (
        "import subprocess, sys, pathlib\n"
        "try:\n"
        f"    subprocess.run([sys.executable, '-c', {child!r}])\n"
        "except KeyboardInterrupt:\n"
        "    pathlib.Path('saved').touch()\n"
        "    raise SystemExit(130)\n"
    )
    running = job(tmp_path, [step(parent), step("open('next', 'w')")])
    running.start()
    wait(running, lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
    running.stop()
    assert wait_end(running) is Outcome.STOPPED
    assert (tmp_path / "saved").exists() and not (tmp_path / "next").exists()
    pid = int((tmp_path / "child").read_text())
    wait(running, lambda: not process_exists(pid))


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_stop_insists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); open('deaf', 'w'); time.sleep(60)"
    )
    monkeypatch.setattr(background_job, "_SECONDS_TO_STOP", 0.2)
    running = job(tmp_path, [step(deaf)])
    running.start()
    wait(running, (tmp_path / "deaf").exists)
    running.stop()
    assert wait_end(running) is Outcome.STOPPED


@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_commands_are_in_a_group_of_their_own(tmp_path: Path) -> None:
    running = job(tmp_path, [step("import os; open('group', 'w').write(str(os.getpgrp()))")])
    running.run(lambda text: None, 0.01)
    assert int((tmp_path / "group").read_text()) != os.getpgrp()


def test_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_words(log) == ""
    log.write_bytes(b"> python\nerror: one\nerror: two\nlast\xff line\n\n")
    assert last_words(log) == "two"
    assert warnings(log) == []
    log.write_bytes(b"warning: dark\nnews\nwarning: flat\nwarning: dark\n")
    assert warnings(log) == ["warning: dark", "warning: flat"]
    log.write_bytes(b"x" * 100_000 + b"\n> python\nlast\xff line\n\n")
    assert last_words(log) == "last\ufffd line"
