"""Chosen pixels look as they do in whole views, and teach the same on average."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.losses import BRANCH_LOSSES
from recon.objectives import JointObjective, SplitObjective
from recon.render.loss_routes import LossRoutes
from recon.render.pixel_choice import RUN
from recon.stages.fine_scene import FineScene
from tests.recon.stages.scenes import field, setup, sphere_mesh


def problem_and_scene(routes: LossRoutes | None):
    problem = setup(batch=3)
    problem.objective = (
        JointObjective(BRANCH_LOSSES["joint"])
        if routes is None
        else SplitObjective(BRANCH_LOSSES["a"], BRANCH_LOSSES["b"], routes)
    )
    return problem, FineScene(sphere_mesh(), field("joint" if routes is None else "split"), movable=True)


def all_pixels(problem, scene, views):
    seen = problem.see(scene, views)
    covered = int((seen.face_map >= 0).sum())
    return problem.render_pixels(scene, views, seen, RUN * (covered // RUN))


@pytest.mark.parametrize("routes", [LossRoutes(), LossRoutes(geometry="B"), None])
def test_colors_and_coverage_are_those_of_the_views(routes):
    problem, scene = problem_and_scene(routes)
    views = torch.tensor([0, 2, 4])
    whole, some = problem.render(scene, views), all_pixels(problem, scene, views)
    torch.testing.assert_close(some.alpha, whole.alpha)
    assert float(some.covered_share) == pytest.approx(whole.covered_share)
    chosen = some.raster.pixels
    inside = whole.alpha.flatten()[chosen] == 1.0
    assert 0.5 < inside.float().mean() < 1.0
    for color, image in ((some.color_a, whole.image_a), (some.color_b, whole.image_b)):
        expected = image.reshape(-1, 3)[chosen]
        # Against the background, too; a few at the end of a run lack a neighbor to measure variance with.
        assert ((color - expected).abs().amax(dim=1) < 1e-3).float().mean() > 0.9


@pytest.mark.parametrize("routes", [LossRoutes(), None])
def test_gradients_are_those_of_the_views(routes):
    problem, scene = problem_and_scene(routes)
    problem.objective = replace_mask(problem.objective)
    views = torch.tensor([0, 2, 4])
    reference = problem.views.images[views] * 0.8
    gradients = []
    for rendered in (problem.render(scene, views), all_pixels(problem, scene, views)):
        loss = problem.objective if hasattr(rendered, "image_a") else problem.objective.of_pixels
        total = sum(loss(rendered, reference).values())
        gradients.append(torch.autograd.grad(total, list(scene.parameters()), allow_unused=True))
    for (name, _), one, other in zip(scene.named_parameters(), *gradients):
        assert one is not None and other is not None, name
        assert float(one.norm()) > 0 and float(other.norm()) > 0, name
        cosine = float((one * other).sum() / (one.norm() * other.norm()))
        assert cosine > (0.8 if name == "offsets" else 0.97), (name, cosine)
        assert 0.7 < float(other.norm() / one.norm()) < 1.3, name


def replace_mask(objective):
    """Silhouettes drawn by the mask alone would hide what colors teach."""
    if isinstance(objective, JointObjective):
        return JointObjective(replace(objective.loss, mask_weight=0.1))
    return SplitObjective(replace(objective.a, mask_weight=0.1), objective.b, objective.routes)


def test_losses_agree_on_average():
    problem, scene = problem_and_scene(LossRoutes())
    views = torch.tensor([0, 1, 2])
    reference = problem.views.images[views] * 0.8
    seen = problem.see(scene, views)
    torch.manual_seed(3)
    with torch.no_grad():
        whole = problem.objective.of_pixels(all_pixels(problem, scene, views), reference)
        draws = [
            problem.objective.of_pixels(problem.render_pixels(scene, views, seen, 4 * RUN), reference)
            for _ in range(80)
        ]
    for name, expected in whole.items():
        found = torch.stack([draw[name] for draw in draws])
        error = float(found.std()) / len(found) ** 0.5
        assert abs(float(found.mean() - expected)) < 4 * error + 0.03 * float(expected), name


def test_geometry_routes_reach_silhouettes_of_one_loss():
    problem, scene = problem_and_scene(LossRoutes(geometry="A"))
    rendered = all_pixels(problem, scene, torch.tensor([0, 1]))
    assert rendered.alpha.requires_grad
    none = torch.autograd.grad(rendered.color_b.sum(), rendered.alpha, retain_graph=True, allow_unused=True)
    some = torch.autograd.grad(rendered.color_a.sum(), rendered.alpha, allow_unused=True)
    assert none[0] is None and some[0] is not None
