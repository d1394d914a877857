"""Objectives: the branches' losses on their own copy of the image, and the joint one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from recon.assemble import make_objective
from recon.config import load_config
from recon.losses import CompositeLoss, log_l1, mask_mse, mse, rel_mse, smape
from recon.objectives import JointObjective, SplitObjective
from recon.render.loss_routes import LossRoutes


@pytest.fixture
def rendered():
    """Images whose copies differ, so that mixing them up shows."""
    generator = torch.Generator().manual_seed(3)
    image_a, image_b = torch.rand(2, 2, 5, 6, 3, generator=generator)
    alpha = torch.rand(2, 5, 6, generator=generator)
    return SimpleNamespace(
        image_a=image_a.requires_grad_(), image_b=image_b.requires_grad_(), alpha=alpha.requires_grad_()
    )


@pytest.fixture
def reference():
    return torch.rand(2, 5, 6, 4, generator=torch.Generator().manual_seed(4))


def split() -> SplitObjective:
    return SplitObjective(
        CompositeLoss("log_l1", "smape", 0.35, 0.15, 0.5),
        CompositeLoss("rel_mse", "mse", 0.7, 0.3, 0.0),
        LossRoutes(geometry="A", free_light=3.0),
    )


def test_split_is_the_table_of_method(rendered, reference):
    a, b, coverage = rendered.image_a, rendered.image_b, rendered.alpha[..., None]
    losses = split()(rendered, reference)
    assert list(losses) == ["a", "b"]
    expected_a = (
        0.35 * log_l1(a, reference) + 0.15 * smape(a, reference) + 0.5 * mask_mse(coverage, reference)
    )
    expected_b = 0.7 * rel_mse(b, reference) + 0.3 * mse(b, reference)
    torch.testing.assert_close(losses["a"], expected_a)
    torch.testing.assert_close(losses["b"], expected_b)


def test_split_losses_reach_their_own_image_only(rendered, reference):
    losses = split()(rendered, reference)
    inputs = (rendered.image_a, rendered.image_b, rendered.alpha)
    from_a = torch.autograd.grad(losses["a"], inputs, retain_graph=True, allow_unused=True)
    from_b = torch.autograd.grad(losses["b"], inputs, allow_unused=True)
    assert from_a[1] is None and from_b[0] is None and from_b[2] is None
    for gradient in (from_a[0], from_a[2], from_b[1]):
        assert gradient is not None and gradient.abs().max() > 0.0


def test_joint_is_one_image_loss_and_the_mask(rendered, reference):
    objective = JointObjective(CompositeLoss("rel_mse", "rel_mse", 1.0, 0.0, 1.0))
    assert objective.routes is None
    losses = objective(rendered, reference)
    coverage = rendered.alpha[..., None]
    torch.testing.assert_close(
        losses["joint"], rel_mse(rendered.image_a, reference) + mask_mse(coverage, reference)
    )
    assert list(losses) == ["joint"]


@pytest.mark.parametrize("model", ["split", "joint"])
def test_perfect_picture_costs_nothing(reference, model):
    rendered = SimpleNamespace(
        image_a=reference[..., :3], image_b=reference[..., :3].clone(), alpha=reference[..., 3]
    )
    objective = make_objective(load_config(overrides=[f"material.model={model}"]))
    assert all(float(loss) == 0.0 for loss in objective(rendered, reference).values())


def test_settings_reach_the_objective():
    config = load_config(
        overrides=[
            "loss.geometry=B",
            "loss.normal=A",
            "loss.light=A",
            "loss.free_light=1.5",
            "loss.a=[l1, mse]",
            "loss.mask_weight=2",
        ]
    )
    objective = make_objective(config)
    assert isinstance(objective, SplitObjective)
    assert objective.routes == LossRoutes("B", "A", "A", free_light=1.5)
    assert objective.a == CompositeLoss("l1", "mse", 0.35, 0.15, 2.0)
    assert objective.b == CompositeLoss("rel_mse", "mse", 0.7, 0.3, 0.0)


def test_defaults_are_those_of_method():
    objective = make_objective(load_config())
    assert isinstance(objective, SplitObjective)
    assert (objective.a, objective.b, objective.routes) == (
        split().a,
        split().b,
        LossRoutes(geometry="A", free_light=3.0),
    )
    joint = make_objective(load_config(overrides=["material.model=joint"]))
    assert isinstance(joint, JointObjective)
    assert joint.loss == CompositeLoss("rel_mse", "rel_mse", 1.0, 0.0, 1.0)


def test_a_material_that_was_found_is_refined_by_other_losses():
    first, refined = (make_objective(load_config(), refine=refine) for refine in (False, True))
    assert refined.b == CompositeLoss("log_l1", "rel_mse", 0.7, 0.3, 0.0)
    assert (refined.a, refined.routes) == (first.a, first.routes)
    same = load_config(overrides=["loss.b_refine=null"])
    assert make_objective(same, refine=True).b == make_objective(same).b
    joint = load_config(overrides=["material.model=joint"])
    assert make_objective(joint, refine=True).loss == make_objective(joint).loss


def test_routing_is_a_setting():
    assert make_objective(load_config()).routes == LossRoutes(geometry="A", free_light=3.0)
    summed = make_objective(load_config(overrides=["loss.routing=summed"]))
    assert isinstance(summed, SplitObjective)
    assert summed.routes is None, "one image for both losses, so that each reaches every parameter"
