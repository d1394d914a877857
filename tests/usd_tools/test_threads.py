import os

import pytest

from usd_tools import threads


@pytest.mark.parametrize(
    ("share", "cores"),
    [("150000 100000", 1), ("50000 100000", 1), ("400000 100000", 4), ("max 100000", 8), (None, 8)],
)
def test_a_container_has_no_more_cores_than_its_share(monkeypatch, tmp_path, share, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    limit = tmp_path / "cpu.max"
    if share is not None:
        limit.write_text(share, encoding="ascii")
    monkeypatch.setattr(threads, "_CONTAINERS_SHARE", limit)
    assert threads.available_cores() == cores


def test_cores_are_counted():
    assert 1 <= threads.available_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("given", "allowed"), [("3", 3), ("0", None), ("many", None), ("", None)])
def test_allowed_threads_are_those_of_the_environment(monkeypatch, given, allowed):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert threads.allowed_threads() == allowed
