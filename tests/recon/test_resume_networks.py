"""A run is resumed with the networks it was begun with, or, where it has none any more, with any."""

from __future__ import annotations

import pytest

import recon.train as training
from recon.backend import Backend
from recon.render.warp_backend import WarpRasterizer
from recon.stages import run_stage as loop
from recon.train import main
from tests.recon.interruption import interrupt_at
from tests.recon.small_dataset import TINY, write_dataset
from usd_tools.errors import UserError


def other_networks(name, device) -> Backend:
    return Backend(WarpRasterizer(device), "tinycudann")


@pytest.mark.parametrize(("stage", "learnt"), [("coarse", False), ("fine", False), ("fine", True)])
def test_other_networks_go_on_with_textures_only(tmp_path, monkeypatch, stage, learnt):
    settings = [f"{key}={value}" for key, value in {**TINY, "textures.learnt": learnt}.items()]
    data, out = write_dataset(tmp_path / "data", 4, 24), str(tmp_path / "run")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "_step", interrupt_at(stage, 3))
        main(["--data", str(data), "--out", out, "--device", "cpu", "--set", *settings])
    resume = ["--out", out, "--device", "cpu", "--resume"]
    with monkeypatch.context() as patched:
        patched.setattr(training, "choose_backend", other_networks)
        if learnt:
            main(resume)
            return
        with pytest.raises(
            UserError, match=r"trained with warp, whose .* tinycudann cannot .*--backend warp"
        ):
            main(resume)
    main(resume)
    assert (tmp_path / "run" / "mesh" / "mesh.obj").is_file()
