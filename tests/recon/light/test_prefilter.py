import math

import pytest
import torch

from recon.light.cubemap import add_border, lookup, texel_directions, texel_solid_angles
from recon.light.environment import PrefilteredLight
from recon.light.prefilter import Prefilter, SparseMatrix, level_resolution, pyramid, roughness_levels
from tests.recon.light import reference_light


def sun_cube(resolution, seed=0):
    """Noise in [0, 1] with a two-texel sun."""
    cube = torch.rand(6, resolution, resolution, 3, generator=torch.Generator().manual_seed(seed))
    cube[4, resolution // 3, resolution // 4 : resolution // 4 + 2] = torch.tensor([3000.0, 2000.0, 1000.0])
    return cube


def energy(cube):
    return (cube * texel_solid_angles(cube.shape[1])[None, :, :, None]).sum()


@pytest.mark.parametrize("roughness", [0.05, 0.08, 0.1, 0.15, 0.3, 0.6, 1.0, None])
def test_each_level_matches_the_brute_force_integral_around_a_sun(roughness):
    cube = sun_cube(16)
    levels, diffuse = Prefilter(16, (roughness or 0.5,)).once(cube)
    level = (levels[0] if roughness else diffuse).reshape(-1, 3)
    # Anywhere, and the texels around the sun, where the lobe is steepest.
    anywhere = torch.randperm(len(level), generator=torch.Generator().manual_seed(1))[:12]
    chosen = torch.cat([anywhere, level.sum(-1).topk(12).indices])
    normals = texel_directions(16).reshape(-1, 3)[chosen]
    subdivide = 8 if roughness is None or roughness > 0.12 else 24 if roughness > 0.06 else 40
    expected = torch.cat(
        [reference_light.prefilter(cube, rows, roughness, subdivide) for rows in normals.split(6)]
    )
    # 4 %: nodes are averages of noise; the sun itself is taken texel by texel.
    torch.testing.assert_close(level[chosen].double(), expected, rtol=0.04, atol=0.01)


@pytest.mark.parametrize("roughness", [0.06, 0.2, 0.6])
def test_known_light_and_tables_agree_lobe_by_lobe(roughness):
    """The walk that uses weights up at once against the one that keeps them; no texel is taken alone."""
    cube = sun_cube(16)
    prefilter = Prefilter(16, (roughness,))
    ((kept,), kept_diffuse), ((used,), used_diffuse) = prefilter(cube), prefilter.once(cube, bright_texels=0)
    torch.testing.assert_close(used, kept, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(used_diffuse, kept_diffuse, rtol=1e-4, atol=1e-5)


def test_lobes_that_share_a_walk_are_as_exact_as_each_alone():
    """More lobes of one resolution than a walk takes, from a fifth of a texel's width to the hemisphere's."""
    cube = sun_cube(16)
    roughness = (0.05, 0.08, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9)
    levels, _ = Prefilter(16, roughness).once(cube)
    normals = texel_directions(16).reshape(-1, 3)
    chosen = torch.randperm(len(normals), generator=torch.Generator().manual_seed(1))[:8]
    for value, level in zip(roughness, levels):
        subdivide = 8 if value > 0.12 else 24 if value > 0.06 else 40
        expected = reference_light.prefilter(cube, normals[chosen], value, subdivide)
        torch.testing.assert_close(level.reshape(-1, 3)[chosen].double(), expected, rtol=0.04, atol=0.01)
        ((alone,), _) = Prefilter(16, (value,)).once(cube)
        torch.testing.assert_close(level, alone, rtol=0.06, atol=0.01)


@pytest.mark.parametrize(("node_size", "tolerance"), [(0.5, 0.06), (0.25, 0.02)])
def test_trainable_tables_match_the_brute_force_integral_of_a_smooth_light(node_size, tolerance):
    cube = reference_light.smooth_radiance(0)(texel_directions(16))
    roughness = (0.3, 1.0)
    levels, diffuse = Prefilter(16, roughness, node_size=node_size)(cube)
    for value, level in zip((*roughness, None), (*levels, diffuse)):
        normals = texel_directions(level.shape[1]).reshape(-1, 3)[::41]
        expected = reference_light.prefilter(cube, normals, value, 4)
        torch.testing.assert_close(level.reshape(-1, 3)[::41].double(), expected, rtol=tolerance, atol=0.0)


def test_constant_light_stays_constant_and_the_sphere_keeps_its_energy():
    prefilter = Prefilter(16)
    levels, diffuse = prefilter(torch.full((6, 16, 16, 3), 2.0))
    for level in (*levels, diffuse):
        torch.testing.assert_close(level, torch.full_like(level, 2.0), atol=1e-4, rtol=0)
    cube = sun_cube(16)
    levels, diffuse = prefilter.once(cube)
    for level in (*levels, diffuse):
        assert energy(level) == pytest.approx(energy(cube).item(), rel=0.02)


def test_level_zero_is_the_cubemap_itself():
    cube = sun_cube(16)
    levels, _ = Prefilter(16, (0.0, 0.5))(cube)
    assert torch.equal(levels[0], cube)


def test_pyramid_means_keep_energy():
    cube = sun_cube(8)
    texels = pyramid(cube)
    assert len(texels) == 6 * (1 + 4 + 16 + 64)
    assert (texels[:6] * (4 * math.pi / 6)).sum() == pytest.approx(energy(cube).item(), rel=1e-5)
    torch.testing.assert_close(texels[-384:], cube.reshape(-1, 3))


def test_gradient_is_the_transpose_of_the_linear_map():
    """<y, A x> = <A^T y, x> for random x and y, and the gradient reaches every texel."""
    prefilter = Prefilter(8, (0.0, 0.2, 0.6))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 8, 8, 3, generator=generator, requires_grad=True)
    levels, diffuse = prefilter(x)
    outputs = (*levels, diffuse)
    y = [torch.randn(out.shape, generator=generator) for out in outputs]
    forward = sum((a * b).double().sum() for a, b in zip(outputs, y))
    (gradient,) = torch.autograd.grad(outputs, x, y)
    assert (gradient.double() * x).sum().item() == pytest.approx(forward.item(), rel=1e-4)
    assert gradient.abs().min() > 0


def test_gradient_matches_finite_differences():
    prefilter = Prefilter(8, (0.3,))
    cube = torch.rand(6, 8, 8, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.randn(6, 8, 8, 3, generator=torch.Generator().manual_seed(1))
    ((level,), _) = prefilter(cube)
    (gradient,) = torch.autograd.grad(
        (level[:, :8, :8] * weights[:, : level.shape[1], : level.shape[1]]).sum(), cube
    )
    for index in ((0, 0, 0, 0), (3, 4, 5, 1), (5, 7, 7, 2)):
        step = torch.zeros_like(cube)
        step[index] = 0.5  # the map is linear, so a large step costs no accuracy
        with torch.no_grad():
            high, low = prefilter(cube + step)[0][0], prefilter(cube - step)[0][0]
        n = level.shape[1]
        assert ((high - low) * weights[:, :n, :n]).sum().item() == pytest.approx(
            gradient[index].item(), abs=1e-4
        )


def test_levels_are_dense_enough_between_them():
    """Interpolated levels against levels filtered at the roughness itself, with a sun in the light."""
    cube = sun_cube(32)
    roughness = roughness_levels(32)
    levels, diffuse = Prefilter(32).once(cube)
    light = PrefilteredLight(add_border(diffuse), tuple(map(add_border, levels)), roughness)
    directions = texel_directions(32).reshape(-1, 3)[::11]
    for value in (0.12, 0.25, 0.5):
        exact = add_border(Prefilter(32, (value,)).once(cube)[0][0])
        expected = lookup((exact,), directions)
        found = lookup(light.specular, directions, light.level(torch.full((len(directions), 1), value)))
        error = (found - expected).abs() / expected
        assert error.mean() < 0.05
        assert error.max() < 0.35


def test_narrow_lobes_get_fine_levels_and_wide_ones_coarse():
    assert level_resolution(0.05, 128) == 128
    assert level_resolution(0.0, 64) == 64
    assert level_resolution(1.0, 128) == 16
    assert level_resolution(1.0, 8) == 8
    levels = roughness_levels(128)
    assert levels[0] == 0 and levels[-1] == 1 and list(levels) == sorted(levels)


@pytest.mark.parametrize("resolution", [0, 1, 12])
def test_resolutions_that_are_no_power_of_two_are_refused(resolution):
    with pytest.raises(ValueError, match="power of two"):
        Prefilter(resolution)


def test_roughness_that_does_not_ascend_is_refused():
    with pytest.raises(ValueError, match="ascending"):
        Prefilter(8, (0.5, 0.2))


def test_products_by_rows_and_by_pieces_are_those_of_the_dense_matrix():
    """Rows without entries, shorter than a piece, exactly as long, and of many pieces."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([0, 3, 256, 0, 2000, 257, 1])
    columns = torch.randint(0, 50, (int(counts.sum()),), generator=generator)
    weights = torch.rand(len(columns), generator=generator)
    first = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    matrix = SparseMatrix(first, columns.int(), weights)
    values = torch.randn(50, 3, generator=generator)
    rows = torch.repeat_interleave(torch.arange(len(counts)), counts)
    dense = torch.zeros(len(counts), 50, dtype=torch.float64)
    dense.index_put_((rows, columns), weights.double(), accumulate=True)
    expected = (dense @ values.double()).float()
    torch.testing.assert_close(matrix.by_rows(values), expected, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(matrix.by_pieces(values), expected, atol=1e-3, rtol=1e-5)
    gradient = torch.randn(len(counts), 3, generator=generator)
    back = matrix.transpose(50).by_pieces(gradient)
    torch.testing.assert_close(back, (dense.T @ gradient.double()).float(), atol=1e-3, rtol=1e-5)
