import pytest
import torch

from recon.material.hash_grid import HashGrid, as_fine_as_pixels, level_resolutions
from tests.recon.material.reference_hash_grid import encode
from usd_tools.errors import UserError

TABLE_LOG2 = 10  # 9^3 = 729 entries fit, 16^3 do not: the pyramid below has dense and hashed levels


def make(features=2, levels=5, seed=0):
    grid = HashGrid(
        levels, features, TABLE_LOG2, base=4, finest=60, generator=torch.Generator().manual_seed(seed)
    )
    # Entries of order one, so that relative errors mean something.
    grid.table.data *= 1e4
    return grid


def random_points(count=3000, seed=1):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))


def twin(grid, points, table):
    return encode(points, table, grid.resolutions.tolist(), TABLE_LOG2)


def both(grid, points):
    """(encoding, point gradient, table gradient) by the kernels and by the float64 twin."""
    generator = torch.Generator().manual_seed(2)
    upstream = torch.randn(len(points), grid.width, dtype=torch.float64, generator=generator)
    p, q = points.clone().requires_grad_(), points.double().requires_grad_()
    table = grid.table.detach().double().requires_grad_()
    ours, theirs = grid(p), twin(grid, q, table)
    grid.table.grad = None
    ours.backward(upstream.float())
    theirs.backward(upstream)
    return (ours, p.grad, grid.table.grad), (theirs, q.grad, table.grad)


@pytest.mark.parametrize("features", [1, 2, 4])
def test_values_and_gradients_equal_the_twin(features):
    grid = make(features)
    assert 0 in grid.masks and grid.masks.max() > 0
    ours, theirs = both(grid, random_points())
    # float32: a coordinate times N = 60 is exact to 60 * 6e-8, and the encoding's slope is of order one per
    # cell; the point gradient sums slopes of order N.
    torch.testing.assert_close(ours[0].double(), theirs[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(ours[1].double(), theirs[1], atol=5e-3, rtol=1e-4)
    torch.testing.assert_close(ours[2].double(), theirs[2], atol=1e-4, rtol=1e-4)
    for gradient in ours[1:]:
        assert (gradient.abs() > 1e-3).float().mean() > 0.2


def test_published_settings_equal_the_twin():
    """The finest published level reaches 4096 cells, where the hash's 32-bit products wrap around."""
    grid = HashGrid(generator=torch.Generator().manual_seed(0))
    assert grid.resolutions[0] == 16 and grid.resolutions[-1] == 4096 and grid.width == 32
    points = random_points(500)
    grid.table.data *= 1e4
    expected = encode(points.double(), grid.table.detach().double(), grid.resolutions.tolist(), 19)
    # 4096 * 6e-8 = 2.4e-4 of a cell, entries up to 1.
    torch.testing.assert_close(grid(points).double(), expected, atol=2e-3, rtol=0)


def test_points_on_faces_and_outside_are_clamped():
    grid = make()
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.5, 0.0]])
    torch.testing.assert_close(grid(points).double(), twin(grid, points.double(), grid.table.double()))
    outside = torch.tensor([[-0.5, 0.2, 0.3], [0.4, 1.5, 0.3]], requires_grad=True)
    values = grid(outside)
    torch.testing.assert_close(values, grid(outside.detach().clamp(0, 1)))
    values.sum().backward()
    assert outside.grad[0, 0] == 0 and outside.grad[1, 1] == 0
    assert outside.grad[0, 1] != 0 and outside.grad[1, 0] != 0


def test_point_gradient_is_computed_only_on_demand():
    grid = make()
    points = random_points(10)
    grid(points).sum().backward()
    assert points.grad is None and grid.table.grad.abs().max() > 0
    grid.table.requires_grad_(False)
    points.requires_grad_()
    grid(points).sum().backward()
    assert points.grad.abs().max() > 0


def test_table_gradient_does_not_depend_on_the_number_of_threads():
    threads = torch.get_num_threads()
    gradients = []
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            grid = make()
            grid(random_points(5000)).square().sum().backward()
            gradients.append(grid.table.grad)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])


def test_no_points():
    grid = make()
    points = torch.zeros(0, 3, requires_grad=True)
    encoded = grid(points)
    assert encoded.shape == (0, 10)
    encoded.sum().backward()
    assert points.grad.shape == (0, 3) and grid.table.grad.abs().max() == 0


def test_dense_levels_take_only_what_they_need():
    grid = HashGrid(levels=2, table_log2=19, base=16, finest=4096)
    assert len(grid.table) == 17**3 + 2**19
    assert grid.offsets.tolist() == [0, 17**3]


def test_level_resolutions():
    assert level_resolutions(1, 16, 4096) == [16]
    assert level_resolutions(9, 16, 4096) == [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]


@pytest.mark.parametrize(
    ("extent", "pixel", "cells"),
    [(2.0, 0.0043, 512), (2.0, 2 / 512, 512), (2.0, 2 / 513, 1024), (0.5, 0.0043, 128), (1.0, 3.0, 1)],
)
def test_one_to_two_cells_for_a_pixel(extent, pixel, cells):
    assert as_fine_as_pixels(extent, pixel) == cells


def test_pixels_without_a_size_are_refused():
    for extent, pixel in ((0.0, 0.1), (1.0, 0.0), (float("nan"), 0.1)):
        with pytest.raises(ValueError, match="positive lengths"):
            as_fine_as_pixels(extent, pixel)


def test_start_is_small_and_reproducible():
    first, second = (HashGrid(2, generator=torch.Generator().manual_seed(4)).table for _ in range(2))
    assert torch.equal(first, second)
    assert 0.9e-4 < first.abs().max() <= 1e-4 and abs(first.mean()) < 1e-6


def test_checkpoint_holds_the_table_alone():
    assert list(make().state_dict()) == ["table"]


def test_points_of_another_shape_or_type_are_refused():
    for bad in (torch.zeros(5, 2), torch.zeros(3), torch.zeros(5, 3, dtype=torch.float64)):
        with pytest.raises(ValueError, match="float32 points"):
            make()(bad)


def test_bad_settings_are_refused():
    for settings in (
        {"levels": 0},
        {"levels": 33},
        {"features": 0},
        {"table_log2": 40},
        {"base": 32, "finest": 16},
    ):
        with pytest.raises(UserError, match="hash grid"):
            HashGrid(**settings)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu():
    results = []
    for device in ("cpu", "cuda"):
        grid = make().to(device)
        points = random_points().to(device).requires_grad_()
        encoded = grid(points)
        encoded.square().sum().backward()
        results.append([x.detach().cpu() for x in (encoded, points.grad, grid.table.grad)])
    # Atomic additions come in any order: a few float32 roundings of sums of up to some hundred terms.
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)
