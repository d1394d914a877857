"""What is logged can be read back, and the device is asked only at a flush."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recon.progress import TrainingBar
from recon.tensorboard_log import TensorBoardLog


def read_back(folder: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


def scalars(events, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_scalars_images_and_text_come_back(tmp_path):
    with TensorBoardLog(tmp_path, flush_every=2) as log:
        assert not log.scalars({"loss/a": torch.tensor(0.5), "rate/a": 0.03}, 0)
        assert log.latest == {}
        assert log.scalars({"loss/a": torch.tensor([0.25], dtype=torch.float64)}, 1)
        assert log.latest == {"loss/a": 0.25, "rate/a": 0.03}
        log.scalars({"loss/a": torch.tensor(0.125, requires_grad=True)}, 2)
        log.image("render", torch.full((4, 6, 3), 0.5), 2)
        log.data_image("roughness", torch.full((4, 6, 1), 0.5), 2)
        log.text("config", "seed: 0\ntrain:\n  batch: 8")
    events = read_back(tmp_path)
    assert scalars(events, "loss/a") == [(0, 0.5), (1, 0.25), (2, 0.125)]
    assert scalars(events, "rate/a") == [(0, pytest.approx(0.03))]
    assert set(events.Tags()["images"]) == {"render", "roughness"}
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "    train:\n      batch: 8" in text
    import io

    import numpy as np
    from PIL import Image

    for name, level in (("render", 188), ("roughness", 127)):
        picture = np.asarray(Image.open(io.BytesIO(events.Images(name)[0].encoded_image_string)))
        assert picture.shape[:2] == (4, 6) and abs(int(picture.flat[0]) - level) <= 1


def test_the_scalars_of_a_step_are_one_record(tmp_path):
    with TensorBoardLog(tmp_path, flush_every=2) as log:
        for step in range(4):
            log.scalars({"loss/a": torch.tensor(0.5), "loss/b": 0.25, "rate/a": 0.1}, step)
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    (file,) = tmp_path.iterdir()
    records = [event.summary.value for event in loader.EventFileLoader(str(file)).Load()]
    assert [len(values) for values in records if len(values) > 0] == [3] * 4


def test_a_picture_that_cannot_be_logged_is_told_of(tmp_path):
    log = TensorBoardLog(tmp_path)
    log.data_image("roughness", torch.zeros(2, 4, 6, 1), 0)  # not one picture
    with pytest.raises(AssertionError, match="shape"):
        log.close()


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(tmp_path):
    with TensorBoardLog(tmp_path) as log:
        for step in range(4):
            log.scalars({"loss": float(step)}, step)
    (earlier,) = tmp_path.iterdir()
    # Names begin with the second, and within one are in the order of a counter's digits: 10 before 9.
    earlier.rename(tmp_path / "events.out.tfevents.0")
    with TensorBoardLog(tmp_path, first_step=2) as log:
        log.scalars({"loss": 20.0}, 2)
    assert scalars(read_back(tmp_path), "loss") == [(0, 0.0), (1, 1.0), (2, 20.0)]


def test_importing_does_not_import_tensorboard():
    code = "import sys, recon.tensorboard_log; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bar_is_silent_without_a_terminal(capsys):
    with TrainingBar("coarse", 3, start=1) as bar:
        for _ in range(2):
            bar.step()
            bar.show(loss=0.123456)
    assert capsys.readouterr().err == ""
