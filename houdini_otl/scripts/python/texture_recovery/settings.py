"""What the shelf remembers between sessions: one small JSON file in Houdini's preferences."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from usd_tools.errors import UserError
from usd_tools.files import atomic_file

FILE_NAME = "texture_recovery.json"


@dataclass(frozen=True)
class Settings:
    """training_python: the interpreter that trains; "" to look for it. folder: the last recovery's."""

    training_python: str = ""
    folder: str = ""


def load_settings(preferences: Path) -> Settings:
    """The settings in the folder `preferences`; the defaults where there are none.

    Raises:
        UserError: the file is there and cannot be read.
    """
    path = preferences / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); mend or delete it") from None
    values = content if isinstance(content, dict) else {}
    if set(values) - {"training_python", "folder"} or not all(isinstance(v, str) for v in values.values()):
        raise UserError(
            f"{path}: expected texts training_python and folder and nothing else; mend or delete it"
        )
    return Settings(**values)


def save_settings(settings: Settings, preferences: Path) -> None:
    content = {"training_python": settings.training_python, "folder": settings.folder}
    with atomic_file(preferences / FILE_NAME) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
