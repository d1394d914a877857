import math

import pytest
import torch
from torch.nn.functional import normalize

from recon.data.cameras import Cameras
from recon.light.fg_table import fg_table
from recon.render.normal_variance import normal_variance
from recon.render.shade import shade
from recon.render.warp_backend import WarpRasterizer
from tests.recon.render import reference_normal_variance
from tests.recon.render.scenes import orbit_cameras
from tests.recon.render.test_shade import light_of
from tests.shapes import uv_sphere

RASTERIZER = WarpRasterizer("cpu")


def camera(size):
    """Looks at the unit sphere from afar, so that it is seen almost in parallel."""
    pose = torch.eye(4)
    pose[2, 3] = 40.0
    return Cameras(pose[None], torch.full((1, 2), 18.0 * size), torch.full((1, 2), size / 2), size, size)


def sphere(size):
    shape = uv_sphere(96, 192)
    vertices = torch.as_tensor(shape.vertices, dtype=torch.float32)
    faces = torch.as_tensor(shape.faces).long()
    raster = RASTERIZER.rasterize(vertices, faces, camera(size))
    positions = RASTERIZER.interpolate(vertices, raster, faces)
    return raster, normalize(positions, dim=-1)


def test_a_sphere_has_the_variance_of_its_curvature():
    raster, normal = sphere(96)
    variance = normal_variance(normal, raster)
    pixel = 40.0 / (18.0 * 96)  # length of a pixel at the sphere: its normals turn by as many radians
    center = normal[:, 2] > 0.999
    assert center.sum() > 4
    expected = torch.full_like(variance[center], 2 * pixel**2 / 12)
    torch.testing.assert_close(variance[center], expected, rtol=0.1, atol=0)
    assert torch.isfinite(variance).all()


def test_a_plane_has_none_and_neither_has_a_single_pixel():
    raster, normal = sphere(32)
    flat = torch.zeros_like(normal)
    flat[:, 2] = 1.0
    assert normal_variance(flat, raster).abs().max() == 0
    raster, normal = sphere(1)
    assert normal_variance(normal, raster).tolist() == [[0.0]]


def test_against_plain_torch():
    """Several views, wider than high; normals that vary at random, so that either neighbor may be nearer."""
    shape = uv_sphere(12, 24)
    vertices, faces = torch.as_tensor(shape.vertices).float(), torch.as_tensor(shape.faces).long()
    # The third of the views is empty.
    cameras = orbit_cameras(3, 40, 24)
    cameras.camera_to_world[2, :3, 3] += 50.0
    raster = RASTERIZER.rasterize(vertices, faces, cameras)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(raster.pixels), 3, generator=generator)
    noise *= torch.rand(len(noise), 1, generator=generator)
    normal = normalize(noise + torch.tensor([2.0, 0.0, 0.0]), dim=-1)
    variance = normal_variance(normal, raster)
    assert variance.unique().numel() > 0.5 * len(variance)
    assert (variance > 0.02499).any()
    torch.testing.assert_close(variance, reference_normal_variance.normal_variance(normal, raster))


@pytest.mark.parametrize("roughness", [0.1, 0.2])
def test_shading_with_it_is_closer_to_the_pixels_mean(roughness):
    """What it is for: without it, coarse pictures of a glossy surface look rougher than their material is."""
    light = light_of(lambda d: ((20.0 * d).sin().prod(-1, keepdim=True) > 0).float().expand_as(d), 128)

    def picture(size, with_variance):
        raster, normal = sphere(size)
        one = torch.ones(len(normal), 1)
        variance = normal_variance(normal, raster) if with_variance else None
        view = torch.tensor([0.0, 0.0, 1.0]).expand_as(normal)
        inputs = (0.0 * normal, normal, roughness * one, 0.0 * one, one, view)
        return raster.scatter(shade(*inputs, light, fg_table(), variance=variance))[0]

    fine = picture(256, False).view(32, 8, 32, 8, 3).mean(dim=(1, 3))
    raster, normal = sphere(32)
    inside = raster.scatter((normal[:, 2:] > math.cos(math.radians(50))).float())[0, ..., 0] > 0
    error = {with_: (picture(32, with_) - fine)[inside].square().mean() for with_ in (False, True)}
    assert error[True] < 0.5 * error[False]
