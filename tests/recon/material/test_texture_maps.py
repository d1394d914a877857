import numpy as np
import pytest
import torch

from recon.color import linear_to_srgb
from recon.material.channels import Channels, ChannelSettings
from recon.material.texture_maps import TextureMaps, initial_maps

SETTINGS = ChannelSettings()


class TexelRasterizer:
    """Looks a texture up at whole texels of one mip level: enough to see what the maps hand over."""

    def __init__(self, level=0):
        self.level = level
        self.lookups = []

    def texture(self, mips, uv, footprint=None):
        self.lookups.append(mips[0].shape[-1])
        mip = mips[self.level]
        height, width, _ = mip.shape
        return mip[((1 - uv[:, 1]) * height).long(), (uv[:, 0] * width).long()]


def random_start(size=4):
    generator = torch.Generator().manual_seed(0)

    def noise(channels):
        return torch.rand(size, size, channels, generator=generator)

    normal = torch.nn.functional.normalize(noise(3) - torch.tensor([0.5, 0.5, -0.5]), dim=-1)
    return Channels(noise(3), normal, 0.1 + 0.8 * noise(1), noise(1), noise(1))


def texel_centers(size):
    v, u = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([(u + 0.5) / size, 1 - (v + 0.5) / size], -1).view(-1, 2)


def test_sampling_texels_returns_the_start_in_linear_light():
    start, rasterizer = random_start(), TexelRasterizer()
    maps = TextureMaps(start, SETTINGS, learn_occlusion=True)
    channels = maps.sample(texel_centers(4), None, rasterizer)
    for name in ("albedo", "normal", "roughness", "metallic", "occlusion"):
        torch.testing.assert_close(getattr(channels, name), getattr(start, name).view(16, -1))
    assert rasterizer.lookups == [6, 3]


def test_albedo_is_averaged_in_linear_light():
    black_and_white = torch.zeros(2, 2, 3)
    black_and_white[0] = 1.0
    flat = initial_maps(2, 2, SETTINGS)
    maps = TextureMaps(
        Channels(black_and_white, flat.normal, flat.roughness, flat.metallic, flat.occlusion), SETTINGS
    )
    albedo = maps.sample(torch.tensor([[0.5, 0.5]]), None, TexelRasterizer(level=1)).albedo
    torch.testing.assert_close(albedo, torch.full((1, 3), 0.5))


def test_filtered_normals_are_unit_length():
    maps = TextureMaps(random_start(), SETTINGS)
    normal = maps.sample(torch.tensor([[0.3, 0.3]]), None, TexelRasterizer(level=1)).normal
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(1))


def test_each_branch_receives_its_channels_gradient():
    maps = TextureMaps(random_start(), SETTINGS, learn_occlusion=True)
    channels = maps.sample(texel_centers(4), None, TexelRasterizer())
    groups = maps.parameter_groups()
    (channels.albedo.sum() + (channels.normal * torch.tensor([1.0, 2.0, 3.0])).sum()).backward(
        retain_graph=True
    )
    assert groups["b"][0].grad is None and (groups["a"][0].grad != 0).all()
    groups["a"][0].grad = None
    (channels.roughness + channels.metallic + channels.occlusion).sum().backward()
    assert groups["a"][0].grad is None and torch.equal(groups["b"][0].grad, torch.ones(4, 4, 3))


def test_one_pyramid_serves_several_lookups():
    maps, uv = TextureMaps(random_start(), SETTINGS), texel_centers(4)
    pyramid = maps.pyramid()
    first, second = (pyramid.sample(part, None, TexelRasterizer()) for part in (uv[:8], uv[8:]))
    (first.roughness.sum() + second.roughness.sum()).backward()
    assert torch.equal(maps.map_b.grad[..., 0], torch.ones(4, 4))


def test_clamp_restores_every_range():
    maps = TextureMaps(random_start(), SETTINGS, learn_occlusion=True)
    with torch.no_grad():
        maps.map_a.copy_(4 * torch.randn(4, 4, 6, generator=torch.Generator().manual_seed(1)))
        maps.map_a[0, 0, 3:] = torch.tensor([0.0, 0.0, -1.0])
        maps.map_b.copy_(4 * torch.randn(4, 4, 3, generator=torch.Generator().manual_seed(2)))
    maps.clamp_()
    a, b = maps.map_a.detach(), maps.map_b.detach()
    assert a[..., :3].min() == 0.0 and a[..., :3].max() == 1.0
    torch.testing.assert_close(a[..., 3:].norm(dim=-1), torch.ones(4, 4))
    assert a[..., 5].min() >= 0.0 and a[0, 0, 5] == 1.0
    assert b[..., 0].min() == pytest.approx(SETTINGS.roughness_min) and b[..., 0].max() == 1.0
    assert b[..., 1:].min() == 0.0 and b[..., 1:].max() == 1.0


def test_images_for_export():
    start = random_start()
    images = TextureMaps(start, SETTINGS, learn_occlusion=True).to_images()
    np.testing.assert_allclose(images["albedo"], linear_to_srgb(start.albedo).numpy(), atol=1e-6)
    np.testing.assert_allclose(images["normal"], 0.5 + 0.5 * start.normal.numpy(), atol=1e-6)
    for name in ("roughness", "metallic", "occlusion"):
        np.testing.assert_allclose(images[name], getattr(start, name).numpy(), atol=1e-6)


def test_channels_that_are_not_learnt_are_flat():
    maps = TextureMaps(random_start(), SETTINGS, learn_normal=False, learn_occlusion=False)
    rasterizer = TexelRasterizer()
    channels = maps.sample(texel_centers(4), None, rasterizer)
    assert rasterizer.lookups == [3, 2]
    assert torch.equal(channels.normal, torch.tensor([0.0, 0.0, 1.0]).expand(16, 3))
    assert torch.equal(channels.occlusion, torch.ones(16, 1))
    images = maps.to_images()
    assert images["normal"].shape == (4, 4, 3) and (images["normal"] == [0.5, 0.5, 1.0]).all()
    assert (images["occlusion"] == 1.0).all()


def test_initial_maps():
    images = TextureMaps(initial_maps(2, 4, SETTINGS), SETTINGS, learn_occlusion=True).to_images()
    expected = {"albedo": 0.5, "roughness": 0.25, "metallic": 0.05, "occlusion": 1.0}
    for name, value in expected.items():
        assert images[name].shape[:2] == (2, 4)
        np.testing.assert_allclose(images[name], value, atol=1e-6)
