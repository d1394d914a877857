"""Pictures by frame: folders, patterns, and names that only look like frames."""

import pytest

from usd_tools.errors import UserError
from usd_tools.picture_sequences import find_pictures, match_pictures


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize("pattern", ["a.%04d.exr", "a.####.exr", "a.$F4.exr", "a.<F4>.exr", "a.$F.exr", ""])
def test_sequences(tmp_path, pattern):
    touch(tmp_path, "a.0001.exr", "a.0002.exr", "a.12345.exr", "notes.txt", ".a.0003.exr")
    found = find_pictures(str(tmp_path / pattern))
    expected = {1: "a.0001.exr", 2: "a.0002.exr", 12345: "a.12345.exr"}
    assert {number: path.name for number, path in found.items()} == expected


@pytest.mark.parametrize(
    "names, frames",
    [
        (["cow.0001.1001.png", "cow.0002.1001.png"], [1, 2]),  # one UDIM tile over time
        (["v002_0001_512.png", "v002_0002_512.png", "v002_0010_512.png"], [1, 2, 10]),
        (["shot.1001.exr", "shot.1002.exr"], [1001, 1002]),  # a shot that starts at 1001
        (["a1b2.exr"], [2]),  # nothing differs: the last number
        (["7.JPG", "8.JPG"], [7, 8]),
    ],
)
def test_the_frame_is_the_number_that_differs(tmp_path, names, frames):
    touch(tmp_path, *names, "readme.png")
    assert {frame: path.name for frame, path in find_pictures(str(tmp_path)).items()} == dict(
        zip(frames, names)
    )


@pytest.mark.parametrize("pattern", ["a.####.##.exr", "a.%07.2f.exr", "a.$FF.exr", "a.<FF>.exr"])
def test_sub_frames(tmp_path, pattern):
    touch(tmp_path, "a.0001.00.exr", "a.0001.50.exr", "a.0002.00.exr")
    assert sorted(find_pictures(str(tmp_path / pattern))) == [1, 1.5, 2]


def test_several_sequences(tmp_path):
    touch(tmp_path, "tile.1001.v2.exr", "a_12.exr", "a_13.exr")
    with pytest.raises(UserError, match=r"several sequences \(a_####.exr, tile.1001.v####.exr\)"):
        find_pictures(str(tmp_path))
    assert sorted(find_pictures(str(tmp_path / "a_##.exr"))) == [12, 13]


def test_two_cameras_in_one_folder(tmp_path):
    touch(tmp_path, *(f"cam{camera}.{frame:04d}.exr" for camera in (1, 2) for frame in (1, 2)))
    with pytest.raises(UserError, match=r"cam1\.####\.exr, cam2\.####\.exr"):
        find_pictures(str(tmp_path))


@pytest.mark.parametrize("images", ["", "missing.exr", "b.####.exr", "a.####.%04d.exr", "absent/a.####.exr"])
def test_no_sequence(tmp_path, images):
    touch(tmp_path, "a.txt")
    with pytest.raises(UserError, match="--masks"):
        find_pictures(str(tmp_path / images), "--masks")


def test_one_frame_twice(tmp_path):
    touch(tmp_path, "a.1.exr", "a.01.exr")
    with pytest.raises(UserError, match="exists twice"):
        find_pictures(str(tmp_path))


def test_missing_and_extra_pictures_are_named(tmp_path):
    pictures = {frame: tmp_path / f"{frame}.exr" for frame in (1.0, 2.0, 7.0, 8.0)}
    with pytest.raises(UserError, match=r"no picture of 2 frames \(3:4\) and 2 pictures .*\(7:8\)"):
        match_pictures([1, 2, 3, 4], pictures, "renders", complete=True)
    assert match_pictures([2, 7], pictures, "renders", complete=False) == [pictures[2], pictures[7]]
    with pytest.raises(UserError, match=r"1\.5"):
        match_pictures([1, 1.5], pictures, "renders", complete=False)
