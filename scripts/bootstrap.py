"""Makes the repository's virtual environment and installs the project into it. Standard library only.

Other scripts call `run_in_venv(extras)` first: it installs what is missing, quietly, and continues inside the
environment. Run directly it only installs: `python3 scripts/bootstrap.py [EXTRA ...]`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = "installed.json"  # in the environment: what the last successful install was made from
MINIMUM_PYTHON = (3, 11)
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


class SetupError(Exception):
    """Something the user has to mend before the environment can be made; told in one line."""


def run_in_venv(extras: Sequence[str]) -> None:
    """Returns when running inside the environment; otherwise installs and restarts the script there.

    extras: names of the optional dependency groups the script needs.
    """
    try:
        require_python(sys.version_info[:2])
        python = install(extras)
    except SetupError as error:
        sys.exit(f"error: {error}")
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    command = [str(python), *sys.argv]
    if os.name == "nt":  # execv on Windows returns to the shell at once, before the script has run
        sys.exit(subprocess.run(command).returncode)
    sys.stdout.flush()
    os.execv(command[0], command)


def install(extras: Sequence[str], root: Path = ROOT, venv: Path = VENV) -> Path:
    """Makes or reuses the environment and installs the project with `extras`; returns its Python.

    Does nothing when an earlier install covers `extras` and pyproject.toml has not changed since.
    """
    stamp = venv / STAMP
    python = venv_python(venv)
    before = read_stamp(stamp)
    if python.exists() and covers(before, root, extras):
        return python

    started = time.monotonic()
    print(f"Setting up {venv} (the first time takes a few minutes) ...", flush=True)
    make_venv(venv)
    stamp.unlink(missing_ok=True)  # an interrupted install must not look like a finished one
    wanted = sorted({*extras, *before.get("extras", ())})
    if prefers_cpu_torch() and not has_module(python, "torch"):
        install_cpu_torch(python, root)
    project = f"{root}[{','.join(wanted)}]" if wanted else str(root)
    failure = pip(python, ["install", "--editable", project])
    if failure:
        print(failure, file=sys.stderr)
        raise SetupError(
            f"pip could not install {project} (its last words are above); mend that and run again"
        )
    stamp.write_text(json.dumps(describe(root, wanted)), encoding="utf-8")
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)
    return python


def require_python(version: tuple[int, int]) -> None:
    """Raises SetupError unless `version` (major, minor) is recent enough."""
    if version < MINIMUM_PYTHON:
        found, needed = (".".join(map(str, numbers)) for numbers in (version, MINIMUM_PYTHON))
        raise SetupError(
            f"this is Python {found}; expected {needed} or newer: install one from python.org and run with it"
        )


def venv_python(venv: Path, system: str = os.name) -> Path:
    """The environment's interpreter on this (or the named) system."""
    return venv / "Scripts" / "python.exe" if system == "nt" else venv / "bin" / "python"


def describe(root: Path, extras: Sequence[str]) -> dict[str, Any]:
    """What an install is made from; equal descriptions mean that nothing has to be done."""
    project = (root / "pyproject.toml").read_bytes()
    return {
        "pyproject": hashlib.sha256(project).hexdigest(),
        "root": str(root),  # the install is editable: a moved clone needs a new one
        "extras": sorted(extras),
    }


def read_stamp(stamp: Path) -> dict[str, Any]:
    """The last install's description; empty when there is none or it cannot be read."""
    try:
        content = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    extras = content.get("extras") if isinstance(content, dict) else None
    usable = isinstance(extras, list) and all(isinstance(name, str) for name in extras)
    return content if usable else {}


def covers(installed: dict[str, Any], root: Path, extras: Sequence[str]) -> bool:
    """Whether the described install still stands for `root` and includes `extras`."""
    wanted = describe(root, extras)
    same = all(installed.get(key) == wanted[key] for key in ("pyproject", "root"))
    return same and set(extras) <= set(installed.get("extras", ()))


def make_venv(venv: Path) -> None:
    """Makes the environment where there is none that works."""
    if runs(venv_python(venv)):
        return
    ours = (venv / "pyvenv.cfg").exists() or (venv.is_dir() and not any(venv.iterdir()))
    if venv.exists() and not ours:
        raise SetupError(f"{venv} is not a virtual environment; move it away and run the script again")
    command = [sys.executable, "-m", "venv", "--clear", str(venv)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        reason = " ".join((result.stdout + result.stderr).split())[-300:]
        raise SetupError(f"cannot make {venv}: {reason} (on Debian and Ubuntu: apt install python3-venv)")


def runs(python: Path) -> bool:
    """Whether `python` is an interpreter with pip and recent enough."""
    if not python.exists():
        return False
    check = f"import sys, pip; sys.exit(sys.version_info[:2] < {MINIMUM_PYTHON})"
    try:
        return subprocess.run([str(python), "-c", check], capture_output=True).returncode == 0
    except OSError:  # of another machine's kind, or not executable
        return False


def has_module(python: Path, name: str) -> bool:
    """Whether the environment has the module; without importing it."""
    check = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([str(python), "-c", check], capture_output=True).returncode == 0


def prefers_cpu_torch(system: str = sys.platform, driver: Path = NVIDIA_DRIVER) -> bool:
    """Linux without an NVIDIA driver: the default wheel would bring gigabytes of CUDA for nothing."""
    return system == "linux" and not driver.exists() and shutil.which("nvidia-smi") is None


def torch_requirement(root: Path) -> str:
    """The project's own torch requirement, such as `torch>=2.7`."""
    import tomllib  # here, so that an older Python still reaches the version check

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return next(line for line in project["dependencies"] if line.startswith("torch"))


def install_cpu_torch(python: Path, root: Path) -> None:
    """Tries PyTorch's CPU index, for seconds only: the default one serves as well, with a larger download."""
    impatient = ["--timeout", "10", "--retries", "0", "--index-url", CPU_TORCH_INDEX]
    if pip(python, ["install", *impatient, torch_requirement(root)]):
        print("PyTorch's CPU index cannot be used; taking the default build of torch.", flush=True)


def pip(python: Path, arguments: Sequence[str]) -> str:
    """Runs pip quietly; returns its last lines when it fails, and nothing when all is well."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    return "\n".join(result.stdout.splitlines()[-20:]) if result.returncode else ""


def main() -> None:
    require_python(sys.version_info[:2])
    print(install(sys.argv[1:]))


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        sys.exit(f"error: {error}")
