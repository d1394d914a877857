"""Texture lookup of the Warp backend against its twin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recon.render.mipmaps import build_mips
from recon.render.warp_backend import WarpRasterizer
from tests.recon.render import reference_texture as reference
from tests.recon.render.scenes import random_like


@pytest.fixture
def rasterizer() -> WarpRasterizer:
    return WarpRasterizer("cpu")


def lookups(count: int) -> tuple[Tensor, Tensor]:
    """Coordinates in and around the unit square; footprints from a tenth of a texel to the whole image."""
    uv = random_like((count, 2), seed=1) * 4 - 2
    footprint = random_like((count, 2, 2), seed=2) - 0.5
    return uv, footprint * 10 ** (random_like((count, 1, 1), seed=3) * 3 - 2.7)


def test_values_and_gradients_equal_the_twin(rasterizer: WarpRasterizer) -> None:
    uv, footprint = lookups(400)
    uv.requires_grad_()
    mips = [level.detach().requires_grad_() for level in build_mips(random_like((16, 32, 3), seed=4))]
    values = rasterizer.texture(mips, uv, footprint)
    twin_uv = uv.detach().double().requires_grad_()
    twin_mips = [level.detach().double().requires_grad_() for level in mips]
    twin = reference.trilinear(twin_mips, twin_uv, footprint.double())
    level = reference.level_of(footprint, 16, 32, len(mips))
    assert level.min() == 0 and level.max() == len(mips) - 1 and (level.frac() > 0).sum() > 100
    assert torch.allclose(values.double(), twin, atol=1e-5)

    upstream = random_like(tuple(values.shape), seed=5) - 0.5
    values.backward(upstream)
    twin.backward(upstream.double())
    for own, other in zip([uv, *mips], [twin_uv, *twin_mips]):
        assert own.grad is not None and other.grad is not None and other.grad.abs().max() > 0.1
        assert torch.allclose(own.grad.double(), other.grad, atol=1e-4 * float(other.grad.abs().max()))


def test_without_a_footprint_only_the_finest_level_is_read(rasterizer: WarpRasterizer) -> None:
    uv, _ = lookups(50)
    mips = build_mips(random_like((8, 8, 2), seed=6))
    values = rasterizer.texture(mips, uv)
    assert torch.allclose(values.double(), reference.bilinear(mips[0].double(), uv.double()), atol=1e-5)


def test_row_zero_is_at_v_one_and_texel_centres_are_exact(rasterizer: WarpRasterizer) -> None:
    texture = torch.arange(12.0).view(3, 4, 1)
    uv = torch.tensor([[0.125, 1 - 0.5 / 3], [0.875, 1 - 0.5 / 3], [0.125, 0.5 / 3]])
    assert torch.allclose(rasterizer.texture([texture], uv)[:, 0], torch.tensor([0.0, 3.0, 8.0]), atol=1e-5)


def test_lookup_repeats_across_the_border(rasterizer: WarpRasterizer) -> None:
    texture = random_like((4, 4, 1), seed=7)
    edge = rasterizer.texture([texture], torch.tensor([[0.0, 0.625], [1.0, 0.625], [-3.0, 7.625]]))
    assert torch.allclose(edge, (texture[1, 0] + texture[1, 3]).expand(3, 1) / 2, atol=1e-6)


def test_wild_coordinates_and_footprints_do_no_harm(rasterizer: WarpRasterizer) -> None:
    mips = [level.detach().requires_grad_() for level in build_mips(random_like((4, 4, 1), seed=8))]
    uv = torch.tensor([[torch.nan, 0.5], [torch.inf, 0.5], [1e30, -1e30], [0.5, 0.5], [0.5, 0.5]])
    footprint = torch.zeros(5, 2, 2)
    footprint[3] = torch.inf
    footprint[4] = torch.nan
    values = rasterizer.texture(mips, uv, footprint)
    assert values[0].isnan() and values[1].isnan() and values[2:].isfinite().all()
    assert torch.isclose(values[3, 0], mips[-1][0, 0, 0])  # a footprint without end sees the mean


def test_the_weights_of_a_lookup_sum_to_one(rasterizer: WarpRasterizer) -> None:
    texture = random_like((8, 8, 2), seed=9).requires_grad_()
    uv, footprint = lookups(100)
    rasterizer.texture(build_mips(texture), uv, footprint).sum().backward()
    assert texture.grad is not None
    assert torch.allclose(texture.grad.sum((0, 1)), torch.full((2,), 100.0), rtol=1e-4)
