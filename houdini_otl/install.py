"""Tells Houdini where this folder is, by a package file in the preferences of every Houdini found.

    python houdini_otl/install.py                        install for Houdini 20.5 to 22
    python houdini_otl/install.py --python /opt/train/bin/python
    python houdini_otl/install.py --uninstall

Nothing is copied: the package points into this clone, so updating the clone updates the plugin. Running it
again keeps the training Python that was named before. Needs any Python from 3.10 on, and no Houdini.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PLUGIN = Path(__file__).resolve().parent
PACKAGE = "texture_recovery.json"
PYTHON_VARIABLE = "SEPARATE_SPECIALIZE_PYTHON"
OLDEST, NEWEST = (20, 5), (22, 999)
ENABLE = "houdini_version >= '20.5' and houdini_version < '23.0'"


class InstallError(Exception):
    """Something the user has to mend; told in one line."""


def package(plugin: Path, python: Path | None) -> dict[str, object]:
    """The package file's content; forward slashes serve on every system."""
    variables = [{"TEXTURE_RECOVERY": plugin.as_posix()}]
    if python is not None:
        variables.append({PYTHON_VARIABLE: python.as_posix()})
    return {"load_package_once": True, "enable": ENABLE, "env": variables, "hpath": "$TEXTURE_RECOVERY"}


def preference_folders(
    home: Path, environment: Mapping[str, str], system: str = sys.platform
) -> dict[tuple[int, int], Path]:
    """Existing preference folders by Houdini version, of the versions that the plugin supports.

    Houdini keeps them in ~/houdiniX.Y on Linux, ~/Library/Preferences/houdini/X.Y on macOS and
    Documents/houdiniX.Y on Windows, unless HOUDINI_USER_PREF_DIR says otherwise (`__HVER__` is X.Y).
    """
    if system == "darwin":
        patterns = [home / "Library" / "Preferences" / "houdini" / "__HVER__"]
    elif system == "win32":
        patterns = [
            home / "Documents" / "houdini__HVER__",
            home / "OneDrive" / "Documents" / "houdini__HVER__",
        ]
    else:
        patterns = [home / "houdini__HVER__"]
    if chosen := environment.get("HOUDINI_USER_PREF_DIR"):
        patterns = [Path(chosen).expanduser()]
    found: dict[tuple[int, int], Path] = {}
    for pattern in patterns:
        for version, folder in _versions(pattern):
            if OLDEST <= version <= NEWEST:
                found.setdefault(version, folder)
    return dict(sorted(found.items()))


def _versions(pattern: Path) -> Iterator[tuple[tuple[int, int], Path]]:
    """Folders that `pattern` describes, with the version that stands in place of `__HVER__`."""
    name = re.escape(pattern.name).replace("__HVER__", r"(\d+)\.(\d+)")
    if "__HVER__" not in pattern.name:  # one folder for one version, which its name should tell
        name = r".*?(\d+)\.(\d+)"
    folders = [pattern] if "__HVER__" not in pattern.name else sorted(_folders_in(pattern.parent))
    for folder in folders:
        match = re.fullmatch(name, folder.name)
        if match and folder.is_dir():
            yield (int(match[1]), int(match[2])), folder


def _folders_in(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())


def install(preferences: Path, content: Mapping[str, object]) -> bool:
    """Writes the package file; returns whether anything changed."""
    path = preferences / "packages" / PACKAGE
    text = json.dumps(content, indent=4) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{PACKAGE}.{os.getpid()}.partial")  # not .json: Houdini would read it
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")  # no BOM: Houdini skips files with one
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return True


def installed_python(preferences: Path) -> Path | None:
    """The training Python that an earlier installation named, if it still exists."""
    try:
        content = json.loads((preferences / "packages" / PACKAGE).read_text(encoding="utf-8"))
        named = [Path(entry[PYTHON_VARIABLE]) for entry in content["env"] if PYTHON_VARIABLE in entry]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or none of ours: it is written anew
    return named[-1] if named and named[-1].is_file() else None


def uninstall(preferences: Path) -> bool:
    """Removes the package file; returns whether there was one."""
    path = preferences / "packages" / PACKAGE
    if not path.is_file():
        return False
    path.unlink()
    return True


def checked_python(python: str) -> Path:
    """The interpreter `python` as an absolute path; a virtual environment's link is not followed.

    Raises:
        InstallError: it is not there.
    """
    path = Path(os.path.abspath(Path(python).expanduser()))  # noqa: PTH100 - resolve() would leave the environment
    if not path.is_file():
        raise InstallError(f"--python {python}: no such file; expected the training environment's python")
    return path


def own_python_exists(root: Path) -> bool:
    return any((root / ".venv" / name).is_file() for name in ("bin/python", "Scripts/python.exe"))


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")


def run(options: argparse.Namespace, home: Path, environment: Mapping[str, str]) -> None:
    folders: Sequence[Path] = options.prefs or list(preference_folders(home, environment).values())
    if not folders:
        raise InstallError(
            "no preferences of Houdini 20.5 to 22 were found; start Houdini once, or name them by --prefs"
        )
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise InstallError(f"--prefs {missing[0]}: no such folder; expected one such as ~/houdini21.0")
    asked = checked_python(options.python) if options.python else None
    pythons = []
    for folder in folders:
        path = folder / "packages" / PACKAGE
        if options.uninstall:
            tell(f"{path}: {'removed' if uninstall(folder) else 'was not there'}")
            continue
        python = asked or installed_python(folder)
        told = "written" if install(folder, package(PLUGIN, python)) else "is up to date"
        tell(f"{path}: {told}" + (f" (trains with {python})" if python else ""))
        pythons.append(python)
    if options.uninstall:
        return
    tell("Restart Houdini; add the shelf by the + beside the shelf tabs: Shelves > Texture Recovery.")
    if None in pythons and not own_python_exists(PLUGIN.parent):
        tell(f"Still needed, to train: python3 {PLUGIN.parent / 'scripts' / 'bootstrap.py'} render")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="install.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python",
        metavar="PATH",
        help="interpreter that trains (default: the one named before, or else the clone's .venv)",
    )
    parser.add_argument(
        "--prefs",
        metavar="DIR",
        type=Path,
        action="append",
        help="preference folder, such as ~/houdini21.0; may be repeated (default: all that are found)",
    )
    parser.add_argument("--uninstall", action="store_true", help="remove the package file again")
    options = parser.parse_args(arguments)
    try:
        run(options, Path.home(), os.environ)
    except InstallError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: {error.filename}: {error.strerror}; expected a writable folder\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
