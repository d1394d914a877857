"""The fused losses against their definitions in torch, in double precision."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from recon.fused_losses import composite_losses
from recon.losses import BRANCH_LOSSES, COLOR_LOSSES, CompositeLoss

PAIRS = list(itertools.pairwise([*COLOR_LOSSES, "log_l1"]))


def random_pixels(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two images, coverage and reference of 2 x 7 x 5 pixels, with black, negative and very bright values."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 2, 7, 5, 3, generator=generator) ** 3 * 4
    images[:, :, 0] *= 1e-3
    images[:, :, 1] -= 2.0
    images[:, :, 2] *= 1e4
    images[:, :, 3, 0] = 0.0
    coverage = torch.rand(2, 7, 5, generator=generator)
    reference = torch.rand(2, 7, 5, 4, generator=generator)
    reference[..., :3] *= 3.0
    reference[:, 3, :2, :3] = 0.0
    reference[:, 4, :, 3] = 0.0
    reference[:, :, 4, 3] = 1.0
    return images[0], images[1], coverage, reference


def as_double(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("pair", PAIRS)
def test_values_and_gradients_equal_the_definitions(pair: tuple[str, str]) -> None:
    a = CompositeLoss(*pair, 0.35, 0.15, 0.5)
    b = CompositeLoss(*pair[::-1], 0.0, 0.8, 0.0)
    image_a, image_b, coverage, reference = random_pixels()
    found_inputs = [tensor.requires_grad_() for tensor in (image_a, image_b, coverage)]
    found = composite_losses((a, b), (image_a, image_b), coverage, reference)
    exact_inputs = as_double(image_a, image_b, coverage)
    exact_a, exact_b, exact_coverage = exact_inputs
    exact = (
        a(exact_a, exact_coverage[..., None], reference.double()),
        b(exact_b, exact_coverage[..., None], reference.double()),
    )
    for own, other in zip(found, exact):
        assert own.item() == pytest.approx(other.item(), rel=1e-5)
    (2.0 * found[0] + 3.0 * found[1]).backward()
    (2.0 * exact[0] + 3.0 * exact[1]).backward()
    for own, other in zip(found_inputs, exact_inputs):
        assert own.grad is not None and other.grad is not None
        assert other.grad.abs().max() > 1e-4
        torch.testing.assert_close(own.grad.double(), other.grad, rtol=2e-4, atol=1e-7)


def test_strided_images_are_read_as_they_lie() -> None:
    image_a, image_b, coverage, reference = random_pixels()
    packed = torch.cat([image_a, image_b, coverage[..., None]], dim=-1).requires_grad_()
    losses = BRANCH_LOSSES["a"], BRANCH_LOSSES["b"]
    views = packed.split((3, 3, 1), dim=-1)
    found = composite_losses(losses, views[:2], views[2][..., 0], reference)
    expected = composite_losses(losses, (image_a, image_b), coverage, reference)
    assert [value.item() for value in found] == [value.item() for value in expected]
    sum(found).backward()
    assert packed.grad is not None and (packed.grad.abs().amax(dim=(0, 1, 2)) > 0).all()


def test_each_loss_reaches_its_own_image_and_the_mask_only_where_it_weighs() -> None:
    inputs = [tensor.requires_grad_() for tensor in random_pixels()[:3]]
    reference = random_pixels()[3]
    a, b = composite_losses(
        (BRANCH_LOSSES["a"], BRANCH_LOSSES["b"]), (inputs[0], inputs[1]), inputs[2], reference
    )
    from_a = torch.autograd.grad(a, inputs, retain_graph=True, allow_unused=True)
    from_b = torch.autograd.grad(b, inputs, allow_unused=True)
    assert [gradient is None for gradient in from_a] == [False, True, False]
    assert [gradient is None for gradient in from_b] == [True, False, True]


def test_a_missing_loss_is_zero() -> None:
    image, _, coverage, reference = random_pixels()
    image.requires_grad_()
    joint, nothing = composite_losses(
        (BRANCH_LOSSES["joint"], None), (image, image.detach()), coverage, reference
    )
    assert nothing.item() == 0.0
    assert joint.item() == pytest.approx(BRANCH_LOSSES["joint"](image, coverage[..., None], reference).item())
    joint.backward()
    assert image.grad is not None and image.grad.abs().max() > 0


def test_a_broken_pixel_is_not_hidden() -> None:
    image, _, coverage, reference = random_pixels()
    image[0, 0, 0, 0] = torch.nan
    for name in COLOR_LOSSES:
        loss = CompositeLoss(name, name, 1.0, 0.0, 0.0)
        assert composite_losses((loss, None), (image, image), coverage, reference)[0].isnan()


@pytest.mark.parametrize("name", COLOR_LOSSES)
@pytest.mark.parametrize("prediction", [0.0, 1e-8, 1e6])
@pytest.mark.parametrize("value", [0.0, 0.3, 1e6])
def test_gradients_are_finite_for_black_and_for_fireflies(name: str, prediction: float, value: float) -> None:
    image = torch.full((1, 3), prediction, requires_grad=True)
    reference = torch.tensor([[value, value, value, 1.0]])
    loss = CompositeLoss(name, name, 1.0, 0.0, 0.0)
    total, _ = composite_losses((loss, None), (image, image.detach()), torch.ones(1), reference)
    total.backward()
    assert image.grad is not None and image.grad.isfinite().all() and total.isfinite()
    expected = image.detach().double().requires_grad_()
    loss(expected, torch.ones(1, 1).double(), reference.double()).backward()
    assert expected.grad is not None
    torch.testing.assert_close(image.grad.double(), expected.grad, rtol=1e-3, atol=1e-9)


def test_the_number_of_threads_does_not_show() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 300, 400, 3, generator=generator)
    reference = torch.rand(300, 400, 4, generator=generator)

    def run() -> list[Tensor]:
        leaves = [image.clone().requires_grad_() for image in images]
        losses = composite_losses(
            (BRANCH_LOSSES["a"], BRANCH_LOSSES["b"]), (leaves[0], leaves[1]), reference[..., 3], reference
        )
        sum(losses).backward()
        return [*losses, *(leaf.grad for leaf in leaves)]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = run()
        torch.set_num_threads(4)
        together = run()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first, second) for first, second in zip(alone, together))


def test_shapes_are_checked() -> None:
    image, _, coverage, reference = random_pixels()
    loss = BRANCH_LOSSES["a"]
    with pytest.raises(ValueError, match=r"\(\.\.\., 4\)"):
        composite_losses((loss, None), (image, image), coverage, reference[..., :3])
    with pytest.raises(ValueError, match=r"\(\.\.\., 3\)"):
        composite_losses((loss, None), (image[0], image), coverage, reference)
