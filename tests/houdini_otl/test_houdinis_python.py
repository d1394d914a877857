"""The plugin in a Python like Houdini's: nothing but pxr and numpy, and the syntax of Python 3.10."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pxr
import pytest

from tests.usd_tools.test_import_materials import make_run
from usd_tools.compare_textures import compare

ROOT = Path(__file__).resolve().parents[2]
OLDEST_PYTHON = (3, 10)
SOURCES = sorted([*(ROOT / "houdini_otl").rglob("*.py"), *(ROOT / "usd_tools").rglob("*.py")])


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that has pxr and numpy only; they are linked, not installed."""
    if os.name == "nt":
        pytest.skip("links need privileges there")
    folder = tmp_path_factory.mktemp("hython")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for module in (numpy, pxr):
        assert module.__file__ is not None
        installed = Path(module.__file__).parent
        # The wheels' own shared libraries lie beside them.
        for source in (
            installed,
            *installed.parent.glob("numpy.libs"),
            *installed.parent.glob("usd_core.libs"),
        ):
            if not (packages / source.name).exists():
                (packages / source.name).symlink_to(source)
    return folder / "bin" / "python"


def test_modules_import_and_cook_functions_run(python: Path, tmp_path: Path) -> None:
    scene, run = make_run(tmp_path)
    compare(run, tmp_path / "dataset", tmp_path / "report", samples=500)
    script = Path(__file__).with_name("in_houdinis_python.py")
    paths = [str(path) for path in (scene.stage, run, tmp_path / "report", tmp_path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        [str(python), str(script), *paths], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    modules, *steps = result.stdout.splitlines()
    plugin = ROOT / "houdini_otl" / "scripts" / "python" / "texture_recovery"
    assert modules == f"{len(list(plugin.glob('[!_]*.py')))} modules"
    assert len(steps) == 6, steps


def test_environment_is_bare(python: Path) -> None:
    """Else the test above would prove nothing."""
    names = ("numpy", "pxr", "torch", "imageio")
    code = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    result = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "['numpy', 'pxr']"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_syntax_of_the_oldest_python(source: Path) -> None:
    ast.parse(source.read_text(encoding="utf-8"), source.name, feature_version=OLDEST_PYTHON)


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_oldest_and_newest_python_compile_everything(version: str, tmp_path: Path) -> None:
    interpreter = shutil.which(f"python{version}")
    probe = [interpreter or "", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    if interpreter is None or subprocess.run(probe, capture_output=True, text=True).stdout.strip() != version:
        pytest.skip(f"no Python {version} on this machine")
    code = "import sys; [compile(open(p, encoding='utf-8').read(), p, 'exec') for p in sys.argv[1:]]"
    command = [interpreter, "-W", "error", "-c", code, *map(str, SOURCES)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
