"""Why hash grids are by default as fine as the pixels: what finer ones learn is the pictures' noise."""

from __future__ import annotations

import torch

from recon.material.encoded_network import EncodedNetwork, EncoderSettings
from recon.material.hash_grid import as_fine_as_pixels

PIXELS = 32  # along a side of a view
VIEWS = 8
NOISE = 0.2


def _truth(points: torch.Tensor) -> torch.Tensor:
    """(P, 1) a smooth pattern on the unit square."""
    return 0.5 + 0.3 * torch.sin(7 * points[:, :1]) * torch.cos(5 * points[:, 1:2])


def _error_after_training(finest: int) -> float:
    """Mean error at random places of a network that has seen a few views, each with its noise."""
    generator = torch.Generator().manual_seed(0)
    steps = (torch.arange(PIXELS) + 0.5) / PIXELS
    centers = torch.cartesian_prod(steps, steps).repeat(VIEWS, 1)
    views = torch.rand(VIEWS, 2, generator=generator).repeat_interleave(PIXELS**2, dim=0) / PIXELS
    points = torch.cat([(centers + views).clamp(0, 1), torch.full((len(centers), 1), 0.5)], dim=1)
    seen = _truth(points) + NOISE * torch.randn(len(points), 1, generator=generator)
    settings = EncoderSettings(levels=6, table_log2=15, base=8, finest=finest, width=16)
    network = EncodedNetwork(settings, 1, generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(150):
        loss = (network(points) - seen).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    places = torch.rand(4000, 3, generator=generator)
    places[:, 2] = 0.5
    with torch.no_grad():
        return float((network(places) - _truth(places)).abs().mean())


def test_grids_as_fine_as_the_pixels_learn_less_noise_than_finer_ones():
    fine, much_finer = _error_after_training(as_fine_as_pixels(1.0, 1 / PIXELS)), _error_after_training(4096)
    assert fine < 0.7 * much_finer, (fine, much_finer)
