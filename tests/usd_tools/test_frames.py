"""Frame specifications."""

import pytest

from usd_tools.errors import UserError
from usd_tools.frames import format_frames, parse_frames, split_frames


@pytest.mark.parametrize(
    "spec, expected",
    [
        ("1:5", [1, 2, 3, 4, 5]),
        ("1:6:2", [1, 3, 5]),
        ("9,1,5", [1, 5, 9]),
        ("1:2,2:3", [1, 2, 3]),
        ("-1:1", [-1, 0, 1]),
        ("1:2:0.5", [1, 1.5, 2]),
        ("0:1:0.1", [round(0.1 * i, 6) for i in range(11)]),
    ],
)
def test_parse_frames(spec, expected):
    assert parse_frames(spec) == expected


@pytest.mark.parametrize("spec", ["", "a", "5:1", "1:5:0", "1:5:-1", "1::5", "1:2:3:4", "1,,2", "1:99999999"])
def test_malformed_specifications(spec):
    with pytest.raises(UserError, match="--frames"):
        parse_frames(spec)


def test_split():
    (split,) = split_frames([[1, 2, 3]], "3:5", None)
    assert split.frames == (1, 2, 3, 4, 5) and split.test == {3, 4, 5}
    (split,) = split_frames([[10, 11, 12, 13]], None, 2)
    assert split.test == {10, 12}
    (split,) = split_frames([[1, 2]], None, None)
    assert split.test == frozenset()
    with pytest.raises(UserError, match="no training frame"):
        split_frames([[1, 2]], "1:2", None)
    with pytest.raises(UserError, match="no training frame"):
        split_frames([[1, 2]], None, 1)


def test_split_counts_pictures_camera_by_camera():
    rig = split_frames([[1.0]] * 7, None, 3)
    assert [bool(split.test) for split in rig] == [True, False, False, True, False, False, True]
    pair = split_frames([[1, 2, 3, 4, 5], [3, 4, 5]], None, 3)
    assert [set(split.test) for split in pair] == [{1, 4}, {4}]  # pictures 0, 3 and 6 of 8
    pair = split_frames([[1, 2, 3], [1]], "0:1", None)
    assert [split.frames for split in pair] == [(0, 1, 2, 3), (0, 1)]
    assert [split.test for split in pair] == [{0, 1}] * 2


def test_format_frames():
    assert format_frames([1, 2, 3, 7, 9, 10, 10.5]) == "1:3, 7, 9:10, 10.5"
