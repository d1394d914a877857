"""The commands' messages, in the words of Houdini's forms and nodes."""

from __future__ import annotations

import re

from texture_recovery import export_request

_OPTIONS = {
    "--object": "Object",
    "--camera": "Camera",
    "--out": export_request.FOLDER,
    "--frames": "Frames",
    "--resolution": export_request.RESOLUTION,
    "--samples": export_request.SAMPLES,
    "--test-every": export_request.TEST_EVERY,
    "--colorspace": export_request.COLOR_SPACE,
}


def in_houdinis_words(message: str) -> str:
    """`message` with the field or parameter that is meant in place of a command's option."""
    options = "|".join(map(re.escape, _OPTIONS))
    return re.sub(rf"(?<![\w-])({options})(?![\w-])", lambda found: f'"{_OPTIONS[found[1]]}"', message)
