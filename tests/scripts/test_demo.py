"""The demo's own part: which commands it runs in which order, what it removes, what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import bootstrap
import demo
import pytest

METRICS = {"albedo_mae": 0.0321, "dark_misclassified": None, "constant": {"albedo_mae": 0.2468}}


class RecordedSteps(demo.Steps):
    """Keeps the commands instead of running them, and leaves what the summary reads."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[tuple[str, list[str]]] = []

    def run(self, name: str, *arguments: object) -> None:
        command = [str(argument) for argument in arguments]
        self.commands.append((name, command))
        self.seconds[name] = 1.0
        out = Path(command[command.index("--out") + 1])
        if name.startswith("train"):
            out.mkdir()
            (out / "run.json").write_text(json.dumps({"stages": {"compile": {"seconds": 12.4}}}))
        if name == "compare":
            out.mkdir()
            (out / "metrics.json").write_text(json.dumps(METRICS))
            if "--also" in command:
                (out / "metrics_joint.json").write_text(json.dumps({**METRICS, "albedo_mae": 0.0987}))


def run_recorded(out: Path, size: demo.Size = demo.FULL, with_joint: bool = False) -> RecordedSteps:
    steps = RecordedSteps()
    demo.run_loop(steps, demo.prepare(out), size, "some.yaml", with_joint)
    return steps


def test_loop_runs_the_commands_of_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    commands = dict(run_recorded(out).commands)
    assert list(commands) == ["scene", "render", "convert", "train", "import", "compare"]
    stage, dataset, run = str(out / "scene/scene.usda"), str(out / "dataset"), str(out / "run")
    assert commands["render"][:4] == ["usd_tools/render_turntable.py", stage, "--out", str(out / "renders")]
    assert commands["convert"][:4] == ["usd_tools/usd_to_llff.py", stage, "--images", str(out / "renders")]
    assert commands["train"][:2] == ["-m", "recon.train"]
    assert commands["train"][2:] == ["--config", "some.yaml", "--data", dataset, "--out", run]
    assert commands["import"][-4:] == ["--stage", stage, "--object", "/World/Gourd"]
    assert commands["compare"] == [
        "usd_tools/compare_textures.py",
        run,
        dataset,
        "--out",
        str(out / "report"),
    ]
    for _, command in commands.items():
        assert command[0] == "-m" or (bootstrap.ROOT / command[0]).is_file()
    printed = capsys.readouterr().out
    assert "of which 12 s loading or compiling kernels" in printed
    assert "0.0321" in printed and "0.2468" in printed  # the run and the best constant material
    assert printed.splitlines()[-1] == str(out / "report/index.html")


def test_joint_is_trained_alike_and_shown_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    commands = dict(run_recorded(out, demo.QUICK, with_joint=True).commands)
    split, joint = commands["train"], commands["train joint"]
    assert joint[-1] == "material.model=joint"
    assert [word.replace("run_joint", "run") for word in joint[:-1]] == split
    assert commands["compare"][-4:] == ["--name", "split", "--also", f"joint={out / 'run_joint'}"]
    printed = capsys.readouterr().out
    assert "0.0321" in printed and "0.0987" in printed


def test_second_demo_replaces_the_first(tmp_path: Path) -> None:
    run_recorded(tmp_path / "out", with_joint=True)
    run_recorded(tmp_path / "out")
    assert not (tmp_path / "out/run_joint").exists()


def test_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(demo.StepError, match="not an earlier demo's"):
        demo.prepare(tmp_path)
    with pytest.raises(demo.StepError, match="is a file"):
        demo.prepare(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_failing_step_ends_the_loop(capfd: pytest.CaptureFixture[str]) -> None:
    steps = demo.Steps()
    steps.run("fine", "-c", "print('hello')")
    with pytest.raises(demo.StepError, match="'broken' failed with exit code 3"):
        steps.run("broken", "-c", "raise SystemExit(3)")
    assert steps.seconds["fine"] > 0
    assert "hello" in capfd.readouterr().out


def test_quick_settings_are_ones_the_trainer_knows() -> None:
    from recon.config import load_config

    assert load_config(None, list(demo.QUICK.settings)).train.coarse_iterations == 6
