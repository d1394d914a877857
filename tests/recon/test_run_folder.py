"""The run folder: who may write into it, its status, and what is recorded about a run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import datetime

import pytest
import torch

from recon import run_folder as run_folder_module
from recon.config import Config, load_config
from recon.run_folder import RunFolder
from recon.run_log import logging_to
from recon.run_record import RunRecord, package_versions
from usd_tools.errors import UserError


def status(run: RunFolder) -> dict:
    return json.loads(run.status.read_text())


def test_a_new_folder(tmp_path):
    run = RunFolder.open(tmp_path / "a" / "run", resume=False)
    written = status(run)
    assert written["stage"] == "starting" and written["error"] is None and written["pid"] == os.getpid()
    assert datetime.fromisoformat(written["time"]).tzinfo is not None
    assert run.saved_config() is None
    config = load_config(None, ["train.batch=3"])
    run.save_config(config)
    assert RunFolder.open(run.path, resume=True).saved_config() == config != Config()


def test_foreign_and_earlier_folders(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    RunFolder.open(foreign, resume=False)  # empty: fine
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"")
    for resume in (False, True):
        with pytest.raises(UserError, match="photos"):
            RunFolder.open(tmp_path / "photos", resume=resume)
        with pytest.raises(UserError, match=r"holiday\.jpg"):
            RunFolder.open(tmp_path / "photos" / "holiday.jpg", resume=resume)
        with pytest.raises(UserError, match=r"holiday\.jpg"):
            RunFolder.open(tmp_path / "photos" / "holiday.jpg" / "run", resume=resume)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.jpg"]


def test_an_earlier_run_needs_resume_once_it_has_results(tmp_path):
    run = RunFolder.open(tmp_path / "run", resume=False)
    run.tensorboard.mkdir()
    (run.tensorboard / "events").write_text("old")
    run.record.write_text("{}")
    run.checkpoints.mkdir()
    RunFolder.open(run.path, resume=False)  # it ended before its first checkpoint
    assert not run.tensorboard.exists() and not run.record.exists()
    (run.checkpoints / "checkpoint_00001_coarse_000001.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="add --resume"):
        RunFolder.open(run.path, resume=False)
    RunFolder.open(run.path, resume=True)
    assert (run.checkpoints / "checkpoint_00001_coarse_000001.safetensors").exists()


def test_status_is_written_at_most_once_a_second_within_a_stage(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(run_folder_module.time, "monotonic", lambda: now[0])
    run = RunFolder.open(tmp_path / "run", resume=False)
    run.report("coarse", 0, 10)
    run.report("coarse", 1, 10)
    assert status(run)["iteration"] == 0
    now[0] += 1.5
    run.report("coarse", 2, 10)
    assert (status(run)["stage"], status(run)["iteration"], status(run)["total"]) == ("coarse", 2, 10)
    run.report("coarse", 10, 10)
    assert status(run)["iteration"] == 10
    run.report("fine", 0, 20)
    assert status(run)["stage"] == "fine"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("probe.exr: is empty"), "probe.exr: is empty"),
        (RuntimeError("no\nmemory"), "RuntimeError: no memory"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_errors_reach_the_status_and_pass_on(tmp_path, error, told):
    run = RunFolder.open(tmp_path / "run", resume=False)
    with pytest.raises(type(error)), run.reporting_errors():
        run.report("fine", 3, 9)
        raise error
    assert status(run)["error"] == told
    assert (status(run)["stage"], status(run)["iteration"]) == ("fine", 3)


def test_a_refused_resume_leaves_a_finished_run_finished(tmp_path):
    run = RunFolder.open(tmp_path / "run", resume=False)
    run.report("fine", 3, 9)
    assert not run.is_finished()
    run.report(run_folder_module.DONE, 1, 1)
    before = run.status.read_bytes()
    again = RunFolder.open(run.path, resume=True)
    assert again.is_finished()
    with pytest.raises(UserError), again.reporting_errors():
        raise UserError("train.batch: 2 -> 3")
    assert run.status.read_bytes() == before
    again.report("fine", 9, 9)
    assert not again.is_finished()


def test_a_new_run_in_place_of_an_emptied_one_is_not_finished(tmp_path):
    RunFolder.open(tmp_path / "run", resume=False).report(run_folder_module.DONE, 1, 1)
    run = RunFolder.open(tmp_path / "run", resume=False)
    assert status(run)["stage"] == "starting"


def test_dataset_info_is_copied_where_there_is_one(tmp_path):
    run = RunFolder.open(tmp_path / "run", resume=False)
    run.copy_dataset_info(tmp_path)
    assert not (run.path / "dataset.json").exists()
    (tmp_path / "dataset.json").write_text('{"schema_version": 1}')
    run.copy_dataset_info(tmp_path)
    assert json.loads((run.path / "dataset.json").read_text()) == {"schema_version": 1}


def test_record_adds_up_over_a_resume(tmp_path):
    path, cpu = tmp_path / "run.json", torch.device("cpu")
    record = RunRecord(path, cpu, "warp")
    with pytest.raises(KeyboardInterrupt), record.stage("coarse", 100):
        raise KeyboardInterrupt
    first = json.loads(path.read_text())
    assert (
        first["stages"]["coarse"]["seconds"] >= 0 and "seconds_per_iteration" not in first["stages"]["coarse"]
    )
    assert first["device"].startswith("cpu") and first["backend"] == "warp"
    resumed = RunRecord(path, cpu, "warp")
    with resumed.stage("coarse", 4):
        pass
    second = json.loads(path.read_text())
    coarse = second["stages"]["coarse"]
    assert coarse["seconds"] > first["stages"]["coarse"]["seconds"]
    assert coarse["timed_iterations"] == 4
    assert coarse["seconds_per_iteration"] == pytest.approx(coarse["timed_seconds"] / 4)
    assert second["peak_memory_bytes"]["main"] >= first["peak_memory_bytes"]["main"] > 10_000_000
    path.write_text('{"stages": 3')
    RunRecord(path, cpu, "warp").write()
    assert json.loads(path.read_text())["stages"] == {}


def test_peak_memory_counts_what_was_freed_again():
    # In a process of its own: here, an earlier test may have set a peak that hides this one.
    code = (
        "import torch; from recon.run_record import peak_memory as peak; cpu = torch.device('cpu');"
        "before = peak(cpu)['main']; torch.ones(before // 4 + 16_000_000); print(peak(cpu)['main'] - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(grown) > 60_000_000


def test_versions():
    versions = package_versions()
    assert versions["torch"] == torch.__version__
    assert versions["python"].startswith("3.") and all(versions.values())


def test_log_goes_to_file_and_console(tmp_path, capsys):
    path = tmp_path / "train.log"
    for _ in range(2):
        with logging_to(path):
            logging.getLogger("recon.data").info("reading")
            logging.getLogger("usd_tools.images").warning("dim")
            logging.getLogger("somebody.else").info("noise")
    logging.getLogger("recon.data").info("afterwards")
    console = capsys.readouterr().err
    assert console.count("reading\n") == 2 and console.count("warning: dim\n") == 2
    lines = path.read_text().splitlines()
    assert len(lines) == 4 and lines[0].endswith("INFO recon.data: reading")
    assert lines[1].endswith("WARNING usd_tools.images: dim")
