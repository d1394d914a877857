"""The networks on tiny-cuda-nn: what they compute, their gradients, and that they learn like Warp's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recon.backend import network_factory
from recon.material.encoded_network import EncoderSettings
from recon.material.tcnn_network import grid_settings
from tests.recon.cuda import CUDA, assert_aligned, needs_tinycudann
from tests.recon.material import reference_tcnn_grid as reference

pytestmark = needs_tinycudann

SMALL = EncoderSettings(levels=6, table_log2=12, finest=128)
FULL = EncoderSettings()
# Raw outputs: half precision has 11 bits.
TOLERANCE = {False: 1e-3, True: 1e-2}


def make(settings: EncoderSettings, mixed: bool, outputs: int = 6, networks: str = "tinycudann") -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return network_factory(networks, mixed)(settings, outputs, generator).to(CUDA)


def points(count: int) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1)).to(CUDA)


def points_within_cells(settings: EncoderSettings, count: int) -> Tensor:
    """Points at least 1/64 cell away from every level's cell borders, where the gradient in the point jumps.

    tiny-cuda-nn finds a level's scale in single precision (exp2 of a product up to 8): at 4096 cells that
    shifts the far end by a few thousandths of a cell, and in a thousandth of all points picks another cell.
    """
    candidates = points(10 * count)
    clear = torch.ones(len(candidates), dtype=torch.bool, device=CUDA)
    for scale, _, _ in reference.level_sizes(grid_settings(settings)):
        place = (candidates.double() * scale + 0.5).frac()
        clear &= (torch.minimum(place, 1 - place) > 1 / 64).all(dim=1)
    assert clear.sum() >= count
    return candidates[clear][:count]


@torch.no_grad()
def grow(network: nn.Module) -> None:
    """Brings the table to what it is after some training; layers are larger than 1e-4 from the start."""
    for parameter in network.parameters():
        parameter.mul_(torch.where(parameter.abs() <= 1e-4, 5e3, 1.0))


def twin(
    network: nn.Module, settings: EncoderSettings, mixed: bool, where: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The same function in double precision, and its parameters as the network has them."""
    grid = grid_settings(settings)
    exact = [parameter.detach().double().requires_grad_() for parameter in network.parameters()]
    if mixed:
        sizes = reference.layer_sizes(grid, settings.width, settings.depth)
        return reference.network(where, exact[0], sizes, grid), exact
    table, *layers = exact
    x = reference.encode(where, table.view(-1, settings.features), grid)
    for layer in layers[:-1]:
        x = torch.nn.functional.leaky_relu(x @ layer.T, 0.01)
    return x @ layers[-1].T, exact


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("settings", [SMALL, FULL], ids=["small", "full"])
def test_values_and_gradients_are_those_of_the_twin(settings, mixed):
    network = make(settings, mixed)
    grow(network)
    where = points_within_cells(settings, 4000).requires_grad_()
    place = where.detach().double().requires_grad_()
    raw = network(where)
    expected, exact = twin(network, settings, mixed, place)
    expected = expected[:, :6]
    scale = expected.abs().max().item()
    error = (raw - expected).abs() / scale
    assert float(error.median()) < TOLERANCE[mixed], f"median error {float(error.median()):.1e}"
    assert float(error.mean()) < 2 * TOLERANCE[mixed], f"mean error {float(error.mean()):.1e}"
    # As of a mean over two million pixels.
    upstream = (torch.rand(4000, 6, generator=torch.Generator().manual_seed(2)) - 0.5).to(CUDA) * 1e-6
    found = torch.autograd.grad(raw, [*network.parameters(), where], upstream)
    wanted = torch.autograd.grad(expected, [*exact, place], upstream.double())
    names = [*(name for name, _ in network.named_parameters()), "points"]
    for name, one, other in zip(names, found, wanted, strict=True):
        assert_aligned(f"d {name}", one, other, 0.99 if mixed else 0.999, 0.03)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("count", [0, 1, 255, 257])
def test_any_number_of_points(mixed, count):
    network = make(SMALL, mixed)
    raw = network(points(count))
    assert raw.shape == (count, 6) and raw.dtype == torch.float32 and raw.is_cuda
    assert torch.isfinite(raw).all()


@pytest.mark.parametrize("mixed", [False, True])
def test_new_networks_start_near_zero(mixed):
    raw = make(FULL, mixed)(points(2000))
    assert 0 < raw.abs().max() < 1e-3


def final_error(network: nn.Module) -> float:
    """Mean squared error after 300 steps toward a color that varies quickly and slowly."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    generator = torch.Generator(CUDA).manual_seed(4)
    for _ in range(300):
        where = torch.rand(1 << 14, 3, device=CUDA, generator=generator)
        target = torch.sin(where * 8) + 0.3 * torch.sign(torch.sin(where.flip(1) * 40))
        loss = (network(where) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_they_learn_as_well_as_warps_networks():
    torch.manual_seed(0)
    expected = final_error(make(FULL, False, 3, "warp"))
    assert expected < 0.1
    for mixed in (False, True):
        error = final_error(make(FULL, mixed, 3))
        assert error < 1.25 * expected + 1e-4, f"mixed={mixed}: {error:.5f}, Warp's networks {expected:.5f}"
