"""The package file and its installer, on preference folders of all systems and versions."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).resolve().parents[2] / "houdini_otl"
SHIPPED = PLUGIN / "packages" / "texture_recovery.json"

_spec = importlib.util.spec_from_file_location("houdini_install", PLUGIN / "install.py")
assert _spec is not None and _spec.loader is not None
install: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(install)


def check_package(content: Any) -> dict[str, str]:
    """What Houdini's documentation tells of packages; returns the variables."""
    assert set(content) == {"load_package_once", "enable", "env", "hpath"}
    assert content["load_package_once"] is True  # the file is also found below HOUDINI_PATH
    versions = re.findall(r"houdini_version (>=|<) '([\d.]+)'", content["enable"])
    assert versions == [(">=", "20.5"), ("<", "23.0")]
    variables = {name: value for entry in content["env"] for name, value in entry.items()}
    assert all(isinstance(value, str) for value in variables.values())
    assert content["hpath"] == "$TEXTURE_RECOVERY" and "TEXTURE_RECOVERY" in variables
    assert "PYTHONPATH" not in variables  # Houdini adds scripts/python by itself
    return variables


def test_shipped_package_points_at_the_folder_it_lies_in() -> None:
    assert not SHIPPED.read_bytes().startswith(b"\xef\xbb\xbf"), "Houdini skips files with a BOM"
    variables = check_package(json.loads(SHIPPED.read_text(encoding="utf-8")))
    root = variables["TEXTURE_RECOVERY"].replace("$HOUDINI_PACKAGE_PATH", str(SHIPPED.parent))
    assert Path(root).resolve() == PLUGIN
    for below in ("toolbar", "scripts/python/texture_recovery", "packages"):
        assert (PLUGIN / below).is_dir()


def preferences(home: Path, system: str, *versions: str) -> list[Path]:
    base = {"linux": home, "win32": home / "Documents", "darwin": home / "Library/Preferences/houdini"}[
        system
    ]
    folders = [base / (version if system == "darwin" else f"houdini{version}") for version in versions]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


@pytest.mark.parametrize("system", ["linux", "win32", "darwin"])
def test_every_supported_version_is_found(tmp_path: Path, system: str) -> None:
    folders = preferences(tmp_path, system, "19.5", "20.0", "20.5", "21.0", "22.0", "22.5", "23.0")
    (tmp_path / "houdini21.0.txt").touch()
    found = install.preference_folders(tmp_path, {}, system)
    assert found == {(20, 5): folders[2], (21, 0): folders[3], (22, 0): folders[4], (22, 5): folders[5]}


def test_redirected_documents_on_windows(tmp_path: Path) -> None:
    folder = tmp_path / "OneDrive" / "Documents" / "houdini21.0"
    folder.mkdir(parents=True)
    assert install.preference_folders(tmp_path, {}, "win32") == {(21, 0): folder}


def test_preferences_that_a_variable_names(tmp_path: Path) -> None:
    folders = preferences(tmp_path / "home", "linux", "21.0")
    for version in ("20.5", "22.0"):
        (tmp_path / f"prefs-{version}-x").mkdir()
    named = {"HOUDINI_USER_PREF_DIR": str(tmp_path / "prefs-__HVER__-x")}
    found = install.preference_folders(tmp_path / "home", named, "linux")
    assert list(found) == [(20, 5), (22, 0)]
    one = {"HOUDINI_USER_PREF_DIR": str(folders[0])}
    assert install.preference_folders(tmp_path, one, "linux") == {(21, 0): folders[0]}


def test_no_preferences_at_all(tmp_path: Path) -> None:
    for system in ("linux", "win32", "darwin"):
        assert install.preference_folders(tmp_path / "nobody", {}, system) == {}


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "USERPROFILE": str(home)}
    environment.pop("HOUDINI_USER_PREF_DIR", None)
    command = [sys.executable, str(PLUGIN / "install.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_install_again_and_uninstall(tmp_path: Path) -> None:
    folders = preferences(
        tmp_path, {"win32": "win32", "darwin": "darwin"}.get(sys.platform, "linux"), "20.5", "21.0"
    )
    theirs = folders[0] / "packages" / "studio.json"
    theirs.parent.mkdir()
    theirs.write_text("{}")
    packages = [folder / "packages" / "texture_recovery.json" for folder in folders]

    first = run(tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("written") == 2
    for package in packages:
        variables = check_package(json.loads(package.read_text(encoding="utf-8")))
        assert variables == {"TEXTURE_RECOVERY": PLUGIN.as_posix()}
    before = [package.stat().st_mtime_ns for package in packages]
    assert run(tmp_path).stdout.count("is up to date") == 2
    assert [package.stat().st_mtime_ns for package in packages] == before

    changed = run(tmp_path, "--python", sys.executable, "--prefs", str(folders[1]))
    assert changed.returncode == 0 and "written" in changed.stdout
    variables = check_package(json.loads(packages[1].read_text(encoding="utf-8")))
    assert variables["SEPARATE_SPECIALIZE_PYTHON"] == Path(os.path.abspath(sys.executable)).as_posix()  # noqa: PTH100

    again = run(tmp_path)
    assert again.stdout.count("is up to date") == 2, "the Python that was named stays"
    assert again.stdout.count("(trains with ") == 1

    assert run(tmp_path, "--uninstall").stdout.count("removed") == 2
    assert run(tmp_path, "--uninstall").stdout.count("was not there") == 2
    assert [path.name for path in theirs.parent.iterdir()] == ["studio.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"env": 3}', '{"env": [{"SEPARATE_SPECIALIZE_PYTHON": 3}]}'])
def test_package_that_cannot_be_read_is_written_anew(tmp_path: Path, content: str) -> None:
    package = tmp_path / "packages" / "texture_recovery.json"
    package.parent.mkdir()
    package.write_text(content)
    assert run(tmp_path, "--prefs", str(tmp_path)).returncode == 0
    check_package(json.loads(package.read_text(encoding="utf-8")))


def test_python_that_is_gone_is_not_kept(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    assert run(tmp_path, "--prefs", str(tmp_path), "--python", str(python)).returncode == 0
    assert install.installed_python(tmp_path) == python
    python.unlink()
    assert "trains with" not in run(tmp_path, "--prefs", str(tmp_path)).stdout
    package = json.loads((tmp_path / "packages" / "texture_recovery.json").read_text(encoding="utf-8"))
    assert check_package(package) == {"TEXTURE_RECOVERY": PLUGIN.as_posix()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no preferences of Houdini 20.5 to 22 were found"),
        (["--prefs", "nowhere"], "--prefs nowhere: no such folder"),
        (["--prefs", ".", "--python", "nowhere/python"], "--python nowhere/python: no such file"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run(tmp_path, *arguments)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.startswith(f"error: {message}") and result.stderr.count("\n") == 1


def test_installer_and_shipped_package_agree() -> None:
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    written = install.package(PLUGIN, None)
    assert {**shipped, "env": None} == {**written, "env": None}
