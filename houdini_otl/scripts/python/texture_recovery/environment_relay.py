"""Runs a script apart from Houdini's environment, and what that script starts within it.

    python -E environment_relay.py SCRIPT ARGUMENT ...

For rendering by husk. Plug-ins that are built for Houdini's USD, such as a studio's asset resolver, keep any
other USD from opening a file; without them, husk does not find what only they can resolve. So the training
Python starts without Houdini's variables and sets them, for what it starts, once its own USD has looked for
plug-ins. Standard library and pxr only: nothing of the plugin can be imported here.
"""

from __future__ import annotations

import json
import os
import runpy
import sys

VARIABLE = "TEXTURE_RECOVERY_ENVIRONMENT"
"""Holds the environment's variables to set, as JSON."""


def run(script: str, *arguments: str) -> None:
    """Runs `script` as a program; the variable VARIABLE has to be set."""
    import pxr.Plug  # noqa: F401 - USD looks for plug-ins when it is loaded

    os.environ.update(json.loads(os.environ.pop(VARIABLE)))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    run(*sys.argv[1:])
