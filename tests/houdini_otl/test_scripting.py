"""The shelf's steps for scripts: the same work without a question, and without a window."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import hou
import pytest
from pxr import Usd
from texture_recovery import background_job, scripting

from tests.houdini_otl.impostors import install_husk, install_training_python
from tests.usd_tools.stages import Scene, write_scene
from usd_tools.errors import UserError
from usd_tools.stage import open_stage

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the impostors are scripts with a shebang")


@pytest.fixture
def scene(houdini: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Its LOP is /stage/OUT."""
    scene = write_scene(tmp_path / "scene")
    hou.LopNetwork("/stage")
    hou.LopNode("/stage/OUT", stage_at=lambda frame: Usd.Stage.Open(open_stage(scene.stage).Flatten()))
    houdini.variables["HFS"] = str(tmp_path / "hfs")
    install_husk(tmp_path / "hfs", scene.images / "sphere.0001.exr")
    python, _ = install_training_python(tmp_path / "training", mode="finish")
    houdini.variables["SEPARATE_SPECIALIZE_PYTHON"] = str(python)
    monkeypatch.delattr(hou, "ui")  # hython has none
    return scene


def test_from_node_to_report(houdini: Any, scene: Scene, tmp_path: Path) -> None:
    place = scripting.export(
        "/stage/OUT",
        tmp_path / "job",
        object_path="/World/sphere",
        cameras="/World/camera",
        resolution=(32, 32),
        test_every=4,
        color_space="lin_rec709",
    )
    frames = json.loads((place.dataset / "dataset.json").read_text())["frames"]
    assert [frame["split"] for frame in frames] == ["test", "train", "train", "train"]
    run = scripting.train(tmp_path / "job", config="cpu.yaml", settings=["train.batch=2"])
    command = (tmp_path / "training" / "python.log").read_text().splitlines()[-1].split("\t")
    assert command[-2:] == ["--set", "train.batch=2"] and run == place.run
    layer = open_stage(scripting.import_recovered(tmp_path / "job"))
    assert layer.GetPrimAtPath("/World/sphere"), "the layer lies over the exported stage"
    assert scripting.compare(tmp_path / "job").is_file()


def test_unknown_light_is_learnt(houdini: Any, scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "job" / "dataset" / "ground_truth").mkdir(parents=True)
    (tmp_path / "job" / "dataset" / "dataset.json").write_text('{"light_probe": null}')
    for settings, expected in (
        (["seed=1"], ["seed=1", "light.mode=learnt"]),
        (["light.probe=/a/studio.exr"], ["light.probe=/a/studio.exr"]),
    ):
        run = scripting.train(tmp_path / "job", settings=settings)
        command = (tmp_path / "training" / "python.log").read_text().splitlines()[-1].split("\t")
        assert command[command.index("--set") + 1 :] == expected
        assert run.is_dir()


def test_what_does_not_fit_is_one_line(houdini: Any, scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/stage/IN: is no LOP node of .*untitled\.hip"):
        scripting.export("/stage/IN", tmp_path / "job", object_path="/World/sphere")
    with pytest.raises(UserError, match="/World/cube"):
        scripting.export("/stage/OUT", tmp_path / "job", object_path="/World/cube")
    install_training_python(tmp_path / "training", mode="refuse")
    with pytest.raises(UserError, match="let it finish"):
        scripting.train(tmp_path / "job")
    (tmp_path / "job" / "dataset").mkdir(parents=True)
    (tmp_path / "job" / "dataset" / "dataset.json").write_text('{"light_probe": "probe.exr"}')
    with pytest.raises(UserError, match=r"did you mean train\.batch"):
        scripting.train(tmp_path / "job")


def test_interrupted_script_stops_what_it_started(
    houdini: Any, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_training_python(tmp_path / "training", mode="work")
    (tmp_path / "job" / "dataset").mkdir(parents=True)
    (tmp_path / "job" / "dataset" / "dataset.json").write_text('{"light_probe": "probe.exr"}')
    status = tmp_path / "job" / "run" / "status.json"
    sleep = time.sleep

    def interrupted(seconds: float) -> None:
        if status.is_file() and "coarse" in status.read_text() and "Interrupt" not in status.read_text():
            monkeypatch.setattr(background_job.time, "sleep", sleep)
            raise KeyboardInterrupt
        sleep(0.05)

    monkeypatch.setattr(background_job.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scripting.train(tmp_path / "job")
    assert json.loads(status.read_text())["error"] == "KeyboardInterrupt"
