"""The training Python: where it is looked for, and that it is checked; settings that persist."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from texture_recovery import ROOT
from texture_recovery.pipeline_commands import Training
from texture_recovery.settings import FILE_NAME, Settings, load_settings, save_settings
from texture_recovery.training_python import (
    check_training,
    find_training,
    graphics_card,
    own_python,
    resolved_settings,
)

from recon.config import load_config
from tests.houdini_otl.impostors import install_training_python
from usd_tools.errors import UserError
from usd_tools.usd_to_llff import PYTHON_VARIABLE


def file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_variable_then_settings_then_the_clones_own(tmp_path: Path) -> None:
    root, preferences = tmp_path / "clone", tmp_path / "prefs"
    named, set_, own = (str(file(path)) for path in (tmp_path / "a", tmp_path / "b", own_python(root)))

    def found(settings: Settings, environment: dict[str, str]) -> str:
        training = find_training(settings, preferences, environment, root)
        assert training.root == str(root)
        return training.python

    assert found(Settings(set_), {PYTHON_VARIABLE: named}) == named
    assert found(Settings(set_), {}) == set_
    assert found(Settings(set_), {PYTHON_VARIABLE: ""}) == set_
    assert found(Settings(), {}) == own


def test_none_names_every_place(tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        find_training(Settings(), tmp_path / "prefs", {}, tmp_path)
    for words in (
        "scripts/bootstrap.py",
        str(tmp_path),
        PYTHON_VARIABLE,
        str(tmp_path / "prefs" / FILE_NAME),
    ):
        assert words in str(told.value)
    with pytest.raises(UserError, match=f"/gone.*{FILE_NAME} names it"):
        find_training(Settings("/gone"), tmp_path / "prefs", {}, tmp_path)


def test_own_python_by_system() -> None:
    assert own_python(Path("c"), "posix") == Path("c/.venv/bin/python")
    assert own_python(Path("c"), "nt") == Path("c/.venv/Scripts/python.exe")


def test_this_python_can_train_whatever_houdini_has_set(tmp_path: Path) -> None:
    foreign = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}
    (tmp_path / "torch.py").write_text("raise ImportError('of Houdini')")
    check_training(Training(sys.executable, str(tmp_path)), {**os.environ, **foreign})


@pytest.mark.skipif(os.name == "nt", reason="the impostors are scripts with a shebang")
def test_python_that_cannot_train(tmp_path: Path) -> None:
    script = tmp_path / "python"
    for body, message in [
        ("print('torch OpenEXR')", "lacks torch, OpenEXR"),
        ("import sys; sys.exit('no such version')", r"does not work \(no such version\)"),
        ("import sys; sys.exit(4)", r"does not work \(it says nothing\)"),
    ]:
        script.write_text(f"#!{sys.executable}\n{body}\n")
        script.chmod(0o755)
        with pytest.raises(UserError, match=message):
            check_training(Training(str(script), str(tmp_path)), os.environ)
    script.chmod(0o644)
    with pytest.raises(UserError, match="does not start"):
        check_training(Training(str(script), str(tmp_path)), os.environ)
    python, _ = install_training_python(tmp_path / "training")
    check_training(Training(str(python), str(tmp_path)), os.environ)


@pytest.mark.skipif(os.name == "nt", reason="the impostors are scripts with a shebang")
def test_graphics_card_is_what_torch_tells(tmp_path: Path) -> None:
    import torch

    own = graphics_card(Training(sys.executable, str(tmp_path)), os.environ)
    assert own == (torch.cuda.get_device_name(0) if torch.cuda.is_available() else "")
    python, _ = install_training_python(tmp_path / "training", gpu="NVIDIA H200")
    assert graphics_card(Training(str(python), str(tmp_path)), os.environ) == "NVIDIA H200"
    python.write_text(f"#!{sys.executable}\nprint('half a driver')\nraise SystemExit(1)\n")
    assert graphics_card(Training(str(python), str(tmp_path)), os.environ) == ""
    assert graphics_card(Training(str(tmp_path / "none"), str(tmp_path)), os.environ) == ""


def test_settings_are_read_by_the_training_itself() -> None:
    training = Training(sys.executable, str(ROOT))
    small = training.config("cpu.yaml")
    values = resolved_settings(training, small, ["seed=3"], os.environ)
    assert values == {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in load_config(Path(small), ["seed=3"]).flat().items()
    }
    assert resolved_settings(training, None, [], os.environ) != values
    with pytest.raises(UserError, match=r"^settings: unknown key 'sed' \(did you mean 'seed'\?\)$"):
        resolved_settings(training, small, ["sed=3"], os.environ)
    with pytest.raises(UserError, match="no such config file"):
        resolved_settings(training, training.config("gpu.yaml"), [], os.environ)
    with pytest.raises(UserError, match="does not start"):
        resolved_settings(Training("/none/python", str(ROOT)), None, [], os.environ)


def test_settings_survive(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "new") == Settings()
    written = Settings("/opt/train/bin/python", "/jobs/teapot")
    save_settings(written, tmp_path / "new")
    assert load_settings(tmp_path / "new") == written
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("text", ["", "{", '{"python": "x"}', '{"folder": 3}'])
def test_settings_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(UserError, match="mend or delete it"):
        load_settings(tmp_path)
