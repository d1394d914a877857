import math

import pytest
import torch

from recon.light.cubemap import (
    add_border,
    face_axes,
    locate,
    lookup,
    texel_directions,
    texel_solid_angles,
    upsample,
)
from tests.recon.light import reference_light


def random_directions(count, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=dtype), dim=-1)


def random_levels(resolutions=(8, 6, 4), seed=1):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(6, n + 2, n + 2, 3, generator=generator) for n in resolutions)


def test_faces_are_opengl_order_and_each_axis_hits_its_face_centre():
    axes = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    face, s, t = locate(axes)
    assert face.tolist() == list(range(6))
    assert s.abs().max() == 0 and t.abs().max() == 0
    torch.testing.assert_close(face_axes()[:, 0], axes)


def test_locate_inverts_texel_directions():
    face, s, t = locate(texel_directions(5).reshape(-1, 3))
    assert face.view(6, 25).eq(torch.arange(6)[:, None]).all()
    centres = (torch.arange(5) + 0.5) * 0.4 - 1
    torch.testing.assert_close(s.view(6, 5, 5), centres.expand(6, 5, 5))
    torch.testing.assert_close(t.view(6, 5, 5), centres[:, None].expand(6, 5, 5))


@pytest.mark.parametrize("resolution", [1, 2, 16])
def test_solid_angles_sum_to_the_sphere(resolution):
    assert 6 * texel_solid_angles(resolution, dtype=torch.float64).sum() == pytest.approx(4 * math.pi, 1e-12)


@pytest.mark.parametrize("resolution", [1, 2, 8])
def test_border_repeats_the_nearest_texels_across_the_edge(resolution):
    """The rim of a map of directions points next to where the rim itself lies, corners straight outward."""
    bordered = add_border(texel_directions(resolution))
    assert bordered.shape == (6, resolution + 2, resolution + 2, 3)
    axes = face_axes()
    outside = torch.cat(
        [torch.tensor([-1.001]), (torch.arange(resolution) + 0.5) * 2 / resolution - 1, torch.tensor([1.001])]
    )
    points = axes[:, None, None, 0] + outside[None, None, :, None] * axes[:, None, None, 1]
    points = torch.nn.functional.normalize(
        points + outside[None, :, None, None] * axes[:, None, None, 2], dim=-1
    )
    angle = torch.acos((torch.nn.functional.normalize(bordered, dim=-1) * points).sum(-1).clamp(-1, 1))
    assert angle[:, 1:-1].max() < 1.3 / resolution
    corners = torch.nn.functional.normalize(bordered[:, :: resolution + 1, :: resolution + 1], dim=-1)
    torch.testing.assert_close(corners.abs(), torch.full_like(corners, 3**-0.5))
    torch.testing.assert_close(corners, points[:, :: resolution + 1, :: resolution + 1], atol=2e-3, rtol=0)


def test_border_gradient():
    faces = torch.randn(6, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(add_border, faces)


@pytest.mark.parametrize("resolution", [1, 2, 8])
def test_upsampling_shows_between_texels_what_a_lookup_finds_there(resolution):
    faces = torch.randn(6, resolution, resolution, 3, generator=torch.Generator().manual_seed(3))
    expected = lookup((add_border(faces),), texel_directions(2 * resolution).reshape(-1, 3))
    torch.testing.assert_close(upsample(faces).reshape(-1, 3), expected, atol=1e-5, rtol=0)


def test_upsampling_gradient():
    faces = torch.randn(6, 3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    assert torch.autograd.gradcheck(upsample, faces.requires_grad_())


def test_lookup_is_continuous_across_every_edge_and_corner():
    """Steps of 2e-5 along great circles: no step jumps more than the steepest texel slope allows."""
    bordered = add_border(torch.rand(6, 4, 4, 3, generator=torch.Generator().manual_seed(3)))
    angle = torch.linspace(0, 2 * math.pi, 20001)[:, None]
    worst = 0.0
    for axis in (*torch.eye(3), torch.tensor([0.0, 1, -1]) / 2**0.5, torch.tensor([1.0, -1, 0]) / 2**0.5):
        u = torch.nn.functional.normalize(torch.linalg.cross(axis, axis.roll(1) + 0.1), dim=0)
        path = torch.cos(angle) * u + torch.sin(angle) * torch.linalg.cross(axis, u)
        worst = max(worst, lookup((bordered,), path).diff(dim=0).abs().max().item())
    step, steepest = 2 * math.pi / 20000, 4 / 2 * 2 * 3
    assert 1e-5 < worst < step * steepest


def test_lookup_of_texel_centres_returns_the_texels():
    texels = torch.randn(6, 7, 7, 3, generator=torch.Generator().manual_seed(5))
    found = lookup((add_border(texels),), texel_directions(7).reshape(-1, 3))
    torch.testing.assert_close(found, texels.reshape(-1, 3), atol=1e-5, rtol=0)


def test_lookup_matches_the_reference_and_ignores_length():
    levels, directions = random_levels(), random_directions(5000)
    level = torch.rand(5000, 1, generator=torch.Generator().manual_seed(2)) * 3 - 0.5
    expected = reference_light.lookup(levels, directions.double(), level.double())
    torch.testing.assert_close(lookup(levels, directions, level).double(), expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(lookup(levels, directions * 3, level).double(), expected, atol=2e-5, rtol=0)
    single = reference_light.lookup(levels[:1], directions.double(), torch.zeros(5000, 1).double())
    torch.testing.assert_close(lookup(levels, directions).double(), single, atol=2e-5, rtol=0)


def test_lookup_gradients_match_the_float64_reference():
    levels, directions = random_levels(), random_directions(3000)
    level = torch.rand(3000, 1, generator=torch.Generator().manual_seed(2)) * 1.9 + 0.05
    weights = torch.randn(3000, 3, generator=torch.Generator().manual_seed(4))
    single = [x.clone().requires_grad_() for x in (directions, level, *levels)]
    double = [x.double().requires_grad_() for x in (directions, level, *levels)]
    ours = torch.autograd.grad((lookup(tuple(single[2:]), *single[:2]) * weights).sum(), single)
    twin = reference_light.lookup(tuple(double[2:]), *double[:2])
    theirs = torch.autograd.grad((twin * weights.double()).sum(), double)
    for a, b in zip(ours, theirs):
        assert b.abs().max() > 0.1, "a gradient that is zero everywhere would prove nothing"
        # Float32 directions can land a texel off right at a texel centre: compare all but a handful.
        off = (a.double() - b).abs() > 2e-3 * (1 + b.abs())
        assert off.double().mean() < 1e-3


def test_level_gradient_is_zero_outside_the_range():
    level = torch.tensor([[-0.5], [0.5], [2.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(lookup(random_levels(), random_directions(3), level).sum(), level)
    assert gradient[0] == 0 and gradient[2] == 0 and gradient[1] != 0


def test_only_the_asked_for_gradients_are_computed(monkeypatch):
    from recon.light import cubemap

    launched = []
    monkeypatch.setattr(cubemap, "launch", lambda kernel, *a, **k: launched.append(kernel.key))
    levels = tuple(x.requires_grad_() for x in random_levels())
    directions = random_directions(10).requires_grad_()
    out = lookup(levels, directions, torch.full((10, 1), 0.5))
    torch.autograd.grad(out.sum(), directions, retain_graph=True)
    torch.autograd.grad(out.sum(), levels)
    assert launched == ["_lookup_kernel", "_lookup_coordinates_kernel", "_lookup_texels_kernel"]
