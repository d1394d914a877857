"""Nothing half-written is seen, nothing foreign is replaced, no path escapes."""

import errno
from pathlib import Path

import pytest

from usd_tools.errors import UserError
from usd_tools.files import atomic_file, atomic_folder, inside


def test_atomic_file_replaces_only_on_success(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with atomic_file(target) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("first")
        assert not target.exists()
    assert target.read_text() == "first"
    with pytest.raises(OSError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_text() == "first"
    assert list(target.parent.iterdir()) == [target]


def test_failure_leaves_no_parents_behind(tmp_path):
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a" / "b" / "c.txt"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "a" / "b", "marker.json"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_atomic_folder_replaces_its_own_earlier_output(tmp_path):
    target = tmp_path / "out"
    for text in ("first", "second"):
        with atomic_folder(target, "marker.json") as folder:
            (folder / "marker.json").write_text(text)
            if target.exists():
                assert (target / "marker.json").read_text() == "first"
        assert (target / "marker.json").read_text() == text
    with pytest.raises(KeyboardInterrupt), atomic_folder(target, "marker.json") as folder:
        (folder / "marker.json").write_text("third")
        raise KeyboardInterrupt
    assert (target / "marker.json").read_text() == "second"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_folder_refuses_foreign_content(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"not an earlier output"), atomic_folder(tmp_path, "marker.json"):
        pass
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(UserError, match="is a file"), atomic_folder(tmp_path / "thesis.tex", "marker.json"):
        pass


def test_atomic_folder_takes_an_empty_folder(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out", "marker.json") as folder:
        (folder / "marker.json").write_text("")
    assert (tmp_path / "out" / "marker.json").exists()


@pytest.mark.parametrize("manager", [atomic_file, lambda path: atomic_folder(path, "marker.json")])
def test_output_below_a_file_is_refused(tmp_path, manager):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"), manager(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize(
    "relative",
    ["../a", "a/../../b", "/etc/passwd", "https://x.org/a", "file:a", "//server/a", "\\\\server\\a", "a\0b"],
)
def test_inside_refuses_escapes(tmp_path, relative):
    with pytest.raises(UserError):
        inside(tmp_path, relative)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_places_where_nothing_can_be_made():
    with pytest.raises(UserError, match="/proc: no folder"), atomic_folder("/proc/out", "marker.json"):
        pass


def test_inside_follows_links(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path)
    assert inside(tmp_path / "folder", "./a/b") == (tmp_path / "folder" / "a" / "b").resolve()
    with pytest.raises(UserError, match="leads out"):
        inside(tmp_path / "folder", "link/x")
