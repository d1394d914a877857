"""Fine steps on some covered pixels, one by one and captured."""

from __future__ import annotations

import pytest
import torch

from recon.light.fg_table import fg_table
from recon.render.warp_backend import WarpRasterizer
from recon.stages import run_stage as loop
from recon.stages.fine import FineSettings, fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.run_stage import StepResult, TrainingSetup, run_stage
from tests.recon.cuda import CUDA, needs_cuda
from tests.recon.stages.scenes import NO_PRIORS, RATES, SMOOTHNESS, field, setup, sphere_mesh, trainable_light

CPU = torch.device("cpu")


def learn(
    pixels: int, iterations: int = 40, light=None, device: torch.device = CPU
) -> tuple[list[StepResult], FineScene]:
    torch.manual_seed(0)
    own = setup(light, batch=5)
    problem = TrainingSetup(
        own.views.to(device),
        own.light.to(device),
        fg_table(device=device),
        WarpRasterizer(device),
        own.objective,
        batch=5,
        samples=1,
        seed=0,
    )
    scene = FineScene(sphere_mesh(device), field(), movable=True).to(device)
    settings = FineSettings(iterations, RATES, False, 50.0, 0.0, SMOOTHNESS, NO_PRIORS, 0.0, pixels)
    results: list[StepResult] = []
    run_stage(fine_stage(scene, problem, settings), problem, results.append)
    return results, scene


def total(result: StepResult) -> float:
    return float(result.losses["a"] + result.losses["b"])


def test_some_pixels_teach_as_all_do():
    some, scene = learn(400)
    every, _ = learn(0)
    assert some[0].covered == 400 < every[0].covered
    assert [result.iteration for result in some] == list(range(40))
    assert set(some[0].losses) == set(every[0].losses)
    assert scene.offsets.detach().abs().max() > 0
    first, last = ([total(results[i]) for results in (some, every)] for i in (0, -1))
    for start, end in zip(first, last):
        assert end < 0.9 * start
    # Judged by whole views, which a result shows when it is asked for.
    losses = [setup().objective(r[-1].rendered, r[-1].reference) for r in (some, every)]
    assert float(losses[0]["b"]) == pytest.approx(float(losses[1]["b"]), rel=0.15)


def test_the_same_seed_gives_the_same_result():
    one, two = learn(160, 6)[0], learn(160, 6)[0]
    for first, second in zip(one, two):
        assert all(torch.equal(value, second.losses[name]) for name, value in first.losses.items())


@pytest.mark.parametrize(("pixels", "light"), [(10**6, None), (160, trainable_light)])
def test_all_pixels_where_few_are_covered_or_light_is_learnt(pixels, light):
    results, _ = learn(pixels, 2, light() if light else None)
    assert results[0].covered == len(results[0].rendered.raster.pixels)


@needs_cuda
def test_captured_steps_are_those_launched_one_by_one(monkeypatch):
    captured, _ = learn(160, 30, device=CUDA)
    monkeypatch.setattr(loop, "CapturedStep", lambda step, device: step)
    single, _ = learn(160, 30, device=CUDA)
    for name in single[-1].losses:
        one, other = (
            torch.stack([result.losses[name] for result in results[10:]]).mean()
            for results in (captured, single)
        )
        assert float(one) == pytest.approx(float(other), rel=0.05, abs=1e-5), name
