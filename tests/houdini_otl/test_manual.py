"""README's chapter on Houdini, held to the code: what is written there to be typed has to work."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import hou
import pytest
from texture_recovery import jobs, scripting, session, shelf_tools, task_graph
from texture_recovery.pipeline_commands import JobFolder, Training
from texture_recovery.settings import FILE_NAME, Settings

from tests.houdini_otl.test_task_graph import Node
from usd_tools.usd_to_llff import PYTHON_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHAPTER = README[README.index("\n## In Houdini\n") : README.index("\n## CUDA packages\n")]
ONE_LINERS = re.findall(r'^hython -c "(.*)"$', CHAPTER, re.MULTILINE)


def test_five_clicks_are_the_tools_of_the_shelf() -> None:
    tools = [jobs.EXPORT, jobs.TRAIN, shelf_tools.IMPORT, jobs.COMPARE, shelf_tools.REPORT]
    assert re.findall(r"^\d\. \*\*(.*?)\.?\*\*", CHAPTER, re.MULTILINE) == tools


@pytest.mark.parametrize("code", ONE_LINERS)
def test_one_liners_call_what_exists(code: str) -> None:
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    called = 0
    for call in calls:
        function = ast.unparse(call.func)
        if function.startswith("scripting."):
            arguments = [ast.literal_eval(argument) for argument in call.args]
            keywords = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
            target = getattr(scripting, function.removeprefix("scripting."))
            inspect.signature(target).bind(*arguments, **keywords)
            called += 1
    assert called == 1
    assert "from texture_recovery import scripting" in code


def test_one_liners_are_all_steps() -> None:
    steps = [re.findall(r"scripting\.(\w+)\(", code)[0] for code in ONE_LINERS]
    assert steps == ["export", "train", "import_recovered", "compare"]


def test_task_graph_is_built_as_written(houdini: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", CHAPTER, re.DOTALL)
    network: Any = Node("topnet", "recovery")
    tasks = hou.OpNode("/tasks")
    monkeypatch.setattr(tasks, "createNode", lambda kind: network)
    monkeypatch.setattr(session, "training", lambda: Training("/opt/python", str(ROOT)))
    names: dict[str, Any] = {}
    exec(code, names)
    assert [node.name for node in network.children][-1] == "done"
    assert task_graph.shell_script(session.training(), names["batch"]).startswith("set -e\n")


def test_files_lie_where_it_says() -> None:
    folder = JobFolder(Path("x"))
    table = CHAPTER[CHAPTER.index("| in the folder |") :]
    for path in (folder.stage, folder.renders, folder.dataset, folder.run, folder.recovered, folder.report):
        assert f"`{path.name}" in table
    assert f"`{PYTHON_VARIABLE}`" in CHAPTER and f"`{FILE_NAME}`" in CHAPTER
    assert "`training_python`" in CHAPTER and "training_python" in Settings.__dataclass_fields__
