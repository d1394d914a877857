"""Runs everything that has to be green: ruff, mypy and the test suite.

    python3 scripts/test.py [OPTIONS FOR PYTEST]      e.g. python3 scripts/test.py -k camera

Makes `.venv` first. The last line printed is pytest's closing line; the exit code is 0 only if all passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from bootstrap import ROOT, run_in_venv

LINTERS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "--quiet", "."],
    "mypy": ["mypy"],
    "mypy of the Houdini plugin": ["mypy", "--config-file", "houdini_otl/mypy.ini"],
}
# Two workers share the cores; more threads in each would only fight over them.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> int:
    run_in_venv(["dev", "render"])
    failed = [name for name, command in LINTERS.items() if not passes(name, command)]
    if failed:
        print(f"FAILED: {', '.join(failed)}", flush=True)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", *sys.argv[1:]]
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **THREADS}).returncode
    return code or int(bool(failed))


def passes(name: str, command: list[str]) -> bool:
    """Runs one linter; its output is shown only when it complains."""
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.monotonic() - started
    print(f"{name}: {'ok' if result.returncode == 0 else 'FAILED'} ({seconds:.0f} s)", flush=True)
    if result.returncode:
        print(result.stdout, flush=True)
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
