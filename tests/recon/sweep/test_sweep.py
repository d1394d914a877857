"""The command on a tiny dataset: runs, failures, what is skipped, and collecting."""

from __future__ import annotations

import csv
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from recon.sweep.__main__ import main
from recon.sweep.execution import Execution, Processes, RunError
from recon.sweep.plan import SweepRun, load_sweep
from recon.sweep.results import Result, result_file, write_result
from tests.usd_tools.stages import write_scene
from usd_tools import usd_to_llff
from usd_tools.errors import UserError
from usd_tools.threads import available_cores

TINY = """
name: tiny
scenes: {ball: , cow: }
overrides:
  geometry.mesh: "{dataset}/ground_truth/mesh.obj"
  train.fine_iterations: 2
  train.batch: 1
  textures.resolution: 32
  light.resolution: 16
variants:
  good: {}
  broken: {light.probe: gone.exr}
"""


@pytest.fixture
def dataset(tmp_path) -> Path:
    scene = write_scene(tmp_path / "scene", frames=4, size=(24, 24))
    usd_to_llff.main(scene.arguments(tmp_path / "dataset", "--test-every", "4"))
    return tmp_path / "dataset"


@pytest.fixture
def sweep_file(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_sweep_from_runs_to_tables(tmp_path, dataset, sweep_file, capsys, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    out = tmp_path / "out"
    command = [
        str(sweep_file),
        "--data",
        f"ball={dataset}",
        "--out",
        str(out),
        "--device",
        "cpu",
        "--jobs",
        "2",
    ]
    assert main(command) == 1, "one of the runs failed"

    assert [path.name for path in (out / "results").rglob("*.json")] == ["seed_0.json"]
    result = json.loads((out / "results/ball/good/seed_0.json").read_text(encoding="utf-8"))
    report = json.loads((out / "runs/ball/good/seed_0/report/metrics.json").read_text(encoding="utf-8"))
    assert result["metrics"] == report
    assert result["views"]["psnr"] > 0
    assert result["overrides"]["geometry.mesh"] == "{dataset}/ground_truth/mesh.obj"
    assert str(tmp_path) not in json.dumps(result), "results tell nothing of this machine's folders"
    assert result["about"]["settings"]["train.batch"] == "1"
    assert result["about"]["versions"]["torch"]
    assert result["seconds"]["total"] >= result["seconds"]["fine"] > 0
    threads = max(1, available_cores() // 2)
    assert result["about"]["device"] == f"cpu, {threads} threads"

    assert [row["variant"] for row in table(out)] == ["good", "flat guess"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<b>ball/broken/seed_0</b>" in page
    assert "runs/ball/good/seed_0/report/pictures/roughness_front_recovered_error.png" in page
    printed = capsys.readouterr()
    assert "| good | 1 |" in printed.out
    assert "ball/broken/seed_0: recon.train ended with exit code 2" in printed.err
    assert "left out: cow" in printed.err

    # Done runs are not run again, and the table can be made on another machine from the results alone.
    monkeypatch.setattr(Execution, "_perform", None)
    assert main([*command, "--only", "good"]) == 0
    assert (
        main(
            [
                str(sweep_file),
                "--collect-only",
                "--results",
                str(out / "results"),
                "--out",
                str(tmp_path / "b"),
            ]
        )
        == 0
    )
    assert table(tmp_path / "b") == table(out)
    with pytest.raises(UserError, match=r"other settings \(train\.batch: 1 -> 2\).*--results"):
        main([*command, "--set", "train.batch=2", "--only", "good"])


def test_relighting_can_be_made_up_for(tmp_path, sweep_file):
    sweep = replace(load_sweep(sweep_file), relight=True)
    run = sweep.runs[0]
    execution = Execution(sweep, {"ball": tmp_path}, tmp_path / "runs", tmp_path / "results", 1)
    assert not execution.is_done(run)
    figures = Result(run.scene, run.variant, 0, run.overrides, {}, {}, None, None, {}, {})
    write_result(result_file(execution.results, run), sweep, figures)
    assert execution.is_done(run), "the run is on another machine"
    mesh = execution.paths(run).training / "mesh"
    mesh.mkdir(parents=True)
    (mesh / "mesh.obj").touch()
    assert not execution.is_done(run)
    assert replace(execution, sweep=replace(sweep, relight=False)).is_done(run)
    write_result(
        result_file(execution.results, run), sweep, replace(figures, relighting={"mean": {"psnr": 20.0}})
    )
    assert execution.is_done(run)


def test_bad_command_lines_are_told(tmp_path, sweep_file):
    with pytest.raises(UserError, match=r"no scene has a dataset; give one with --data ball=DATASET"):
        main([str(sweep_file)])
    with pytest.raises(UserError, match=r"--data dog=x: no such scene; the sweep has ball, cow"):
        main([str(sweep_file), "--data", "dog=x"])
    with pytest.raises(UserError, match=r"--data ball: expected SCENE=DATASET"):
        main([str(sweep_file), "--data", "ball"])
    with pytest.raises(UserError, match=r"gone: no such dataset folder"):
        main([str(sweep_file), "--data", f"ball={tmp_path / 'gone'}"])
    with pytest.raises(UserError, match=r"--only golden: no run .* runs are ball/good/seed_0"):
        main([str(sweep_file), "--data", f"ball={tmp_path}", "--only", "golden"])


def test_collecting_nothing_is_told(tmp_path, sweep_file, capsys):
    assert main([str(sweep_file), "--collect-only", "--out", str(tmp_path / "out")]) == 0
    assert "holds no results yet" in capsys.readouterr().err
    (tmp_path / "out/results/ball").mkdir(parents=True)
    (tmp_path / "out/results/ball/seed_0.json").write_text("[]")
    with pytest.raises(UserError, match=r"seed_0\.json: expected a result of recon\.sweep"):
        main([str(sweep_file), "--collect-only", "--out", str(tmp_path / "out")])


def test_an_interrupt_ends_what_runs(tmp_path):
    processes = Processes()
    sleeper = ["timeit", "-n", "1", "-r", "1", "import time; print('asleep', flush=True); time.sleep(60)"]
    log = tmp_path / "log.txt"
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        running = pool.submit(processes.run, sleeper, log, os.environ)
        while "\nasleep" not in (log.read_text() if log.exists() else ""):
            assert time.monotonic() - started < 30
            time.sleep(0.02)
        processes.end()
        with pytest.raises(RunError, match="timeit ended with exit code"):
            running.result(timeout=30)
    with pytest.raises(RunError, match="interrupted"):
        processes.run(sleeper, log, os.environ)
    assert log.read_text().count("\nasleep") == 1, "nothing starts after an interrupt"


def test_run_names_are_paths():
    assert SweepRun("the cow", "a, b=1", 3, {}).name == "the-cow/a-b=1/seed_3"
