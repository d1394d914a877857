"""Finding the Python that trains. It is never Houdini's own: torch does not run inside Houdini's process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from texture_recovery import ROOT
from texture_recovery.pipeline_commands import Training, command_environment
from texture_recovery.settings import FILE_NAME, Settings
from usd_tools.errors import UserError
from usd_tools.usd_to_llff import PYTHON_VARIABLE

_NEEDED = ("torch", "warp", "pxr", "OpenEXR", "imageio")
_SECONDS = 60.0
_RESOLVE_SETTINGS = """
import json, sys
from recon.config import load_config
from usd_tools.errors import UserError
try:
    print(json.dumps(load_config(sys.argv[1] or None, sys.argv[2:]).flat()))
except UserError as error:
    sys.exit(str(error))
"""


def find_training(
    settings: Settings, preferences: Path, environment: Mapping[str, str], root: Path = ROOT
) -> Training:
    """The training Python: of the environment variable, the settings, or the clone's own `.venv`.

    The variable may come from a package file or from the shell that started Houdini.

    Raises:
        UserError: none is named and the clone has none, or the one that is named does not exist.
    """
    places = (
        (environment.get(PYTHON_VARIABLE, ""), f"the variable {PYTHON_VARIABLE}"),
        (settings.training_python, str(preferences / FILE_NAME)),
    )
    for python, place in places:
        if python:
            path = Path(python).expanduser()
            if not path.is_file():
                raise UserError(
                    f"{python}: no such file, but {place} names it as the training Python; correct it there"
                )
            return Training(str(path), str(root))
    own = own_python(root)
    if not own.is_file():
        raise UserError(
            f"no training Python: run `python3 scripts/bootstrap.py render` in {root}, or name one in the "
            f"variable {PYTHON_VARIABLE} or as training_python in {preferences / FILE_NAME}"
        )
    return Training(str(own), str(root))


def own_python(root: Path, system: str = os.name) -> Path:
    """Where scripts/bootstrap.py puts the interpreter."""
    return root / ".venv" / "Scripts" / "python.exe" if system == "nt" else root / ".venv" / "bin" / "python"


def check_training(training: Training, environment: Mapping[str, str]) -> None:
    """Starts the training Python and looks whether it has what training needs; takes a fraction of a second.

    Raises:
        UserError: it does not start, or lacks modules.
    """
    look = f"import importlib.util as u; print(*[n for n in {_NEEDED!r} if u.find_spec(n) is None])"
    remedy = "choose another one or set it up by scripts/bootstrap.py"
    try:
        result = _ask(training, look, environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(
            f"{training.python}: the training Python does not start ({error}); {remedy}"
        ) from None
    if result.returncode:
        told = (result.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise UserError(f"{training.python}: the training Python does not work ({told}); {remedy}")
    if missing := result.stdout.split():
        raise UserError(f"{training.python}: the training Python lacks {', '.join(missing)}; {remedy}")


def graphics_card(training: Training, environment: Mapping[str, str]) -> str:
    """Name of the NVIDIA GPU that the training Python can use, "" if none; takes a second or two."""
    look = "import torch as t; print(t.cuda.get_device_name(0) if t.cuda.is_available() else '')"
    try:
        result = _ask(training, look, environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if result.returncode else (result.stdout.strip().splitlines() or [""])[-1]


def resolved_settings(
    training: Training, config: str | None, settings: Sequence[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    """All settings of a run by their keys, such as `train.batch`, as training understands what it is given.

    config: as `train_command` takes it. settings: `KEY=VALUE`.

    Raises:
        UserError: a key is unknown, or a value is not what is expected.
    """
    try:
        result = _ask(training, _RESOLVE_SETTINGS, environment, [config or "", *settings])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{training.python}: the training Python does not start ({error})") from None
    if result.returncode:
        told = (result.stderr.strip().splitlines() or ["they cannot be read"])[-1]
        raise UserError(f"settings: {told.removeprefix('--set ')}")
    return dict(json.loads(result.stdout.strip().splitlines()[-1]))


def _ask(
    training: Training, code: str, environment: Mapping[str, str], arguments: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs `code` in the training Python, in the clone."""
    return subprocess.run(
        [training.python, "-E", "-c", code, *arguments],
        cwd=training.root,
        env=command_environment(environment),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SECONDS,
    )
