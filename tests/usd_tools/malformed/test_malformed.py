"""Malformed inputs end in one clear line within ten seconds and two gibibytes, and write nothing elsewhere.

A sample runs with the suite. All of them, or others, by

    MALFORMED_CASES=1000 python -m pytest tests/usd_tools/malformed
    MALFORMED_CASES=5000 MALFORMED_SEED=7 python -m pytest tests/usd_tools/malformed
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.usd_tools.malformed.cases import FORMATS, make_case, write_base

ROOT = Path(__file__).resolve().parents[3]
SEED = int(os.environ.get("MALFORMED_SEED", "0"))
ALL = 1000
SAMPLE = range(0, ALL, 11)  # 10 formats in turn: a step of 11 goes through them all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory and time as Linux does")


def numbers():
    count = os.environ.get("MALFORMED_CASES")
    return list(SAMPLE if count is None else range(int(count)))


def run_all(base, sandbox, cases):
    """The report of each case; a case that ends its process has only "crash" in it."""
    results = []
    while cases:
        command = [sys.executable, "-m", "tests.usd_tools.malformed.worker"]
        process = subprocess.run(
            [*command, str(base), str(sandbox), str(SEED), *map(str, cases)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            errors="replace",
        )
        lines = [json.loads(line) for line in process.stdout.splitlines()]
        done = [line for line in lines if "outcomes" in line]
        results += done
        cases = cases[len(done) :]
        if process.returncode:
            assert cases and lines and "start" in lines[-1], process.stderr[-3000:]
            results.append({"number": cases[0], "crash": process.returncode})
            cases = cases[1:]
    return results


def test_malformed_inputs(tmp_path, capfd):
    write_base(tmp_path / "base")
    wanted = numbers()
    results = run_all(tmp_path / "base", tmp_path, wanted)
    assert [result["number"] for result in results] == wanted
    bad = [result for result in results if "crash" in result or "BUG" in str(result["outcomes"])]
    assert not bad, json.dumps(bad[:10], indent=1)
    refused = sum("refused" in str(result["outcomes"]) for result in results)
    assert refused > 0.4 * len(results)  # the rest are flips that hit nothing
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]
    slowest, peak = (max(result[key] for result in results) for key in ("seconds", "peak"))
    with capfd.disabled():
        sys.stdout.write(
            f"\n{len(results)} inputs: {refused} refused, {len(results) - refused} accepted; slowest "
            f"{slowest:.2f} s; at most {peak} MiB of memory\n"
        )


def test_cases_are_the_same_every_time(tmp_path):
    write_base(tmp_path / "base")
    for number in range(2 * len(FORMATS)):
        made = [make_case(tmp_path / "base", tmp_path / f"{i}_{number}", number) for i in range(2)]
        assert made[0].label == made[1].label
        for path in made[0].folder.rglob("*"):
            if path.is_file():
                twin = made[1].folder / path.relative_to(made[0].folder)
                assert path.read_bytes() == twin.read_bytes(), path


@pytest.mark.parametrize(
    "command, outcome",
    [
        ("fine", "accepted"),
        ("refuse", "refused: no"),
        ("fail", "BUG: KeyError"),
        ("stray", "BUG: changed"),
        ("leave", "BUG: left something"),
    ],
)
def test_the_worker_sees_what_goes_wrong(tmp_path, monkeypatch, command, outcome):
    from tests.usd_tools.malformed import worker
    from tests.usd_tools.malformed.cases import Case
    from usd_tools.errors import UserError

    def refuse():
        raise UserError("no")

    def leave():
        (tmp_path / "out").mkdir()
        refuse()

    (tmp_path / "input").write_text("a")
    commands = {
        "fine": lambda: (tmp_path / "out").mkdir(),
        "refuse": refuse,
        "fail": lambda: {}["a"],
        "stray": lambda: (tmp_path / "stray").touch(),
        "leave": leave,
    }
    monkeypatch.setattr(worker, "commands", lambda folder: commands)
    (told,) = worker.run_case(Case("", tmp_path, (command,)))["outcomes"]
    assert told.startswith(f"{command}: {outcome}")
