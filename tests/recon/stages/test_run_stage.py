"""The optimization loop: the order of views, steps, and the light."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from recon.data.views import Views
from recon.stages.fine import FineSettings, fine_stage
from recon.stages.run_stage import Stage, StepResult, TrainingSetup, ViewOrder, run_stage
from tests.recon.stages.scenes import NO_PRIORS, NO_SMOOTHNESS, RATES, fine_scene, setup, trainable_light

REPOSITORY = Path(__file__).resolve().parents[3]


def stage_for(problem: TrainingSetup, iterations: int = 6) -> Stage:
    settings = FineSettings(iterations, RATES, False, 0.0, NO_SMOOTHNESS, NO_PRIORS, 0.005)
    return fine_stage(fine_scene(), problem, settings)


def learn(problem: TrainingSetup, stage: Stage, start: int = 0) -> list[StepResult]:
    results: list[StepResult] = []
    run_stage(stage, problem, results.append, start=start)
    return results


@pytest.mark.parametrize(("count", "batch"), [(6, 2), (7, 3), (5, 5), (3, 8), (1, 1)])
def test_every_view_once_per_epoch(count, batch):
    order = ViewOrder(count, batch, "0 coarse")
    picks = torch.cat([order.views(i) for i in range(4 * count)])
    assert picks.dtype == torch.int64 and len(picks) == 4 * count * batch
    for epoch in picks.view(-1, count):
        assert sorted(epoch.tolist()) == list(range(count))


def test_order_changes_with_epoch_and_seed():
    def epochs(seed: str) -> list[list[int]]:
        order = ViewOrder(12, 12, seed)
        return [order.views(i).tolist() for i in range(3)]

    one = epochs("0 coarse")
    assert len({tuple(epoch) for epoch in one}) == 3
    assert one == epochs("0 coarse")
    assert one != epochs("1 coarse") and one != epochs("0 fine")


def test_order_has_no_memory():
    straight = ViewOrder(7, 3, "0 fine")
    expected = [straight.views(i).tolist() for i in range(40)]
    assert [ViewOrder(7, 3, "0 fine").views(i).tolist() for i in range(40)] == expected
    backwards = ViewOrder(7, 3, "0 fine")
    assert [backwards.views(i).tolist() for i in reversed(range(40))] == expected[::-1]


def test_order_does_not_touch_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    ViewOrder(7, 3, "0 fine").views(11)
    assert torch.equal(torch.rand(4), expected)


def test_order_is_the_same_in_every_process():
    """Python's own `hash` of text is not."""
    code = (
        "from recon.stages.run_stage import ViewOrder; "
        "import sys; sys.stdout.write(str(ViewOrder(9, 9, '0 fine').views(2).tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == str(ViewOrder(9, 9, "0 fine").views(2).tolist())


def test_on_step_is_told_of_every_iteration():
    problem = setup()
    results = learn(problem, stage_for(problem))
    assert [result.iteration for result in results] == list(range(6))
    order = ViewOrder(5, 2, "0 fine")
    for result in results:
        assert set(result.losses) == {"a", "b"}
        assert all(loss.ndim == 0 and not loss.requires_grad for loss in result.losses.values())
        assert torch.equal(result.reference, problem.views.images[order.views(result.iteration)])
        assert result.covered == float((result.rendered.raster.pixels >= 0).sum()) > 100


def test_learning_reduces_the_loss():
    problem = setup(batch=5)
    stage = stage_for(problem, 30)
    totals = [sum(float(loss) for loss in result.losses.values()) for result in learn(problem, stage)]
    assert totals[-1] < 0.8 * totals[0]


def test_a_later_start_goes_on_with_the_same_views():
    problem = setup()
    whole = learn(problem, stage_for(problem))
    late = learn(problem, stage_for(problem), start=4)
    assert [result.iteration for result in late] == [4, 5]
    for one, other in zip(whole[4:], late):
        assert torch.equal(one.reference, other.reference)


def test_nothing_is_left_to_do():
    problem = setup()
    assert learn(problem, stage_for(problem), start=6) == []


def test_terms_are_summed_and_the_range_is_kept_after_each_step():
    """A regularizer that pulls every texel up; `after_step` sees parameters that have moved."""
    problem = setup()
    stage = stage_for(problem, 2)
    seen: list[float] = []
    maps = stage.scene.material

    def pull(rendered: object, iteration: int) -> dict[str, Tensor]:
        return {"pull": -1000.0 * maps.map_b.sum()}

    def after() -> None:
        assert not torch.is_grad_enabled()
        seen.append(float(maps.map_b.min()))

    start = float(maps.map_b.detach().min())
    results = learn(problem, replace(stage, regularize=pull, after_step=after))
    assert "pull" in results[0].losses and len(seen) == 2
    # A rate of 0.01, a multiplier of 0.01 at the first iteration.
    assert seen[0] == pytest.approx(start + 1e-4, abs=1e-6)


def test_known_light_is_prefiltered_once():
    problem = setup()
    assert problem.prefiltered_light() is problem.prefiltered_light()
    assert not problem.prefiltered_light().diffuse.requires_grad


def test_learnt_light_is_prefiltered_anew_and_moves():
    problem = setup(trainable_light())
    assert problem.prefiltered_light().diffuse.requires_grad
    before, radiance = problem.prefiltered_light().diffuse.detach(), problem.light.cubemap().detach()
    results = learn(problem, stage_for(problem))
    assert "light_grey" in results[0].losses
    assert not torch.equal(problem.prefiltered_light().diffuse, before)
    assert (problem.light.cubemap() - radiance).abs().max() > 1e-4


def test_held_out_view_is_rendered_without_gradient():
    problem, scene = setup(), fine_scene()
    image = problem.render_view(scene, problem.views, 3)
    assert image.shape == (20, 24, 3) and not image.requires_grad
    expected = problem.render(scene, torch.tensor([3])).image_a[0]
    torch.testing.assert_close(image, expected.detach(), rtol=0, atol=1e-6)


def test_light_turns_with_the_views():
    problem, scene = setup(), fine_scene()
    quarter = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    turns = torch.eye(3).repeat(5, 1, 1)
    turns[3] = quarter
    own = problem.views
    turned = Views(own.cameras, own.images, own.names, turns)
    still = [problem.render_view(scene, own, view) for view in (2, 3)]
    moved = [problem.render_view(scene, turned, view) for view in (2, 3)]
    torch.testing.assert_close(moved[0], still[0])
    assert (moved[1] - still[1]).abs().max() > 0.02
