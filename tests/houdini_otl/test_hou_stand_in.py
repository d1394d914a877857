"""The stand-in for `hou` promises no more than Houdini's stubs do: names, and parameters in their order."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

STAND_IN = Path(__file__).parent / "stand_in" / "hou.py"
Signature = tuple[tuple[str, ...], int]  # the parameters, and how many of them have no default


def stub_path() -> Path | None:
    spec = importlib.util.find_spec("mypy")
    assert spec is not None and spec.origin is not None, "mypy belongs to the test extras"
    path = Path(spec.origin).parents[1] / "hou-stubs" / "__init__.pyi"
    return path if path.is_file() else None


def public(body: list[ast.stmt]) -> list[ast.ClassDef | ast.FunctionDef]:
    found = [node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    return [node for node in found if not node.name.startswith("_")]


def signature(function: ast.FunctionDef) -> Signature:
    arguments = function.args
    names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    return tuple(name for name in names if name != "self"), len(names) - len(arguments.defaults)


def stub_class(classes: dict[str, ast.ClassDef], name: str) -> list[ast.stmt]:
    """The body of a class and those of its bases."""
    cls = classes[name]
    body = list(cls.body)
    for base in cls.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            body += stub_class(classes, base.id)
    return body


@pytest.fixture(scope="module")
def stubs() -> dict[str, list[Signature]]:
    """All overloads by name, such as `ui.displayMessage`; classes' attributes too, without a signature."""
    path = stub_path()
    if path is None:
        pytest.skip("types-houdini is not installed")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.name for node in public(ast.parse(STAND_IN.read_text(encoding="utf-8")).body)}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, list[Signature]] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in used:
            found.setdefault(node.name, []).append(signature(node))
    for name in used & classes.keys():
        found[name] = []
        for member in stub_class(classes, name):
            if isinstance(member, ast.FunctionDef):
                found.setdefault(f"{name}.{member.name}", []).append(signature(member))
            elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                found[f"{name}.{member.target.id}"] = []
    return found


def stand_in() -> dict[str, Signature | None]:
    found: dict[str, Signature | None] = {}
    for node in public(ast.parse(STAND_IN.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.FunctionDef):
            found[node.name] = signature(node)
            continue
        found[node.name] = None
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                found[f"{node.name}.{member.name}"] = signature(member)
            elif isinstance(member, ast.Assign):
                found |= {
                    f"{node.name}.{target.id}": None
                    for target in member.targets
                    if isinstance(target, ast.Name)
                }
    return found


@pytest.mark.parametrize("name", [name for name in stand_in()])
def test_signature_is_houdinis(name: str, stubs: dict[str, list[Signature]]) -> None:
    assert name in stubs, f"hou.{name} is not in Houdini's stubs"
    ours = stand_in()[name]
    if ours is not None:
        assert ours in stubs[name], f"hou.{name}{ours}: Houdini has {stubs[name]}"


def test_a_wrong_signature_is_found(stubs: dict[str, list[Signature]]) -> None:
    assert (("text", "buttons"), 1) not in stubs["ui.displayMessage"]
    assert "ui.displayMessages" not in stubs
