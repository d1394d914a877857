"""The expanded digital assets: complete as Houdini needs them, and of one mind with their cook functions."""

from __future__ import annotations

import dataclasses
import email
import importlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from texture_recovery.recovered_variant import CHOICES, ImportRecovered
from texture_recovery.recovery_error import CHANNELS, DISPLAYS, RecoveryError
from texture_recovery.render_prims import ENGINES, FRAME_TOKEN
from texture_recovery.turntable import LAYOUTS, Turntable

from tests.houdini_otl import dialog_script
from tests.houdini_otl.dialog_script import DialogScript, DialogScriptError, Parm

OTLS = Path(__file__).resolve().parents[2] / "houdini_otl" / "otls"
NAMESPACE = "texture_recovery"
RECORDS: dict[str, Any] = {
    "turntable_dataset": Turntable,
    "import_recovered": ImportRecovered,
    "recovery_error": RecoveryError,
}
MENUS = {
    ("turntable_dataset", "layout"): LAYOUTS,
    ("turntable_dataset", "engine"): ENGINES,
    ("import_recovered", "show"): CHOICES,
    ("recovery_error", "channel"): CHANNELS,
    ("recovery_error", "display"): DISPLAYS,
}
KINDS = {
    str: ("string", "file"),
    int: ("integer",),
    float: ("float",),
    bool: ("toggle",),
    tuple[int, int]: ("intvector2",),
}


PYTHON_PARM = re.compile(r'^python\t\[ 0\tlocks=0 \]\t\(\t"((?:[^"\\]|\\.)*)"\t\)$', re.M | re.S)


def library(name: str) -> Path:
    return OTLS / f"{NAMESPACE}_lop_{name}.1.0.hda"


def section(name: str) -> str:
    return f"{NAMESPACE}::Lop/{name}::1.0"


def escaped(text: str) -> str:
    return text.replace("_", "__").replace("/", "_1").replace(":", "_8")


def definition(name: str) -> Path:
    return library(name) / escaped(section(name))


def script(name: str) -> DialogScript:
    return dialog_script.parse((definition(name) / "DialogScript").read_text(encoding="utf-8"))


def sections(folder: Path) -> dict[str, str]:
    lines = (folder / "Sections.list").read_text(encoding="utf-8").splitlines()
    assert lines[0] == '""'
    pairs = [line.split("\t") for line in lines[1:]]
    assert all(len(pair) == 2 for pair in pairs)
    return {pair[0]: pair[1] for pair in pairs}


def contents(name: str) -> dict[str, str]:
    """The network's files, by name, in their order."""
    text = (definition(name) / "Contents.dir" / "Contents.mime").read_text(encoding="utf-8")
    message = email.message_from_string(text)
    assert message.is_multipart() and not message.defects
    parts = message.get_payload()
    assert isinstance(parts, list)
    return {str(part.get_filename()): str(part.get_payload()) for part in parts}


def test_every_asset_is_checked_here() -> None:
    assert {path.name for path in OTLS.iterdir()} == {library(name).name for name in RECORDS}
    modules = Path(importlib.import_module("texture_recovery").__path__[0]).glob("*_lop.py")
    cooked = {re.findall(r"(\w+_lop)\.cook", contents(name)["hdaroot/cook.parm"])[0] for name in RECORDS}
    assert {path.stem for path in modules} == cooked


@pytest.mark.parametrize("name", RECORDS)
def test_library_is_complete(name: str) -> None:
    top = library(name)
    assert (top / "houdini.hdalibrary").read_bytes() == b""
    assert sections(top) == {
        "INDEX__SECTION": "INDEX_SECTION",
        "houdini.hdalibrary": "houdini.hdalibrary",
        escaped(section(name)): section(name),
    }
    assert {path.name for path in top.iterdir()} == {*sections(top), "Sections.list"}
    listed = sections(definition(name))
    assert all(disk == escaped(entry) for disk, entry in listed.items())
    # The network is listed as it is when collapsed, and lies expanded beside.
    on_disk = {path.name for path in definition(name).iterdir()}
    assert on_disk == (set(listed) - {"Contents.gz"}) | {"Contents.dir", "Sections.list"}
    needed = ("DialogScript", "TypePropertiesOptions", "CreateScript", "Tools.shelf", "Contents.gz")
    assert {*needed, "MessageNodes"} <= set(listed)
    assert sections(definition(name) / "Contents.dir") == {"Contents.mime": "Contents.mime"}
    for path in top.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8")
            assert "\r" not in text and not text.startswith("\ufeff"), path


@pytest.mark.parametrize("name", RECORDS)
def test_index_names_the_operator(name: str) -> None:
    text = (library(name) / "INDEX__SECTION").read_text(encoding="utf-8")
    assert text.endswith("\n\n"), "a blank line ends the block"
    lines = text[:-2].split("\n")
    assert all(line[13] == " " and line[14:15] != " " for line in lines), "values start at column 15"
    values = {line[:14].rstrip(" ").rstrip(":"): line[14:] for line in lines}
    operator = f"{NAMESPACE}::{name}::1.0"
    assert list(values) == (
        [
            "Operator",
            "Label",
            "Path",
            "Icon",
            "Table",
            "License",
            "Extra",
            "User",
            "Inputs",
            "Subnet",
            "Python",
            "Empty",
            "Modified",
        ]
    )
    assert values["Operator"] == operator == script(name).name
    assert values["Label"] == script(name).label
    assert values["Path"] == f"oplib:/{section(name)}?{section(name)}"
    assert (values["Table"], values["Subnet"], values["Python"]) == ("Lop", "true", "false")
    least, most = map(int, values["Inputs"].split(" to "))
    assert 0 <= least <= most == len(script(name).inputs)
    assert script(name).script == name


@pytest.mark.parametrize("name", RECORDS)
def test_options_and_scripts(name: str) -> None:
    options = (definition(name) / "TypePropertiesOptions").read_text(encoding="utf-8")
    values = dict(re.fullmatch(r"(\w+) := ([01]);", line).groups() for line in options.splitlines())  # type: ignore[union-attr]
    on = {key for key, value in values.items() if value == "1"}
    assert on == set(
        [
            "CheckExternal",
            "ContentsCompressionType",
            "ForbidOutsideParms",
            "GzipContents",
            "LockContents",
            "MakeDefault",
            "SaveIcon",
            "UseDSParms",
        ]
    )
    assert set(values) - on == set(
        [
            "ParmsFromVfl",
            "PrefixDroppedParmLabel",
            "PrefixDroppedParmName",
            "SaveCachedCode",
            "SaveSpareParms",
            "UnlockOnCreate",
        ]
    )
    create = (definition(name) / "CreateScript").read_text(encoding="utf-8")
    assert "\\set noalias = 1" in create and "opexprlanguage -s hscript $arg1" in create
    assert section(name) in create
    tool = ElementTree.fromstring((definition(name) / "Tools.shelf").read_text(encoding="utf-8")).find("tool")
    assert tool is not None and tool.get("name") == "$HDA_DEFAULT_TOOL"
    assert tool.findtext("toolMenuContext/contextOpType") == "$HDA_TABLE_AND_NAME"
    assert tool.findtext("toolSubmenu") == "Texture Recovery"
    code = tool.findtext("script")
    assert code is not None
    compile(code, "Tools.shelf", "exec")
    assert code.splitlines()[1] == "loptoolutils.genericTool(kwargs, '$HDA_NAME')"


@pytest.mark.parametrize("name", RECORDS)
def test_network_is_a_python_script_between_input_and_output(name: str) -> None:
    parts = contents(name)
    nodes = {part.split("/")[1].split(".")[0] for part in parts if part.startswith("hdaroot/")}
    assert nodes == {"output0", "cook"}
    shown = (definition(name) / "MessageNodes").read_text(encoding="utf-8")
    assert shown == "cook", "its errors are the asset's own, in the form of published assets: names only"
    assert list(parts) == [
        "node_type",
        "hdaroot.init",
        "hdaroot.def",
        "hdaroot.userdata",
        "hdaroot.inp",
        "hdaroot/output0.init",
        "hdaroot/output0.def",
        "hdaroot/output0.parm",
        "hdaroot/output0.userdata",
        "hdaroot/cook.init",
        "hdaroot/cook.def",
        "hdaroot/cook.parm",
        "hdaroot/cook.userdata",
        "hdaroot.order",
        "hdaroot.net",
    ]
    assert parts["node_type"].strip() == "Lop"
    assert parts["hdaroot.init"].splitlines()[:2] == [f"type = {NAMESPACE}::{name}::1.0", "matchesdef = 0"]
    assert parts["hdaroot/cook.init"].splitlines()[:2] == ["type = pythonscript", "matchesdef = 1"]
    assert parts["hdaroot/output0.init"].splitlines()[:2] == ["type = output", "matchesdef = 1"]
    assert wires(parts["hdaroot/cook.def"]) == ["0 \t(0) 0 1"], "from the subnet's first input"
    assert wires(parts["hdaroot/output0.def"]) == ["0 \tcook 0 1"]
    assert "display on render on" in parts["hdaroot/output0.def"]
    assert parts["hdaroot.order"].split() == ["2", "output0", "cook"]
    for part in parts:
        if part.endswith(".def"):
            assert parts[part].strip().endswith("end")


def wires(text: str) -> list[str]:
    block = re.search(r"^inputs\n\{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    return block[1].splitlines()


@pytest.mark.parametrize("name", RECORDS)
def test_cook_code_is_two_lines_into_a_module(name: str) -> None:
    text = contents(name)["hdaroot/cook.parm"]
    match = PYTHON_PARM.search(text)
    assert match is not None
    code = match[1].replace('\\"', '"')
    compile(code, "python", "exec")
    first, second = code.splitlines()
    module = first.removeprefix("import ")
    assert second == f"{module}.cook(hou.pwd(), hou.pwd().parent())"
    assert callable(importlib.import_module(module).cook)


@pytest.mark.parametrize("name", RECORDS)
def test_parameters_are_the_cook_functions_record(name: str) -> None:
    parms = {key: parm for key, parm in script(name).parms.items() if parm.type != "button"}
    fields = {field.name: field for field in dataclasses.fields(RECORDS[name])}
    assert list(parms) and set(parms) == set(fields)
    kinds = get_type_hints(RECORDS[name])
    for key, parm in parms.items():
        assert parm.type in KINDS[kinds[key]], key
        if "$" not in parm.default[0]:  # Houdini's variables mean nothing outside of it
            assert python_value(parm, kinds[key]) == fields[key].default, key
        else:
            assert key == "picture" and FRAME_TOKEN in parm.default[0]


def python_value(parm: Parm, kind: Any) -> object:
    if kind is bool:
        return {"0": False, "1": True}[parm.default[0]]
    if kind == tuple[int, int]:
        assert parm.size == len(parm.default) == 2
        return tuple(map(int, parm.default))
    (value,) = parm.default
    return kind(value)


@pytest.mark.parametrize("name", RECORDS)
def test_parameters_guide_the_artist(name: str) -> None:
    parms = script(name).parms
    assert len({parm.label for parm in parms.values()}) == len(parms)
    for key, parm in parms.items():
        assert re.fullmatch(r"[a-z][a-z_]*", key)
        assert parm.help.endswith("."), key
        assert parm.label.istitle() or " of " in parm.label, key
        if parm.type in ("integer", "float", "intvector2"):
            low, high = (float(limit.rstrip("!")) for limit in parm.range)
            assert all(low <= float(value) <= high for value in parm.default), key
        assert set(parm.menu) == set(MENUS.get((name, key), ())), key
        if parm.menu:
            assert parm.default[0] in parm.menu
        for condition in parm.conditions.values():
            match = re.fullmatch(r"\{ (\w+) (==|!=) (\w+) \}", condition)
            assert match is not None and match[1] in parms, condition
            assert not parms[match[1]].menu or match[3] in parms[match[1]].menu
        for tag in ("script_action", "script_callback"):
            compile(parm.tags.get(tag, ""), key, "exec")
        assert (parm.type == "button") == ("script_callback" in parm.tags), key


def test_reload_button_calls_what_exists() -> None:
    code = script("import_recovered").parms["reload"].tags["script_callback"]
    assert code.splitlines() == [
        "import texture_recovery.import_lop",
        "texture_recovery.import_lop.reload(kwargs['node'])",
    ]
    assert callable(importlib.import_module("texture_recovery.import_lop").reload)


@pytest.mark.parametrize("name", RECORDS)
def test_help_describes_every_parameter(name: str) -> None:
    text = (definition(name) / "Help").read_text(encoding="utf-8")
    described = dict(
        zip(re.findall(r"^    #id: (\w+)$", text, re.M), re.findall(r"^(\w.*):\n    #id", text, re.M))
    )
    assert described == {key: parm.label for key, parm in script(name).parms.items()}
    properties = dict(re.findall(r"^#(\w+): (.*)$", text, re.M))
    assert text.startswith(f"= {script(name).label} =\n")
    expected: Mapping[str, str] = {
        "internal": name,
        "namespace": NAMESPACE,
        "version": "1.0",
        "context": "lop",
    }
    assert {key: properties[key] for key in expected} == expected
    assert re.search(r'^"""\S.*\."""$', text, re.M), "the summary is one line"
    for parm in script(name).parms.values():
        for label in parm.menu.values():
            assert label in text or name == "recovery_error" or parm.name in ("engine", "show"), label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n name a\n", "not closed"),
        ("{\n}\n}\n", "follows"),
        ('{\n parm {\n name "a"\n type integer\n default { "1" }\n }\n}\n', "lacks"),
        ('{\n parm {\n name "a"\n name "b"\n }\n}\n', "twice"),
        ("{\n shout loud\n}\n", "unknown keyword"),
        ('{\n "name" a\n}\n', "expected a keyword"),
    ],
)
def test_reader_refuses_what_is_no_dialog_script(text: str, message: str) -> None:
    with pytest.raises(DialogScriptError, match=message):
        dialog_script.parse(text)
