"""When pictures are small, and how small."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.data.views import Views
from recon.mesh_views import RenderedPictures
from recon.stages.picture_sizes import picture_sizes
from tests.recon.render.scenes import orbit_cameras


def views(longest: int) -> Views:
    cameras = orbit_cameras(2, longest, longest // 2)
    return Views(cameras, torch.zeros(2, longest // 2, longest, 4), ("a", "b"))


@pytest.mark.parametrize(
    ("longest", "growth", "expected"),
    [
        (512, (0.4, 0.7), [(4, 0, 40), (2, 40, 70), (1, 70, 100)]),
        (512, (0.0, 0.3), [(2, 0, 30), (1, 30, 100)]),
        (512, (0.0, 0.0), [(1, 0, 100)]),
        (512, (1.0, 1.0), [(4, 0, 100)]),
        (256, (0.4, 0.7), [(4, 0, 40), (2, 40, 70), (1, 70, 100)]),
        (255, (0.4, 0.7), [(2, 0, 40), (2, 40, 70), (1, 70, 100)]),
        (128, (0.4, 0.7), [(2, 0, 40), (2, 40, 70), (1, 70, 100)]),
        (127, (0.4, 0.7), [(1, 0, 40), (1, 40, 70), (1, 70, 100)]),
    ],
)
def test_parts_of_a_stage(longest, growth, expected):
    assert list(picture_sizes(views(longest), growth, 100)) == expected


def test_every_iteration_comes_once_however_few_there_are():
    for iterations in range(6):
        parts = list(picture_sizes(views(512), (0.4, 0.7), iterations))
        assert [i for _, first, end in parts for i in range(first, end)] == list(range(iterations))


def test_pictures_that_are_rendered_when_asked_for_stay_as_they_are():
    rendered = replace(views(512), images=object.__new__(RenderedPictures))
    assert {factor for factor, _, _ in picture_sizes(rendered, (0.4, 0.7), 100)} == {1}
