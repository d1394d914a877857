"""Ways to break a file that need not know its format, each drawn from a seeded generator."""

from __future__ import annotations

import json
import random
import re
from typing import Any


def spoil_bytes(data: bytes, random: random.Random) -> bytes:
    """Truncated, bit-flipped, overwritten, shortened, lengthened or repeated."""
    kind = random.randrange(6)
    if kind == 0 or not data:
        return data[: random.randrange(len(data) + 1)]
    mutable = bytearray(data)
    if kind == 1:
        for _ in range(random.choice((1, 4, 64))):
            position = random.randrange(len(mutable))
            mutable[position] ^= 1 << random.randrange(8)
        return bytes(mutable)
    start = random.randrange(len(mutable))
    length = random.choice((1, 4, 8, 64, 1024))
    if kind == 2:
        filling = random.choice((b"\xff", b"\x00", b"\x7f"))
        mutable[start : start + length] = filling * len(mutable[start : start + length])
    elif kind == 3:
        del mutable[start : start + length]
    elif kind == 4:
        mutable[start:start] = random.randbytes(length)
    else:
        mutable[start:start] = mutable[start : start + length] * random.choice((1, 16, 256))
    return bytes(mutable)


_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_ODD_NUMBERS = (
    "nan",
    "inf",
    "-1",
    "0",
    "1e308",
    "99999999999999999999",
    "2147483647",
    "-2147483648",
    "1e-45",
)


def spoil_text(text: str, random: random.Random) -> str:
    """Some numbers odd, some lines missing, doubled or joined, some brackets unbalanced."""
    kind = random.randrange(4)
    if kind == 0:
        share = random.choice((0.01, 0.2, 1.0))
        return _NUMBER.sub(
            lambda found: random.choice(_ODD_NUMBERS) if random.random() < share else found[0], text
        )
    lines = text.split("\n")
    if kind == 1:
        for _ in range(random.choice((1, 5))):
            del lines[random.randrange(len(lines)) :][:1]
            lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
        return "\n".join(lines)
    if kind == 2:
        position = random.randrange(len(text) + 1)
        return text[:position] + random.choice("([{\"'@<#\\") * random.choice((1, 3, 5000)) + text[position:]
    position = random.randrange(len(lines))
    return "\n".join(lines[:position] + lines[position + random.choice((1, 3, 20)) :])


_ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    10**400,
    "",
    "x",
    "../../../../etc/passwd",
    "/etc/passwd",
    "http://example.com/a.png",
    "file:///etc/passwd",
    "a\0b",
    "./" * 5000,
    [],
    {},
    [[]],
    [1, 2, 3],
    {"a": 1},
    float("nan"),
    float("inf"),
    "\ud800",
)


def spoil_json(content: Any, random: random.Random) -> str:
    """One value somewhere in the tree replaced by an odd one, or removed; written as Python's json does."""
    content = json.loads(json.dumps(content))
    node, path = content, []
    while isinstance(node, (dict, list)) and node and (not path or random.random() < 0.8):
        key = random.choice(list(node) if isinstance(node, dict) else range(len(node)))
        path.append((node, key))
        node = node[key]
    parent, key = random.choice(path)
    if random.random() < 0.15:
        del parent[key]
    else:
        parent[key] = random.choice(_ODD_VALUES)
    return json.dumps(content)
