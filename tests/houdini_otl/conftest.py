"""Makes the plugin importable as Houdini does, with a stand-in for `hou`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parents[1] / "houdini_otl" / "scripts" / "python"), str(_HERE / "stand_in")]


@pytest.fixture
def houdini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fresh session of the stand-in; questions that were arranged and not asked are an error."""
    hou: Any = importlib.import_module("hou")

    session = hou._Session()
    session.preferences = str(tmp_path / "houdini21.0")
    (tmp_path / "houdini21.0").mkdir()
    (tmp_path / "hip").mkdir()
    session.variables["HIP"] = str(tmp_path / "hip")
    monkeypatch.setattr(hou, "_session", session)
    yield session
    assert not session.answers, f"never asked: {session.answers}"
