"""What belongs to this Houdini session: environment, preferences, training Python and last recovery."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import hou

from texture_recovery import dialogs
from texture_recovery.pipeline_commands import JobFolder, Training
from texture_recovery.settings import Settings, load_settings, save_settings
from texture_recovery.training_python import check_training, find_training


def preferences() -> Path:
    """Houdini's user preference folder."""
    return Path(hou.homeHoudiniDirectory())


def settings() -> Settings:
    return load_settings(preferences())


def environment() -> dict[str, str]:
    """This process's environment with Houdini's own variables, which os.environ need not know."""
    values = dict(os.environ)
    for name in ("HFS", "OCIO", "SEPARATE_SPECIALIZE_PYTHON"):
        value = hou.getenv(name)
        if value:
            values[name] = value
    return values


def training() -> Training:
    """The training Python, checked.

    Raises:
        UserError: there is none that works.
    """
    values = environment()
    found = find_training(settings(), preferences(), values)
    check_training(found, values)
    return found


def remember(folder: Path) -> JobFolder:
    """Makes `folder` the recovery that the next click offers."""
    save_settings(replace(settings(), folder=str(folder)), preferences())
    return JobFolder(folder)


def ask_folder(title: str, action: str) -> JobFolder:
    """The recovery to work on: the last one, or another that the artist chooses.

    Raises:
        CancelledError: none was chosen.
    """
    last = settings().folder
    if last and Path(last).is_dir():
        answer = dialogs.ask(f"{action} in\n{last}?", ("OK", "Other Folder ..."), title)
        if answer == "OK":
            return JobFolder(Path(last))
    return remember(dialogs.choose_folder(f"{title}: folder given to Export Dataset", last or "$HIP"))
