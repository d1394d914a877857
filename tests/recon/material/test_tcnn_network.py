"""What surrounds tiny-cuda-nn's modules, with a stand-in for the package."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recon.backend import network_factory
from recon.material.channels import ChannelSettings
from recon.material.encoded_network import EncodedNetwork, EncoderSettings
from recon.material.field import SplitField
from recon.material.hash_grid import level_resolutions
from recon.material.tcnn_network import FusedTcnnNetwork, TcnnNetwork, grid_settings
from tests.recon.material import reference_tcnn_grid as reference

SMALL = EncoderSettings(levels=4, table_log2=10, finest=64, width=16)


class Encoding(nn.Module):
    """tinycudann.Encoding in single precision: a flat vector of parameters."""

    def __init__(self, n_input_dims: int, encoding_config: dict[str, Any], dtype: torch.dtype) -> None:
        super().__init__()
        assert (n_input_dims, dtype) == (3, torch.float32)
        self.config = encoding_config
        entries = sum(size for _, _, size in reference.level_sizes(encoding_config))
        self.params = nn.Parameter(torch.zeros(entries * encoding_config["n_features_per_level"]))
        self.loss_scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) > 0
        return reference.encode(x, self.params.view(-1, self.config["n_features_per_level"]), self.config)


class NetworkWithInputEncoding(nn.Module):
    """tinycudann.NetworkWithInputEncoding: weights, then the table, in half precision from end to end."""

    def __init__(self, n_input_dims: int, n_output_dims: int, encoding_config, network_config) -> None:
        super().__init__()
        assert n_input_dims == 3
        self.grid = Encoding(3, encoding_config, torch.float32)
        self.outputs = n_output_dims
        width, depth = network_config["n_neurons"], network_config["n_hidden_layers"]
        self.sizes = reference.layer_sizes(encoding_config, width, depth)
        count = sum(a * b for a, b in self.sizes) + self.grid.params.numel()
        del self.grid.params
        self.params = nn.Parameter(torch.zeros(count))
        self.loss_scale = 128.0

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) > 0
        return reference.network(x, self.params.half().float(), self.sizes, self.grid.config)[
            :, : self.outputs
        ].half()


@pytest.fixture(autouse=True)
def package(monkeypatch) -> None:
    fake = SimpleNamespace(Encoding=Encoding, NetworkWithInputEncoding=NetworkWithInputEncoding)
    monkeypatch.setitem(sys.modules, "tinycudann", fake)


def points(count: int = 64) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(3))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("settings", [SMALL, EncoderSettings(), EncoderSettings(levels=1)])
def test_coarsest_and_finest_level_have_as_many_cells_as_ours(settings):
    ours = level_resolutions(settings.levels, settings.base, settings.finest)
    theirs = [cells for cells, _, _ in reference.level_sizes(grid_settings(settings))]
    assert len(theirs) == len(ours)
    assert theirs[0] == pytest.approx(ours[0]) and theirs[-1] == pytest.approx(ours[-1])
    # Between them both grow geometrically, from numbers that differ by one.
    assert all(abs(a / b - 1) < 0.07 for a, b in zip(theirs, ours))


@pytest.mark.parametrize(("mixed", "kind"), [(False, TcnnNetwork), (True, FusedTcnnNetwork)])
def test_new_networks_start_near_zero_by_the_seed_and_reach_every_parameter(mixed, kind):
    make = network_factory("tinycudann", mixed)
    network = make(SMALL, 6, generator())
    assert isinstance(network, kind)
    raw = network(points())
    assert raw.shape == (64, 6) and raw.dtype == torch.float32
    assert 0 < raw.abs().max() < 1e-3
    raw.sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    again = make(SMALL, 6, generator())
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters()))
    other = make(SMALL, 6, torch.Generator().manual_seed(1))
    assert not torch.equal(next(network.parameters()), next(other.parameters()))
    assert network(points(0)).shape == (0, 6)


def test_a_width_without_a_fused_kernel_is_not_fused():
    wide = EncoderSettings(levels=2, table_log2=8, finest=32, width=24)
    assert isinstance(network_factory("tinycudann", True)(wide, 3, None), TcnnNetwork)
    assert network_factory("warp", True) is EncodedNetwork


def grown(network: FusedTcnnNetwork) -> FusedTcnnNetwork:
    """With a table as after some training."""
    with torch.no_grad():
        network.network.params.mul_(torch.where(network.network.params.abs() <= 1e-4, 5e3, 1.0))
    return network


def test_small_gradients_survive_half_precision():
    network = grown(FusedTcnnNetwork(SMALL, 6, generator()))
    module = network.network
    where = points().requires_grad_()
    # As of a mean over two million pixels; half precision alone rounds 3e-8 to nothing.
    upstream = 3e-8 * (torch.rand(64, 6, generator=generator()) - 0.5)
    found = torch.autograd.grad(network(where), (module.params, where), upstream)
    exact = module.params.detach().double().requires_grad_()
    place = where.detach().double().requires_grad_()
    raw = reference.network(place, exact, module.sizes, module.grid.config)[:, :6]
    expected = torch.autograd.grad(raw, (exact, place), upstream.double())
    for one, other in zip(found, expected):
        assert other.abs().max() > 0
        assert (one - other).abs().max() < 0.02 * other.abs().max()


def test_an_overflowing_gradient_counts_as_zero():
    network = grown(FusedTcnnNetwork(SMALL, 6, generator()))
    network(points()).backward(torch.full((64, 6), 1e3))
    assert torch.isfinite(network.network.params.grad).all()


def test_points_outside_the_cube_take_its_surface_value():
    for mixed in (False, True):
        network = network_factory("tinycudann", mixed)(SMALL, 3, generator())
        outside = torch.tensor([[1.5, 0.5, -2.0]], requires_grad=True)
        raw = network(outside)
        assert torch.equal(raw, network(torch.tensor([[1.0, 0.5, 0.0]])))
        (gradient,) = torch.autograd.grad(raw.sum(), outside)
        assert gradient[0, 0] == 0 and gradient[0, 2] == 0


def test_a_field_of_these_networks_has_the_groups_of_ours():
    bounds = torch.tensor([[-1.0] * 3, [1.0] * 3])
    for mixed in (False, True):
        make = network_factory("tinycudann", mixed)
        field = SplitField(bounds, SMALL, SMALL, ChannelSettings(), generator=generator(), make_network=make)
        groups = field.parameter_groups()
        assert {id(p) for group in groups.values() for p in group} == {id(p) for p in field.parameters()}
        channels = field.sample(2 * points() - 1)
        assert torch.allclose(channels.roughness, torch.tensor(0.25), atol=1e-3)
