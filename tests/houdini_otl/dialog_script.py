"""A small reader of Houdini's DialogScript, as Houdini writes it: one keyword a line, blocks in braces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([{}])|([^\s{}"]+)|(\n)|[ \t\r]+', re.DOTALL)
_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_GROUPS = ("group", "groupsimple", "groupcollapsible", "multiparm")


class DialogScriptError(Exception):
    pass


@dataclass(frozen=True)
class Token:
    text: str
    quoted: bool = False


@dataclass
class Statement:
    """keyword: first word of the line. words: the rest of it. block: of braces; nested or plain words."""

    keyword: str
    words: list[str]
    block: list[Statement] | list[str] | None = None


@dataclass
class Parm:
    name: str
    label: str
    type: str
    default: tuple[str, ...]
    size: int = 1
    help: str = ""
    range: tuple[str, ...] = ()
    menu: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)


@dataclass
class DialogScript:
    name: str
    script: str
    label: str
    inputs: dict[int, str]
    parms: dict[str, Parm]
    groups: dict[str, str]


def tokens(text: str) -> Iterator[Token]:
    text = _COMMENT.sub("", text)
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise DialogScriptError(f"unexpected {text[position : position + 20]!r}")
        position = match.end()
        if match[1] is not None:
            yield Token(re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], match[1]), quoted=True)
        elif match[2] or match[3] or match[4]:
            yield Token(match[2] or match[3] or match[4])


def parse(text: str) -> DialogScript:
    """Raises DialogScriptError where the text is not of the grammar, or something is said twice."""
    stream = [*tokens(text)]
    position = _skip_lines(stream, 0)
    _expect(stream, position, "{")
    statements, position = _statements(stream, position + 1)
    if _skip_lines(stream, position) != len(stream):
        raise DialogScriptError("something follows the closing brace")
    script = DialogScript("", "", "", {}, {}, {})
    for statement in statements:
        if statement.keyword in ("name", "script", "label"):
            setattr(script, statement.keyword, statement.words[0])
        elif statement.keyword == "inputlabel":
            script.inputs[int(statement.words[0])] = statement.words[1]
        elif statement.keyword in ("parm", *_GROUPS):
            _add(script, statement)
        elif statement.keyword != "help":
            raise DialogScriptError(f"unknown keyword {statement.keyword}")
    return script


def _add(script: DialogScript, statement: Statement) -> None:
    if statement.keyword == "parm":
        parm = _parm(statement)
        if parm.name in script.parms:
            raise DialogScriptError(f"{parm.name}: twice")
        script.parms[parm.name] = parm
        return
    label = name = ""
    for inner in _nested(statement):
        if inner.keyword in ("parm", *_GROUPS):
            _add(script, inner)
        elif inner.keyword == "name":
            name = inner.words[0]
        elif inner.keyword == "label":
            label = inner.words[0]
        else:
            raise DialogScriptError(f"{name}: unknown keyword {inner.keyword}")
    if not name or name in script.groups or name in script.parms:
        raise DialogScriptError(f"group {name!r}: without a name of its own")
    script.groups[name] = label


def _parm(statement: Statement) -> Parm:
    parm = Parm("", "", "", ())
    seen: set[str] = set()
    for inner in _nested(statement):
        keyword, words = inner.keyword, [*inner.words, *_plain(inner)]
        if keyword in seen and keyword != "parmtag":
            raise DialogScriptError(f"{parm.name}: {keyword} twice")
        seen.add(keyword)
        if keyword in ("name", "label", "type", "help"):
            (value,) = words
            setattr(parm, keyword, value)
        elif keyword == "size":
            parm.size = int(words[0])
        elif keyword in ("default", "range"):
            setattr(parm, keyword, tuple(words))
        elif keyword in ("hidewhen", "disablewhen"):
            (parm.conditions[keyword],) = words
        elif keyword == "menu":
            parm.menu = dict(zip(words[::2], words[1::2], strict=True))
        elif keyword == "parmtag":
            tag, value = words
            if tag in parm.tags:
                raise DialogScriptError(f"{parm.name}: tag {tag} twice")
            parm.tags[tag] = value
        else:
            raise DialogScriptError(f"{parm.name}: unknown keyword {keyword}")
    if not {"name", "label", "type", "default"} <= seen:
        raise DialogScriptError(f"{parm.name}: lacks { ({'name', 'label', 'type', 'default'} - seen) }")
    return parm


def _statements(stream: list[Token], position: int) -> tuple[list[Statement], int]:
    """Lines up to the closing brace, and the position behind it."""
    found: list[Statement] = []
    while True:
        position = _skip_lines(stream, position)
        if position == len(stream):
            raise DialogScriptError("a brace is not closed")
        token = stream[position]
        if token.text == "}" and not token.quoted:
            return found, position + 1
        if token.quoted or token.text == "{":
            raise DialogScriptError(f"expected a keyword, found {token.text!r}")
        statement = Statement(token.text, [])
        position += 1
        while position < len(stream) and (stream[position].quoted or stream[position].text not in "\n{}"):
            statement.words.append(stream[position].text)
            position += 1
        if position < len(stream) and stream[position] == Token("{"):
            if statement.keyword in ("parm", *_GROUPS):
                statement.block, position = _statements(stream, position + 1)
            else:
                statement.block, position = _words(stream, position + 1)
        found.append(statement)


def _words(stream: list[Token], position: int) -> tuple[list[str], int]:
    words: list[str] = []
    while position < len(stream):
        token = stream[position]
        position += 1
        if token == Token("}"):
            return words, position
        if token == Token("{"):
            raise DialogScriptError("a brace among words")
        if token != Token("\n"):
            words.append(token.text)
    raise DialogScriptError("a brace is not closed")


def _skip_lines(stream: list[Token], position: int) -> int:
    while position < len(stream) and stream[position] == Token("\n"):
        position += 1
    return position


def _expect(stream: list[Token], position: int, text: str) -> None:
    if position == len(stream) or stream[position] != Token(text):
        raise DialogScriptError(f"expected {text}")


def _nested(statement: Statement) -> list[Statement]:
    if not isinstance(statement.block, list):
        raise DialogScriptError(f"{statement.keyword}: has no block")
    return [inner for inner in statement.block if isinstance(inner, Statement)]


def _plain(statement: Statement) -> list[str]:
    return [word for word in statement.block or [] if isinstance(word, str)]
