"""Texture recovery in Houdini: shelf tools, digital assets and task graphs.

Modules that import `hou` are thin; the others need pxr and numpy only and run without Houdini. They share
code with the command lines in `usd_tools`, which lies beside `houdini_otl` in the clone.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
"""The clone that holds houdini_otl, usd_tools and recon."""

if not (ROOT / "usd_tools").is_dir():
    raise ImportError(
        f"{ROOT}: has no usd_tools; leave houdini_otl in its clone and point Houdini there with "
        "houdini_otl/install.py, instead of copying it"
    )
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # last, so that no module of Houdini's or a studio's is hidden
