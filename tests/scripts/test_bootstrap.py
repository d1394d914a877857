"""Making the environment: what is installed when, without touching a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bootstrap
import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\ndependencies = ["numpy", "torch>=2.7,<2.14"]\n'
    )
    return tmp_path


@pytest.fixture
def calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of every call of pip; the environment itself is an empty file for its Python."""
    made: list[list[str]] = []

    def make(venv: Path) -> None:
        python = bootstrap.venv_python(venv)
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    monkeypatch.setattr(bootstrap, "make_venv", make)
    monkeypatch.setattr(bootstrap, "pip", lambda python, arguments: made.append(list(arguments)) or "")
    monkeypatch.setattr(bootstrap, "has_module", lambda python, name: False)
    monkeypatch.setattr(bootstrap, "prefers_cpu_torch", lambda: False)
    return made


def install(root: Path, *extras: str) -> Path:
    return bootstrap.install(list(extras), root=root, venv=root / ".venv")


def test_old_python_is_refused_with_what_to_do() -> None:
    with pytest.raises(bootstrap.SetupError, match=r"Python 3\.10; expected 3\.11 or newer"):
        bootstrap.require_python((3, 10))
    bootstrap.require_python((3, 11))
    bootstrap.require_python((4, 0))


def test_script_can_be_read_by_a_python_that_is_too_old() -> None:
    """Python 3.8's grammar: the version check has to run there before anything fails."""
    import ast

    for name in ("bootstrap.py", "demo.py", "test.py"):
        source = (bootstrap.ROOT / "scripts" / name).read_text(encoding="utf-8")
        tree = ast.parse(source, feature_version=(3, 8))
        imports = {
            alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
        } | {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert imports <= {
            "__future__", "argparse", "bootstrap", "collections.abc", "dataclasses", "hashlib", "json", "os",
            "pathlib", "shutil", "subprocess", "sys", "time", "typing",
        }  # fmt: skip


def test_interpreter_lies_where_each_system_has_it() -> None:
    assert bootstrap.venv_python(Path("v"), "nt") == Path("v/Scripts/python.exe")
    assert bootstrap.venv_python(Path("v"), "posix") == Path("v/bin/python")


def test_install_happens_once(root: Path, calls: list[list[str]]) -> None:
    python = install(root, "render")
    assert calls == [["install", "--editable", f"{root}[render]"]]
    assert install(root, "render") == python
    assert install(root) == python  # less than what is there
    assert len(calls) == 1


def test_changed_project_or_further_extras_are_installed(root: Path, calls: list[list[str]]) -> None:
    install(root, "render")
    install(root, "dev")
    assert calls[-1][-1] == f"{root}[dev,render]"  # what was there stays
    (root / "pyproject.toml").write_text((root / "pyproject.toml").read_text() + "# changed\n")
    install(root, "dev")
    assert len(calls) == 3
    install(root, "dev", "render")
    assert len(calls) == 3


def test_moved_clone_and_missing_interpreter_are_installed_again(root: Path, calls: list[list[str]]) -> None:
    install(root)
    stamp = root / ".venv" / bootstrap.STAMP
    moved = {**json.loads(stamp.read_text()), "root": "/elsewhere"}
    stamp.write_text(json.dumps(moved))
    install(root)
    assert len(calls) == 2
    bootstrap.venv_python(root / ".venv").unlink()
    install(root)
    assert len(calls) == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"[]", b"\xff\xfe", b'{"extras": null}', b'{"extras": 3}', b'{"extras": [[]]}'],
)
def test_broken_stamp_counts_as_none(root: Path, calls: list[list[str]], content: bytes) -> None:
    install(root)
    (root / ".venv" / bootstrap.STAMP).write_bytes(content)
    install(root, "dev")
    assert calls[1:] == [["install", "--editable", f"{root}[dev]"]]
    assert install(root, "dev") and len(calls) == 2


def test_required_python_is_the_project_s() -> None:
    import tomllib

    project = tomllib.loads((bootstrap.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=" + ".".join(map(str, bootstrap.MINIMUM_PYTHON))
    assert bootstrap.torch_requirement(bootstrap.ROOT) in project["dependencies"]


def test_description_covers_its_own_extras_and_fewer(root: Path) -> None:
    installed = bootstrap.describe(root, ["render", "dev"])
    assert bootstrap.covers(installed, root, [])
    assert bootstrap.covers(installed, root, ["dev", "render"])
    assert not bootstrap.covers(installed, root, ["dev", "cuda"])
    assert not bootstrap.covers({}, root, [])
    for key in ("pyproject", "root"):
        assert not bootstrap.covers({**installed, key: "other"}, root, [])


def test_failed_install_is_told_and_tried_again(
    root: Path,
    calls: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(root)
    monkeypatch.setattr(bootstrap, "pip", lambda python, arguments: "no such package")
    with pytest.raises(bootstrap.SetupError, match="pip could not install"):
        install(root, "dev")
    assert "no such package" in capsys.readouterr().err
    with pytest.raises(bootstrap.SetupError):  # the interrupted install left no stamp
        install(root)


def test_cpu_torch_is_tried_first_and_briefly(
    root: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "prefers_cpu_torch", lambda: True)
    install(root)
    first, second = calls
    assert first[-1] == "torch>=2.7,<2.14"
    assert first[first.index("--index-url") + 1] == bootstrap.CPU_TORCH_INDEX
    assert first[first.index("--retries") + 1] == "0"
    assert int(first[first.index("--timeout") + 1]) <= 15
    assert "--index-url" not in second


def test_unreachable_cpu_index_falls_back(
    root: Path,
    calls: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pip(python: Path, arguments: list[str]) -> str:
        calls.append(arguments)
        return "unreachable" if "--index-url" in arguments else ""

    monkeypatch.setattr(bootstrap, "prefers_cpu_torch", lambda: True)
    monkeypatch.setattr(bootstrap, "pip", pip)
    install(root)
    assert len(calls) == 2
    assert "default build of torch" in capsys.readouterr().out


def test_present_torch_is_left_alone(
    root: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "prefers_cpu_torch", lambda: True)
    monkeypatch.setattr(bootstrap, "has_module", lambda python, name: name == "torch")
    install(root)
    assert len(calls) == 1


def test_cpu_torch_is_for_linux_without_nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    driver = tmp_path / "version"
    assert bootstrap.prefers_cpu_torch("linux", driver)
    assert not bootstrap.prefers_cpu_torch("darwin", driver)
    assert not bootstrap.prefers_cpu_torch("win32", driver)
    driver.touch()
    assert not bootstrap.prefers_cpu_torch("linux", driver)


def test_pip_is_quiet_and_its_failure_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.pip(Path(sys.executable), ["--version"]) == ""
    assert "no-such-command" in bootstrap.pip(Path(sys.executable), ["no-such-command"])
    assert capfd.readouterr() == ("", "")


def test_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    venv = tmp_path / ".venv"
    venv.mkdir()
    (venv / "thesis.txt").write_text("mine")
    with pytest.raises(bootstrap.SetupError, match="is not a virtual environment"):
        bootstrap.make_venv(venv)
    assert (venv / "thesis.txt").read_text() == "mine"


def test_file_in_place_of_the_environment_is_left_alone(tmp_path: Path) -> None:
    venv = tmp_path / ".venv"
    venv.write_text("mine")
    with pytest.raises(bootstrap.SetupError, match="is not a virtual environment; move it away"):
        bootstrap.make_venv(venv)
    assert venv.read_text() == "mine"


def test_interpreter_that_cannot_be_started_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another machine's kind, or cut short, makes the system refuse before Python starts."""
    venv = tmp_path / ".venv"
    python = bootstrap.venv_python(venv)
    python.parent.mkdir(parents=True)
    python.write_bytes(b"\x00 no program")
    python.chmod(0o755)
    (venv / "pyvenv.cfg").write_text("home = /nowhere")
    assert not bootstrap.runs(python)
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if command[0] == str(python):
            raise OSError(8, "Exec format error")
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(bootstrap.subprocess, "run", run)
    bootstrap.make_venv(venv)
    assert commands == [[sys.executable, "-m", "venv", "--clear", str(venv)]]


def test_environment_that_cannot_be_made_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ensurepip is not available\n")

    monkeypatch.setattr(bootstrap.subprocess, "run", run)
    with pytest.raises(bootstrap.SetupError, match=r"ensurepip is not available \(.*python3-venv\)"):
        bootstrap.make_venv(tmp_path / ".venv")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a shebang")
def test_pip_s_words_may_be_in_any_encoding(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf 'first\\ncaf\\351 is missing\\n'; exit 1\n")
    python.chmod(0o755)
    assert bootstrap.pip(python, ["install", "x"]).endswith(" is missing")


def test_working_environment_is_reused(tmp_path: Path) -> None:
    assert bootstrap.runs(Path(sys.executable))
    assert not bootstrap.runs(tmp_path / "python")


@pytest.mark.slow
def test_environment_is_made_and_restarted_in(tmp_path: Path) -> None:
    """A clone whose only script prints where it runs; its stamp says that all is installed."""
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    (clone / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    (clone / "scripts/bootstrap.py").write_text((bootstrap.ROOT / "scripts/bootstrap.py").read_text())
    (clone / "scripts/where.py").write_text(
        "import sys\nfrom bootstrap import run_in_venv\nrun_in_venv([])\nprint(sys.prefix, sys.argv[1:])\n"
    )
    venv = clone / ".venv"
    bootstrap.make_venv(venv)
    (venv / bootstrap.STAMP).write_text(json.dumps(bootstrap.describe(clone, [])))
    command = [sys.executable, str(clone / "scripts/where.py"), "one", "two"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"{venv} ['one', 'two']"
