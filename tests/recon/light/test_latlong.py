import math

import pytest
import torch

from recon.light import latlong
from recon.light.cubemap import texel_directions, texel_solid_angles


def test_orientation_of_the_contract():
    """Centre column +Z, column at a quarter of the width +X, top row +Y."""
    u = torch.tensor([[0.5, 0.5], [0.25, 0.5], [0.75, 0.5], [0.5, 0.0], [0.5, 1.0]])
    expected = torch.tensor([[0.0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    torch.testing.assert_close(latlong.uv_to_directions(u), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(latlong.directions_to_uv(expected[:3]), u[:3], atol=1e-6, rtol=0)


def test_uv_round_trip():
    uv = torch.rand(100, 2, generator=torch.Generator().manual_seed(0)) * 0.98 + 0.01
    back = latlong.directions_to_uv(latlong.uv_to_directions(uv) * 2.0)
    torch.testing.assert_close(back, uv, atol=1e-5, rtol=0)


def test_sampling_at_pixel_centres_returns_the_pixels_and_wraps():
    image = torch.rand(8, 16, 3, generator=torch.Generator().manual_seed(0))
    found = latlong.sample_latlong(image, latlong.pixel_directions(8, 16))
    torch.testing.assert_close(found, image, atol=1e-4, rtol=0)
    seam = latlong.sample_latlong(image, latlong.uv_to_directions(torch.tensor([[0.0, 4.5 / 8]])))
    torch.testing.assert_close(seam[0], (image[4, 0] + image[4, -1]) / 2, atol=1e-4, rtol=0)


def sample_slowly(image, direction):
    """Bilinear lookup of one direction in double precision: around in u, clamped in v."""
    height, width, _ = image.shape
    x, y, z = direction
    u = (0.5 - math.atan2(x, z) / (2 * math.pi)) * width - 0.5
    v = min(max(math.atan2(math.hypot(x, z), y) / math.pi * height - 0.5, 0), height - 1)
    left, top = math.floor(u), math.floor(v)
    total = torch.zeros(3, dtype=torch.float64)
    for row, by_row in ((top, 1 - (v - top)), (min(top + 1, height - 1), v - top)):
        for column, by_column in ((left, 1 - (u - left)), (left + 1, u - left)):
            total += image[row, column % width] * by_row * by_column
    return total


def test_sampling_is_the_slow_references_at_seam_and_poles_too():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(64, 128, 3, generator=generator)
    seam = [[1e-7, 0.3, -1], [-1e-7, 0.3, -1], [0.0, 0.3, -1], [-0.0, 0.3, -1], [0.02, -0.5, -1]]
    poles = [[0, 1, 0], [0, -1, 0], [1e-9, 1, 0], [0, 1, -1e-6], [1e-6, -1, 1e-6], [0.01, 1, -0.01]]
    directions = torch.cat([torch.randn(500, 3, generator=generator), torch.tensor([*seam, *poles])])
    expected = torch.stack([sample_slowly(image.double(), direction.tolist()) for direction in directions])
    found = latlong.sample_latlong(image, directions)
    torch.testing.assert_close(found.double(), expected, atol=5e-5, rtol=0)


def test_sampling_has_the_gradient_of_its_pixels():
    image = torch.rand(6, 12, 3, dtype=torch.float64, requires_grad=True)
    directions = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda pixels: latlong.sample_latlong(pixels, directions), (image,))


def patch_probe():
    """One coloured patch per axis on black."""
    probe = torch.zeros(64, 128, 3)
    directions = latlong.pixel_directions(64, 128)
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
    for f, axis in enumerate(((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))):
        probe[(directions @ torch.tensor(axis).float()) > 0.9] = colors[f]
    return probe, colors


def test_each_axis_patch_lands_on_its_face():
    probe, colors = patch_probe()
    assert probe[31, 64].tolist() == colors[4].tolist(), "the centre column looks at +Z"
    assert probe[31, 32].tolist() == colors[0].tolist(), "a quarter of the width looks at +X"
    assert probe[0, 0].tolist() == colors[2].tolist(), "the top row looks at +Y"
    cube = latlong.to_cubemap(probe, 16)
    torch.testing.assert_close(cube[:, 8, 8], colors, atol=1e-5, rtol=0)


@pytest.mark.parametrize("resolution", [8, 32, 128])
@pytest.mark.parametrize("row", [0, 1, 2, 20, 33, 62, 63])
def test_a_one_pixel_sun_keeps_its_energy(resolution, row):
    probe = torch.zeros(64, 128, 3)
    probe[row, 37] = 1e4
    energy = (probe * latlong.pixel_solid_angles(64, 128)[..., None]).sum()
    cube = latlong.to_cubemap(probe, resolution)
    found = (cube * texel_solid_angles(resolution)[None, :, :, None]).sum()
    assert found == pytest.approx(energy.item(), rel=0.004)


def test_an_even_probe_stays_even_up_to_the_poles():
    cube = latlong.to_cubemap(torch.full((16, 32, 3), 2.5), 9)  # odd: a sample looks straight at the pole
    torch.testing.assert_close(cube, torch.full((6, 9, 9, 3), 2.5), atol=1e-5, rtol=0)


def test_resampling_has_the_gradient_of_its_pixels():
    image = torch.rand(6, 12, 3, requires_grad=True, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    weights[2, 1, 1] = 100.0  # the texel around the pole
    (latlong.to_cubemap(image, 3) * weights).sum().backward()
    step = torch.randn(6, 12, 3, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():  # linear in its pixels: one difference is exact
        change = ((latlong.to_cubemap(image + step, 3) - latlong.to_cubemap(image, 3)) * weights).sum()
    assert (image.grad * step).sum().item() == pytest.approx(change.item(), rel=1e-4)
    assert bool((image.grad != 0).all())


def test_export_keeps_energy_and_position():
    cube = torch.zeros(6, 32, 32, 3)
    cube[4, 10, 20] = 500.0
    image = latlong.to_latlong(cube, 64, 128)
    energy = (image * latlong.pixel_solid_angles(64, 128)[..., None]).sum()
    expected = (cube * texel_solid_angles(32)[None, :, :, None]).sum()
    assert energy == pytest.approx(expected.item(), rel=0.01)
    peak = image[..., 0].argmax().item()
    direction = latlong.pixel_directions(64, 128).reshape(-1, 3)[peak]
    assert direction @ texel_directions(32)[4, 10, 20] > 0.999


def test_round_trip_of_a_smooth_probe():
    directions = latlong.pixel_directions(64, 128)
    probe = 1.0 + 0.5 * directions
    back = latlong.to_latlong(latlong.to_cubemap(probe, 64), 64, 128)
    torch.testing.assert_close(back, probe, atol=0.02, rtol=0)
