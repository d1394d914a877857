"""What the nvdiffrast backend makes of nvdiffrast's operations, with a stand-in for the package."""

from __future__ import annotations

import dataclasses
import sys

import pytest
import torch
from torch import Tensor

from recon.render.clip_space import clip_positions
from recon.render.mipmaps import build_mips
from recon.render.nvdiffrast_backend import NvdiffrastRasterizer
from recon.render.warp_backend import WarpRasterizer
from tests.recon.cuda import assert_aligned
from tests.recon.render import fake_nvdiffrast
from tests.recon.render import reference_raster as reference
from tests.recon.render.parity import assert_same_rendering
from tests.recon.render.scenes import front_camera, orbit_cameras, random_like, sphere, triangle_soup
from tests.recon.stages.scenes import coarse_scene


@pytest.fixture
def rasterizer(monkeypatch) -> NvdiffrastRasterizer:
    monkeypatch.setitem(sys.modules, "nvdiffrast", fake_nvdiffrast)
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", fake_nvdiffrast)
    return NvdiffrastRasterizer("cpu")


def test_clip_positions_are_the_cameras_projection() -> None:
    vertices, _ = sphere(6, 8)
    cameras = orbit_cameras(3, 48, 32)
    clip = clip_positions(vertices, cameras)
    pixels, depth = cameras.project(vertices)
    size = torch.tensor([48.0, 32.0])
    assert torch.allclose((clip[..., :2] / clip[..., 3:] + 1) / 2 * size, pixels, atol=1e-4)
    assert torch.allclose(clip[..., 3], depth, atol=1e-5)
    z = clip[..., 2] / clip[..., 3]
    assert (z > -1).all() and (z < 1).all()
    order = depth.argsort(dim=1)
    assert (z.gather(1, order).diff(dim=1) >= 0).all()


def test_vertices_behind_the_camera_lie_outside_the_depth_range() -> None:
    vertices = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.999], [0.0, 0.0, 5.0]])
    x, y, z, w = clip_positions(vertices, front_camera(8, 8))[0].unbind(-1)
    assert torch.isfinite(torch.stack([x, y, z, w])).all()
    assert z[0].abs() <= w[0] and z[1].abs() <= w[1] and z[2].abs() > w[2]


def test_visibility_equals_a_brute_force_z_buffer(rasterizer: NvdiffrastRasterizer) -> None:
    vertices, faces = triangle_soup(40, seed=1)
    cameras = orbit_cameras(3, 40, 28)
    expected, clear = reference.z_buffer(vertices.double(), faces, reference.as_double(cameras))
    raster = rasterizer.rasterize(vertices, faces, cameras)
    found = torch.full_like(expected, -1)
    found[raster.pixels] = raster.triangles
    assert clear.float().mean() > 0.8
    assert torch.equal(found[clear], expected[clear])
    assert torch.equal(raster.pixels, raster.pixels.sort().values)


def surface(rasterizer: NvdiffrastRasterizer | WarpRasterizer) -> dict[str, Tensor]:
    """Every operation but antialiasing on a sphere, with gradients."""
    points, faces = sphere(9, 12)
    vertices, cameras = points.requires_grad_(), orbit_cameras(2, 40, 28)
    uvs = (3 * random_like((len(points), 2), seed=1) - 1).requires_grad_()
    texels = random_like((16, 8, 3), seed=2).requires_grad_()
    uv_faces = faces.roll(1, dims=0)  # another index than the vertices'
    raster = rasterizer.rasterize(vertices, faces, cameras)
    uv = rasterizer.interpolate(uvs, raster, uv_faces)
    footprint = rasterizer.uv_footprint(uvs, raster, uv_faces)
    filtered = rasterizer.texture(build_mips(texels), uv, footprint)
    plain = rasterizer.texture([texels], uv)
    total = sum((values * random_like(tuple(values.shape), 4)).sum() for values in (uv, filtered, plain))
    gradients = torch.autograd.grad(total, (vertices, uvs, texels))
    values = {"barycentrics": raster.barycentrics, "uv": uv, "footprint": footprint}
    values |= {"filtered": filtered, "plain": plain, "pixels": raster.pixels, "triangles": raster.triangles}
    return values | dict(zip(("d vertices", "d uvs", "d texels"), gradients))


def test_operations_and_gradients_are_those_of_the_warp_backend(rasterizer: NvdiffrastRasterizer) -> None:
    expected, found = surface(WarpRasterizer("cpu")), surface(rasterizer)
    for name, values in expected.items():
        scale = float(values.detach().abs().max())
        assert scale > 0, name
        # Perspective by division here and by a ray there: float32 leaves 1e-4 on foreshortened triangles.
        worst = (found[name] - values).abs().max().item()
        assert worst < 1e-3 * scale, f"{name}: off by {worst / scale:.1e}"


def test_nothing_covered_gives_empty_values_that_can_be_differentiated(
    rasterizer: NvdiffrastRasterizer,
) -> None:
    points, faces = sphere(4, 5)
    vertices = (points + torch.tensor([100.0, 0.0, 0.0])).requires_grad_()
    for triangles in (faces, faces[:0]):
        raster = rasterizer.rasterize(vertices, triangles, front_camera(8, 8))
        assert raster.barycentrics.shape == (0, 3) and len(raster.pixels) == 0
        positions = rasterizer.interpolate(vertices, raster, triangles)
        texels = torch.rand(4, 4, 2, requires_grad=True)
        looked_up = rasterizer.texture([texels], positions[:, :2])
        footprint = rasterizer.uv_footprint(vertices[:, :2], raster, triangles)
        assert positions.shape == (0, 3) and looked_up.shape == (0, 2) and footprint.shape == (0, 2, 2)
        image = rasterizer.antialias(raster.scatter(positions), raster)
        (image.sum() + looked_up.sum()).backward()
        assert torch.equal(vertices.grad, torch.zeros_like(vertices))


def test_antialiasing_moves_vertices_unless_they_are_held_still(rasterizer: NvdiffrastRasterizer) -> None:
    points, faces = sphere(6, 8)
    vertices = points.requires_grad_()
    raster = rasterizer.rasterize(vertices, faces, front_camera(16, 12))
    image = torch.rand(1, 12, 16, 2)
    (gradient,) = torch.autograd.grad(rasterizer.antialias(image, raster).sum(), vertices)
    assert gradient.abs().max() > 0
    still = dataclasses.replace(raster, vertices=vertices.detach())
    assert not rasterizer.antialias(image, still).requires_grad


def test_antialiasing_is_that_of_the_warp_backend(rasterizer: NvdiffrastRasterizer) -> None:
    (points, faces), (near, near_faces) = sphere(9, 12), sphere(7, 9, 0.4, (0.5, 0.2, 1.2))
    points, faces = torch.cat([points, near]), torch.cat([faces, near_faces + len(points)])
    cameras = orbit_cameras(2, 40, 28)
    image, weight = random_like((2, 28, 40, 2), seed=3), random_like((2, 28, 40, 2), seed=4)
    results = []
    for backend in (WarpRasterizer("cpu"), rasterizer):
        vertices = points.clone().requires_grad_()
        smooth = backend.antialias(image, backend.rasterize(vertices, faces, cameras))
        (gradient,) = torch.autograd.grad((smooth * weight).sum(), vertices)
        results.append((smooth.detach(), gradient))
    (expected, expected_gradient), (found, found_gradient) = results
    assert ((expected - image).abs() > 0.01).any(dim=-1).sum() > 100
    assert torch.allclose(found, expected, atol=1e-5)
    assert_aligned("d vertices", found_gradient, expected_gradient, 0.9999, 1e-3)


def test_a_coarse_scene_looks_alike_and_teaches_the_same(rasterizer: NvdiffrastRasterizer) -> None:
    warp = WarpRasterizer("cpu")
    bounds = {"geometry": 0.999, "field": 0.9999}
    assert_same_rendering(coarse_scene(), warp, rasterizer, (48, 36), bounds, ratio=0.01, isolated=0.0)
