"""Frame specifications and picture sequences."""

import pytest

from usd_tools.errors import UserError
from usd_tools.frames import find_pictures, format_frames, match_pictures, parse_frames, split_frames


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
    split = split_frames([1, 2, 3], "3:5", None)
    assert split.frames == (1, 2, 3, 4, 5) and split.test == {3, 4, 5}
    assert split_frames([10, 11, 12, 13], None, 2).test == {10, 12}
    assert split_frames([1, 2], None, None).test == frozenset()
    with pytest.raises(UserError, match="no training frame"):
        split_frames([1, 2], "1:2", None)
    with pytest.raises(UserError, match="no training frame"):
        split_frames([1, 2], None, 1)


@pytest.mark.parametrize("pattern", ["a.%04d.exr", "a.####.exr", "a.$F4.exr", "a.<F4>.exr", "a.$F.exr", ""])
def test_sequences(tmp_path, pattern):
    for name in ("a.0001.exr", "a.0002.exr", "a.12345.exr", "notes.txt", ".a.0003.exr"):
        (tmp_path / name).touch()
    found = find_pictures(str(tmp_path / pattern))
    expected = {1: "a.0001.exr", 2: "a.0002.exr", 12345: "a.12345.exr"}
    assert {number: path.name for number, path in found.items()} == expected


def test_udim_like_names_are_no_frames(tmp_path):
    (tmp_path / "tile.1001.v2.exr").touch()
    (tmp_path / "a_12.exr").touch()
    (tmp_path / "a_13.exr").touch()
    with pytest.raises(UserError, match="several sequences"):
        find_pictures(str(tmp_path))
    assert sorted(find_pictures(str(tmp_path / "a_##.exr"))) == [12, 13]


@pytest.mark.parametrize("images", ["", "missing.exr", "b.####.exr", "a.####.%04d.exr", "absent/a.####.exr"])
def test_no_sequence(tmp_path, images):
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match="--images"):
        find_pictures(str(tmp_path / images))


def test_one_frame_twice(tmp_path):
    (tmp_path / "a.1.exr").touch()
    (tmp_path / "a.01.exr").touch()
    with pytest.raises(UserError, match="exists twice"):
        find_pictures(str(tmp_path))


def test_missing_and_extra_pictures_are_named(tmp_path):
    pictures = {frame: tmp_path / f"{frame}.exr" for frame in (1, 2, 7, 8)}
    with pytest.raises(UserError, match=r"no picture of 2 frames \(3:4\) and 2 pictures .*\(7:8\)"):
        match_pictures([1, 2, 3, 4], pictures, "renders", complete=True)
    assert match_pictures([2, 7], pictures, "renders", complete=False) == [pictures[2], pictures[7]]
    with pytest.raises(UserError, match=r"1\.5"):
        match_pictures([1, 1.5], pictures, "renders", complete=False)


def test_format_frames():
    assert format_frames([1, 2, 3, 7, 9, 10, 10.5]) == "1:3, 7, 9:10, 10.5"
