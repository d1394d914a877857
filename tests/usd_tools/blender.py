"""Blender as a module (bpy from PyPI), for stages that its own exporter writes. Optional: tests skip without.

It pins a Python version and brings a USD of its own, so it lives in another environment: the variable
BLENDER_PYTHON names that one's python.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = os.environ.get("BLENDER_PYTHON") or (sys.executable if importlib.util.find_spec("bpy") else None)

ROOT = "root"
"""Name of the prim under which Blender's exporter puts everything."""

needs_blender = pytest.mark.skipif(PYTHON is None, reason="no bpy here, and BLENDER_PYTHON names no python")


def run_in_blender(script: str, *arguments: str) -> None:
    """Runs `script` (source code) in Blender's Python; `arguments` are its sys.argv[1:]."""
    assert PYTHON is not None, "tests that call this are marked needs_blender"
    done = subprocess.run([PYTHON, "-c", script, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def export_scene(folder: Path, subdivision: str = "none") -> Path:
    """The stage that blender_scene.py exports, in `folder`; it tells what `subdivision` may be."""
    run_in_blender(Path(__file__).with_name("blender_scene.py").read_text(), str(folder), subdivision)
    return folder / "scene.usdc"
