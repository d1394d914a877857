"""Messages of the commands, as artists read them."""

from __future__ import annotations

import re

import pytest
from texture_recovery.wording import _OPTIONS, in_houdinis_words

from usd_tools import render_turntable, usd_to_llff


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("a.usd: has 2 meshes; name one by --object", 'a.usd: has 2 meshes; name one by "Object"'),
        ("--frames: 0.5 cannot name a file", '"Frames": 0.5 cannot name a file'),
        ("--frames 1:: expected a SPEC", '"Frames" 1:: expected a SPEC'),
        ("give --colorspace acescg", 'give "Color space of the renders" acescg'),
        ("--set train.btach: no such key", "--set train.btach: no such key"),
        ("/jobs/my--object/x, --object-id, --outer", "/jobs/my--object/x, --object-id, --outer"),
    ],
)
def test_options_are_told_as_fields(message: str, told: str) -> None:
    assert in_houdinis_words(message) == told


def test_options_are_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (render_turntable, usd_to_llff):
        with pytest.raises(SystemExit):
            command.main(["--help"])
    told = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(_OPTIONS) <= told
