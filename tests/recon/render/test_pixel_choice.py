"""Which covered pixels are chosen: a fixed number, all equally likely, in patches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recon.render.pixel_choice import RUN, choose_pixels
from tests.recon.render.scenes import orbit_cameras


def coverage(height: int, width: int, share: float = 0.4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    covered = torch.rand(2 * height * width, generator=generator) < share
    return torch.where(covered, 3, -1).int()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 24), (7, 33)])
def test_chosen_pixels_are_covered_and_different(height, width):
    face_map, cameras = coverage(height, width), orbit_cameras(2, width, height)
    count = RUN * (int((face_map >= 0).sum()) // RUN)
    for part in (RUN, count):
        torch.manual_seed(part)
        pixels, covered = choose_pixels(face_map, cameras, part)
        assert pixels.shape == (part,) and pixels.dtype == torch.int64
        assert int(covered) == int((face_map >= 0).sum())
        assert bool((face_map[pixels] >= 0).all())
        assert len(pixels.unique()) == part


def test_every_covered_pixel_is_as_likely():
    face_map, cameras = coverage(16, 16), orbit_cameras(2, 16, 16)
    torch.manual_seed(0)
    draws, count = 3000, 3 * RUN
    hits = torch.zeros(len(face_map))
    for _ in range(draws):
        pixels, covered = choose_pixels(face_map, cameras, count)
        hits += torch.bincount(pixels, minlength=len(hits))
    expected = draws * count / int(covered)
    found = hits[face_map >= 0]
    assert (found / expected - 1).abs().max() < 6 * expected**-0.5
    assert hits[face_map < 0].sum() == 0


def test_runs_are_patches():
    face_map, cameras = torch.zeros(2 * 64 * 64, dtype=torch.int32), orbit_cameras(2, 64, 64)
    pixels, _ = choose_pixels(face_map, cameras, RUN)
    row, column = pixels % 4096 // 64, pixels % 64
    assert len(pixels.unique()) == RUN
    # A run of 16 along the curve crosses one border of two squares of 4x4 at most.
    neighbors = ((row[:, None] - row).abs() + (column[:, None] - column).abs() == 1).any(dim=1)
    assert neighbors.float().mean() > 0.8


def test_fewer_covered_ones_come_several_times():
    face_map, cameras = torch.full((2 * 64,), -1, dtype=torch.int32), orbit_cameras(2, 8, 8)
    face_map[[3, 70, 100]] = 0
    pixels, covered = choose_pixels(face_map, cameras, 3 * RUN)
    assert int(covered) == 3
    assert torch.equal(torch.bincount(pixels)[[3, 70, 100]], torch.tensor([RUN] * 3))


def test_nothing_covered():
    face_map, cameras = torch.full((2 * 64,), -1, dtype=torch.int32), orbit_cameras(2, 8, 8)
    pixels, covered = choose_pixels(face_map, cameras, RUN)
    assert int(covered) == 0 and not pixels.any()


@pytest.mark.parametrize("count", [0, 1, RUN + 1])
def test_whole_runs_only(count):
    with pytest.raises(ValueError, match="multiple of"):
        choose_pixels(torch.zeros(128, dtype=torch.int32), orbit_cameras(2, 8, 8), count)
