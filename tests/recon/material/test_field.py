import dataclasses

import pytest
import torch

from recon.material.channels import ChannelSettings
from recon.material.field import EncoderSettings, JointField, SplitField

SMALL = EncoderSettings(levels=4, table_log2=12, finest=64)
BOUNDS = torch.tensor([[-1.0, -0.5, -0.9], [1.0, 0.5, 0.9]])
SETTINGS = ChannelSettings()


def split(**options):
    return SplitField(BOUNDS, SMALL, SMALL, SETTINGS, generator=torch.Generator().manual_seed(0), **options)


def joint(**options):
    return JointField(BOUNDS, SMALL, SETTINGS, generator=torch.Generator().manual_seed(0), **options)


def surface_points(count=200):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("make", [split, joint])
def test_start_is_grey_glossy_and_dielectric(make):
    channels = make(learn_occlusion=True).sample(surface_points())
    # Table entries of 1e-4 through He-initialized layers stay below 1e-3.
    expected = {"albedo": 0.21404, "normal": 0.0, "roughness": 0.25, "metallic": 0.05, "occlusion": 0.95}
    widths = {"albedo": 3, "normal": 3, "roughness": 1, "metallic": 1, "occlusion": 1}
    for name, value in expected.items():
        channel = getattr(channels, name)
        torch.testing.assert_close(channel, torch.full((200, widths[name]), value), atol=1e-3, rtol=0)


def test_branches_share_no_parameter():
    field = split(learn_occlusion=True)
    channels = field.sample(surface_points())
    groups = field.parameter_groups()
    assert set(groups) == {"a", "b"}
    assert {id(p) for group in groups.values() for p in group} == {id(p) for p in field.parameters()}
    for loss, mine, other in (
        (channels.albedo.sum() + channels.normal.sum(), "a", "b"),
        (channels.roughness.sum() + channels.metallic.sum() + channels.occlusion.sum(), "b", "a"),
    ):
        found = torch.autograd.grad(loss, groups[mine], retain_graph=True)
        assert all(gradient.abs().max() > 0 for gradient in found)
        absent = torch.autograd.grad(loss, groups[other], retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in absent)


def test_joint_network_is_one_of_the_same_size():
    field = joint()
    assert list(field.parameter_groups()) == ["joint"]
    one, both = sum(p.numel() for p in field.parameters()), sum(p.numel() for p in split().parameters())
    assert 0.49 * both < one < 0.51 * both


def test_branches_take_their_own_encoder():
    coarse = dataclasses.replace(SMALL, levels=2, width=8)
    field = SplitField(BOUNDS, SMALL, coarse, SETTINGS)
    assert field.branch_a.encoder.width == 8 and field.branch_b.encoder.width == 4
    assert field.branch_b.mlp.layers[0].weight.shape == (8, 4)


@pytest.mark.parametrize("make", [split, joint])
def test_channels_that_are_not_learnt_are_constant(make):
    field = make(learn_normal=False, learn_occlusion=False)
    channels = field.sample(surface_points())
    assert torch.equal(channels.normal, torch.zeros(200, 3)) and not channels.normal.requires_grad
    assert torch.equal(channels.occlusion, torch.ones(200, 1)) and not channels.occlusion.requires_grad


def test_position_gradient_only_on_demand():
    field = split()
    field.branch_a.encoder.table.data *= 1e4
    points = surface_points().requires_grad_()
    field.sample(points).albedo.sum().backward()
    assert points.grad is None
    field.sample(points, detach_points=False).albedo.sum().backward()
    assert points.grad.abs().max() > 0


def test_cells_are_cubes_and_the_bounds_are_centered():
    field = split()
    seen = []
    field.branch_a.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    field.sample(BOUNDS)
    # The widest axis (x, 2 units) spans the cube; y (1 unit) and z (1.8) keep their share around the middle.
    expected = torch.tensor([[0.0, 0.25, 0.05], [1.0, 0.75, 0.95]])
    torch.testing.assert_close(seen[0], expected)


def test_flat_bounds_are_fine_and_impossible_ones_are_refused():
    flat = torch.tensor([[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]])
    assert torch.isfinite(SplitField(flat, SMALL, SMALL, SETTINGS).sample(flat).albedo).all()
    for bad in (torch.zeros(2, 3), BOUNDS.flip(0), BOUNDS * float("nan")):
        with pytest.raises(ValueError, match="bounds"):
            SplitField(bad, SMALL, SMALL, SETTINGS)


def test_a_pattern_is_learnt():
    """A checker of dark gloss and bright rough paint, from direct supervision of both branches."""
    field = split()
    points = surface_points(2000)
    checker = ((points * 2).floor().sum(1) % 2)[:, None]
    optimizer = torch.optim.Adam(field.parameters(), lr=0.03)
    for _ in range(60):
        channels = field.sample(points)
        albedo_error = (channels.albedo - (0.02 + 0.7 * checker)).abs().mean()
        roughness_error = (channels.roughness - (0.1 + 0.6 * checker)).abs().mean()
        optimizer.zero_grad()
        (albedo_error + roughness_error).backward()
        optimizer.step()
    assert albedo_error < 0.05 and roughness_error < 0.05


def test_no_points():
    channels = split().sample(torch.zeros(0, 3))
    assert channels.albedo.shape == (0, 3) and channels.roughness.shape == (0, 1)
    channels.albedo.sum().backward()
