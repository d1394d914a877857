import pytest
import torch
from torch.nn.functional import normalize

from recon.light.cubemap import lookup
from recon.light.environment import EnvironmentLight, PrefilteredLight
from recon.light.fg_table import fg_table
from recon.render.shade import shade
from tests.recon.light.test_latlong import patch_probe


def test_known_light_shows_each_patch_in_its_direction_at_every_level():
    probe, colors = patch_probe()
    light = EnvironmentLight.known(probe, 16).prefilter()
    axes = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    torch.testing.assert_close(lookup(light.specular, axes), colors, atol=1e-4, rtol=0)
    for level in range(sum(r < 0.4 for r in light.roughness)):
        seen = lookup(light.specular, axes, torch.full((6, 1), float(level)))
        nearest = (
            torch.nn.functional.normalize(seen, dim=-1) @ torch.nn.functional.normalize(colors, dim=-1).T
        ).argmax(1)
        assert nearest.tolist() == list(range(6))


def test_known_light_is_prefiltered_once_without_gradient():
    light = EnvironmentLight.known(torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(0)))
    first = light.prefilter()
    assert light.prefilter() is first
    assert not list(light.parameters())
    assert not first.diffuse.requires_grad
    assert not light.is_trainable


@pytest.mark.parametrize(("columns", "expected"), [(16, 16), (100, 64), (128, 64), (1024, 256)])
def test_known_light_is_twice_as_fine_as_its_probe(columns, expected):
    """Around the horizon, four faces have 4 N texels."""
    assert EnvironmentLight.known(torch.ones(columns // 2, columns, 3)).resolution == expected


def test_trainable_light_starts_grey_and_learns_a_radiance():
    light = EnvironmentLight.trainable(8, initial=0.7)
    torch.testing.assert_close(light.cubemap(), torch.full((6, 8, 8, 3), 0.7))
    optimizer = torch.optim.Adam(light.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        loss = sum(((level - 5.0) ** 2).mean() for level in light.prefilter().specular)
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(light.cubemap(), torch.full((6, 8, 8, 3), 5.0), rtol=0.1, atol=0)


def test_a_pyramid_keeps_shading_out_of_the_base_color():
    """Why a light is learnt as a pyramid: texel by texel it comes late, and base color takes its place."""
    generator = torch.Generator().manual_seed(0)
    normal = normalize(torch.randn(2000, 3, generator=generator), dim=-1)
    to_camera = normalize(normal + 0.5 * torch.randn(2000, 3, generator=generator), dim=-1)
    cells = torch.randn(100, 3, generator=generator)
    cell = (normal @ normalize(cells, dim=-1).T).argmax(dim=1)
    rough, paint = torch.full((2000, 1), 0.3), torch.zeros(2000, 1)

    def shown(light: EnvironmentLight, color: torch.Tensor) -> torch.Tensor:
        open_to_light = torch.ones_like(paint)
        return shade(color, normal, rough, paint, open_to_light, to_camera, light.prefilter(), fg_table())

    probe, _ = patch_probe()
    truth = shown(EnvironmentLight.known(probe + 0.2, 16), torch.full((2000, 3), 0.6)).detach()

    def unevenness(whole: bool) -> float:
        """Of the base color of an even sphere, once it and the light have been learnt together."""
        light = EnvironmentLight.trainable(16)
        color = torch.zeros(100, 3, requires_grad=True)
        parts = list(light.parameters()) if whole else [light.log_pyramid[-1]]
        optimizer = torch.optim.Adam([*parts, color], lr=0.03)
        for _ in range(100):
            optimizer.zero_grad()
            (shown(light, color.sigmoid()[cell]) - truth).square().mean().backward()
            optimizer.step()
        learnt = color.detach().sigmoid()
        return float((learnt / learnt.mean(dim=0) - 1.0).abs().mean())

    assert unevenness(whole=True) < 0.7 * unevenness(whole=False)


def test_export_of_a_learnt_probe_keeps_orientation():
    probe, _ = patch_probe()
    image = EnvironmentLight.trainable_from(probe, 32).to_latlong(64, 128)
    assert not image.requires_grad
    difference = (image - probe).abs().amax(-1)
    assert (difference > 0.2).float().mean() < 0.1  # the patches' rims are softened
    torch.testing.assert_close(image[31, 32], torch.tensor([1.0, 0, 0]), atol=1e-3, rtol=0)


def test_fractional_level_is_linear_between_levels_and_clamped():
    light = PrefilteredLight(torch.empty(0), (), (0.1, 0.2, 0.6))
    roughness = torch.tensor([[0.0], [0.1], [0.15], [0.2], [0.5], [0.6], [1.0]], requires_grad=True)
    level = light.level(roughness)
    torch.testing.assert_close(level[:, 0].detach(), torch.tensor([0, 0, 0.5, 1, 1.75, 2, 2]))
    (gradient,) = torch.autograd.grad(level.sum(), roughness)
    torch.testing.assert_close(gradient[[2, 4], 0], torch.tensor([10.0, 2.5]))
    assert gradient[0] == 0 and gradient[6] == 0


def test_cubes_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(6, N, N, 3\)"):
        EnvironmentLight(torch.zeros(6, 12, 12, 3), trainable=False, node_size=0.5)
