from __future__ import annotations

import math

import torch

from recon.render.light_orientations import spread_orientations


def around_y(degrees: torch.Tensor) -> torch.Tensor:
    c, s = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    return torch.stack([c, zero, s, zero, one, zero, -s, zero, c], dim=-1).view(-1, 3, 3)


def test_equal_orientations_are_chosen_once_and_all_others_kept() -> None:
    turns = around_y(torch.tensor([0.0, 90.0, 0.0, 90.0, 45.0]))
    chosen = spread_orientations(turns, 10)
    assert torch.equal(chosen[0], turns[0])
    assert sorted(_degrees(chosen)) == [0, 45, 90]


def test_a_turntable_is_covered_evenly() -> None:
    chosen = _degrees(spread_orientations(around_y(torch.arange(0.0, 360.0)), 8))
    assert sorted(round(angle) % 360 for angle in chosen) == list(range(0, 360, 45))


def _degrees(turns: torch.Tensor) -> list[int]:
    angles = torch.atan2(turns[:, 0, 2], turns[:, 0, 0]) * (180 / math.pi)
    return [round(angle) % 360 for angle in angles.tolist()]
