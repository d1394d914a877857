from __future__ import annotations

import pytest
import torch

from recon.render.mipmaps import build_mips, defined_mips
from tests.recon.render.scenes import random_like


def test_every_level_averages_two_by_two() -> None:
    texture = random_like((8, 4, 3), seed=1)
    mips = build_mips(texture)
    assert [tuple(level.shape) for level in mips] == [(8, 4, 3), (4, 2, 3), (2, 1, 3)]
    assert torch.equal(mips[0], texture)
    assert torch.allclose(mips[1][2, 1], texture[4:6, 2:4].mean((0, 1)))
    assert torch.allclose(mips[2].mean((0, 1)), texture.mean((0, 1)))


def test_the_chain_ends_at_an_odd_size_or_at_max_levels() -> None:
    assert [level.shape[0] for level in build_mips(torch.zeros(12, 20, 1))] == [12, 6, 3]
    assert len(build_mips(torch.zeros(7, 8, 1))) == 1
    assert len(build_mips(torch.zeros(64, 64, 1))) == 7
    assert len(build_mips(torch.zeros(64, 64, 1), max_levels=3)) == 3


def test_gradients_reach_the_texture_through_every_level() -> None:
    texture = random_like((4, 4, 2), seed=2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: tuple(defined_mips(t)[1:]), (texture,))


@pytest.mark.parametrize("size", [(4, 4), (64, 32), (24, 40), (5, 8), (256, 256)])
def test_levels_and_gradients_equal_the_definition(size: tuple[int, int]) -> None:
    own = random_like((*size, 3), seed=4).requires_grad_()
    exact = own.detach().double().requires_grad_()
    found, expected = build_mips(own), defined_mips(exact)
    assert len(found) == len(expected)
    upstream = [random_like(tuple(level.shape), seed=5 + k) for k, level in enumerate(expected)]
    for level, other in zip(found, expected):
        torch.testing.assert_close(level.double(), other, rtol=1e-5, atol=1e-6)
    torch.stack([(level * weight).sum() for level, weight in zip(found, upstream)]).sum().backward()
    torch.stack([(level * weight).sum() for level, weight in zip(expected, upstream)]).sum().backward()
    assert own.grad is not None and exact.grad is not None and exact.grad.abs().min() < exact.grad.abs().max()
    torch.testing.assert_close(own.grad.double(), exact.grad, rtol=1e-5, atol=1e-5)


def test_strided_textures_are_accepted() -> None:
    texture = random_like((3, 8, 8), seed=3).permute(1, 2, 0)
    expected = build_mips(texture.contiguous())
    assert all(torch.equal(a, b) for a, b in zip(build_mips(texture), expected))
