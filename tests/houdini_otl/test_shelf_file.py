"""The shelf file: valid by what Houdini's documentation tells; every script runs a function that exists."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from texture_recovery import jobs, shelf_tools

TOOLBAR = Path(__file__).resolve().parents[2] / "houdini_otl" / "toolbar"
SHELF = ET.parse(TOOLBAR / "texture_recovery.shelf").getroot()
TOOLS = SHELF.findall("tool")
CHILDREN = {"helpText", "toolMenuContext", "toolSubmenu", "keywordList", "script"}


def test_structure() -> None:
    assert SHELF.tag == "shelfDocument"
    assert [child.tag for child in SHELF] == ["shelfSet", "toolshelf", *["tool"] * 5]
    names = [child.get("name") for child in SHELF]
    assert len(set(names)) == len(names), "no two elements of a file may have one name"
    assert all(name and re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)
    shelf_set, shelf = SHELF.find("shelfSet"), SHELF.find("toolshelf")
    assert shelf_set is not None and shelf is not None
    assert [member.get("name") for member in shelf_set] == [shelf.get("name")]
    assert {member.tag for member in shelf_set} == {"memberToolshelf"}
    assert {member.tag for member in shelf} == {"memberTool"}
    assert [member.get("name") for member in shelf] == [tool.get("name") for tool in TOOLS]


def test_labels_are_those_that_messages_and_manual_use() -> None:
    told = [jobs.EXPORT, jobs.TRAIN, shelf_tools.IMPORT, jobs.COMPARE, shelf_tools.REPORT]
    assert [tool.get("label") for tool in TOOLS] == told
    for element in ("shelfSet", "toolshelf"):
        found = SHELF.find(element)
        assert found is not None and found.get("label") == "Texture Recovery"


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.get("name"))
def test_tool(tool: ET.Element) -> None:
    assert set(tool.keys()) == {"name", "label", "icon"}
    assert {child.tag for child in tool} == CHILDREN
    script = tool.find("script")
    assert script is not None and script.get("scriptType") == "python" and script.text is not None
    lines = script.text.splitlines()
    assert len(lines) == 2 and lines[0] == "from texture_recovery import shelf_tools"
    (call,) = ast.parse(lines[1]).body
    assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call)
    assert not call.value.args and isinstance(call.value.func, ast.Attribute)
    assert callable(getattr(shelf_tools, call.value.func.attr))
    assert [kind.text for kind in tool.iter("contextNetType")] == ["LOP"]
    help_text = tool.findtext("helpText") or ""
    assert help_text.startswith(f'= {tool.get("label")} =\n\n"""'), "Houdini's wiki: title, then summary"
