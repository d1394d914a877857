"""Fine steps on some covered pixels, one by one and captured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.config import load_config
from recon.losses import BRANCH_LOSSES
from recon.objectives import JointObjective
from recon.render.pixel_choice import RUN
from recon.stages.fine import FineSettings, fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.run_stage import StepResult, run_stage
from tests.recon.cuda import CUDA, needs_cpu_kernels, needs_cuda
from tests.recon.stages.scenes import NO_PRIORS, RATES, SMOOTHNESS, field, setup, sphere_mesh, trainable_light

CPU = torch.device("cpu")
DEVICES = pytest.mark.parametrize(
    "device", [pytest.param(CPU, marks=needs_cpu_kernels), pytest.param(CUDA, marks=needs_cuda)], ids=str
)


def learn(
    pixels: int,
    iterations: int = 40,
    light=None,
    device: torch.device = CPU,
    model: str = "split",
    captured: bool = True,
) -> tuple[list[StepResult], FineScene]:
    torch.manual_seed(0)
    objective = JointObjective(BRANCH_LOSSES["joint"]) if model == "joint" else None
    problem = setup(light, batch=5, objective=objective, device=device)
    scene = FineScene(sphere_mesh(device), field(model), movable=True).to(device)
    joint = model == "joint"
    settings = FineSettings(iterations, RATES, joint, 0.0, SMOOTHNESS, NO_PRIORS, 0.0, pixels)
    results: list[StepResult] = []
    stage = replace(fine_stage(scene, problem, settings), captured=captured)
    run_stage(stage, problem, results.append)
    return results, scene


def total(result: StepResult) -> float:
    return float(result.losses["a"] + result.losses["b"])


@DEVICES
def test_some_pixels_teach_as_all_do(device):
    some, scene = learn(400, device=device)
    every, _ = learn(0, device=device)
    assert some[0].covered == 400 < every[0].covered
    assert [result.iteration for result in some] == list(range(40))
    assert set(some[0].losses) == set(every[0].losses)
    assert scene.offsets.detach().abs().max() > 0
    first, last = ([total(results[i]) for results in (some, every)] for i in (0, -1))
    for start, end in zip(first, last):
        assert end < 0.9 * start
    # Judged by whole views, which a result shows when it is asked for.
    objective = setup(device=device).objective
    with torch.no_grad():
        losses = [objective(r[-1].rendered, r[-1].reference) for r in (some, every)]
    assert float(losses[0]["b"]) == pytest.approx(float(losses[1]["b"]), rel=0.15)


@needs_cpu_kernels
def test_the_same_seed_gives_the_same_result():
    one, two = learn(160, 6)[0], learn(160, 6)[0]
    for first, second in zip(one, two):
        assert all(torch.equal(value, second.losses[name]) for name, value in first.losses.items())


@needs_cpu_kernels
@pytest.mark.parametrize(("pixels", "light"), [(10**6, None), (160, trainable_light)])
def test_all_pixels_where_few_are_covered_or_light_is_learnt(pixels, light):
    results, _ = learn(pixels, 2, light() if light else None)
    assert results[0].covered == len(results[0].rendered.raster.pixels)


@needs_cpu_kernels
def test_small_pictures_are_learnt_from_whole_by_default():
    """On a CPU; the same numbers as when all pixels are asked for."""
    default, every = (learn(pixels, 2)[0] for pixels in (load_config().train.fine_pixels, 0))
    for first, second in zip(default, every):
        assert all(torch.equal(value, second.losses[name]) for name, value in first.losses.items())


@needs_cuda
def test_a_graph_takes_no_more_pixels_than_are_covered():
    results, _ = learn(10**6, 8, device=CUDA)
    covered = len(results[-1].rendered.raster.pixels)  # of all views, as their batch is
    assert results[-1].covered % RUN == 0 and 0.8 * covered < results[-1].covered < 1.25 * covered
    assert all(torch.isfinite(value) for value in results[-1].losses.values())


@needs_cuda
@pytest.mark.parametrize("model", ["split", "joint"])
def test_captured_steps_are_those_launched_one_by_one(model):
    captured, _ = learn(400, device=CUDA, model=model)
    single, _ = learn(400, device=CUDA, model=model, captured=False)
    for name in single[-1].losses:
        one, other = (
            torch.stack([result.losses[name] for result in results[10:]]).mean()
            for results in (captured, single)
        )
        # Which pixels are drawn differs.
        assert float(one) == pytest.approx(float(other), rel=0.1, abs=1e-5), name
