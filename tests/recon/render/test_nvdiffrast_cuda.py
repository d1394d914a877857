"""nvdiffrast gives what Warp gives on the same GPU: triangles, values, gradients and whole images.

What may differ is which triangle a pixel shows whose centre lies on an edge to within nvdiffrast's rounding
(see `tests.recon.render.parity`); such pixels are left out of the comparison of values. Where a tolerance
is said to be measured, it was so on a CPU, with Warp's visibility of vertices that were rounded the same way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recon.render.interface import Raster, Rasterizer
from recon.render.mipmaps import build_mips
from recon.render.warp_backend import WarpRasterizer
from recon.stages.fine_scene import FineScene
from tests.recon.cuda import CUDA, assert_aligned, needs_nvdiffrast
from tests.recon.render.parity import (
    assert_same_image,
    assert_same_rendering,
    assert_same_visibility,
    same_triangle,
)
from tests.recon.render.scenes import orbit_cameras, random_like, sphere, triangle_soup
from tests.recon.stages.scenes import coarse_scene, sphere_mesh, texture_maps

pytestmark = needs_nvdiffrast


def rasterizers() -> tuple[Rasterizer, Rasterizer]:
    from recon.render.nvdiffrast_backend import NvdiffrastRasterizer

    return WarpRasterizer(CUDA), NvdiffrastRasterizer(CUDA)


def test_the_same_triangles_are_seen_but_for_pixels_on_their_edges() -> None:
    for vertices, faces in (sphere(20, 30), triangle_soup(60, seed=1)):
        # Odd sizes: nvdiffrast renders in tiles of 8 pixels and crops.
        cameras = orbit_cameras(3, 201, 155).to(CUDA)
        warp, nvdiffrast = (r.rasterize(vertices.to(CUDA), faces.to(CUDA), cameras) for r in rasterizers())
        different = assert_same_visibility(warp, nvdiffrast)
        # Measured: 0.4 % and 0.3 %.
        assert different < 0.01 * len(warp.pixels), f"{different} of {len(warp.pixels)} pixels differ"
        assert torch.equal(nvdiffrast.pixels, nvdiffrast.pixels.sort().values)


def surface(rasterizer: Rasterizer, mask: Tensor | None) -> tuple[Raster, dict[str, Tensor]]:
    """Every operation but antialiasing on a sphere; gradients of what `mask` (per pixel) lets through."""
    points, faces = sphere(20, 30)
    vertices, faces = points.to(CUDA).requires_grad_(), faces.to(CUDA)
    cameras = orbit_cameras(3, 160, 120).to(CUDA)
    uvs = (3 * random_like((len(points), 2), seed=1) - 1).to(CUDA).requires_grad_()
    uv_faces = faces.roll(1, dims=0)
    raster = rasterizer.rasterize(vertices, faces, cameras)
    uv = rasterizer.interpolate(uvs, raster, uv_faces)
    positions = rasterizer.interpolate(vertices, raster, faces)
    footprint = rasterizer.uv_footprint(uvs, raster, uv_faces)
    values = {"uv": uv, "positions": positions, "barycentrics": raster.barycentrics}
    values["footprint"] = footprint.flatten(1)
    dense = {name: raster.scatter(value).flatten(0, 2) for name, value in values.items()}
    if mask is not None:
        weights = {name: random_like(tuple(dense[name].shape), 3).to(CUDA) * mask[:, None] for name in dense}
        total = sum((dense[name] * weights[name]).sum() for name in ("uv", "positions", "barycentrics"))
        gradients = torch.autograd.grad(total, (vertices, uvs))
        dense |= {"d vertices": gradients[0], "d uvs": gradients[1]}
    return raster, dense


def test_interpolation_barycentrics_footprints_and_their_gradients_agree() -> None:
    warp, nvdiffrast = rasterizers()
    mask = same_triangle(surface(warp, None)[0], surface(nvdiffrast, None)[0])
    assert mask.sum() > 5000
    _, expected = surface(warp, mask)
    _, found = surface(nvdiffrast, mask)
    for name in ("uv", "positions", "barycentrics", "footprint"):
        error = (found[name] - expected[name])[mask].abs()
        scale = expected[name][mask].abs().max().item()
        # Foreshortened triangles lose digits in both; nvdiffrast solves in clip space, Warp along the ray.
        assert float(error.max()) < 1e-2 * scale, f"{name}: worst error {float(error.max()) / scale:.2e}"
        assert float(error.mean()) < 1e-4 * scale, f"{name}: mean error {float(error.mean()) / scale:.2e}"
    assert_aligned("d uvs", found["d uvs"], expected["d uvs"], 0.9999, 1e-3)
    assert_aligned("d vertices", found["d vertices"], expected["d vertices"], 0.999, 1e-2)


def test_texture_lookups_and_their_gradients_agree() -> None:
    uv = (4 * random_like((5000, 2), 5) - 2).to(CUDA)
    footprint = (0.2 * random_like((5000, 2, 2), 6) ** 3).to(CUDA)
    for size, channels in (((64, 32), 6), ((48, 24), 3), ((8, 8), 2), ((5, 5), 1)):
        results = []
        for rasterizer in rasterizers():
            texels = random_like((*size, channels), 7).to(CUDA).requires_grad_()
            where = uv.clone().requires_grad_()
            filtered = rasterizer.texture(build_mips(texels), where, footprint)
            plain = rasterizer.texture([texels], where)
            weighted = (filtered * random_like((5000, channels), 8).to(CUDA)).sum() + (plain**2).sum()
            results.append((filtered, plain, *torch.autograd.grad(weighted, (texels, where))))
        for name, expected, found in zip(("filtered", "plain", "d texels", "d uv"), *results):
            scale = expected.abs().max().item()
            error = float((found - expected).abs().mean())
            assert scale > 0 and error < 1e-5 * scale, f"{size} {name}: mean error {error / scale:.2e}"
            assert_aligned(f"{size} {name}", found, expected, 0.9999, 1e-3)


def test_antialiased_silhouettes_and_their_gradients_agree() -> None:
    # Both antialias alike. A pixel whose centre rounding covers or uncovers may be off by a half: measured up
    # to 12 of some 740 silhouette pixels, and gradients shorter by 1 %.
    for vertices, faces in (sphere(8, 12), sphere(40, 60)):
        cameras = orbit_cameras(3, 161, 120).to(CUDA)
        weight = random_like((3, 15, 21, 1), 9).repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :, :161]
        results = []
        for rasterizer in rasterizers():
            points = vertices.to(CUDA).requires_grad_()
            raster = rasterizer.rasterize(points, faces.to(CUDA), cameras)
            coverage = torch.ones(len(raster.pixels), 1, device=CUDA)
            alpha = rasterizer.antialias(raster.scatter(coverage), raster)
            (gradient,) = torch.autograd.grad((alpha * weight.to(CUDA)).sum(), points)
            results.append((alpha.detach(), gradient))
        (expected, expected_gradient), (found, found_gradient) = results
        partly = (expected > 0.01) & (expected < 0.99)
        assert partly.sum() > 600
        assert_same_image(found, expected, isolated=0.04 * float(partly.float().mean()))
        area = float(found.sum() / expected.sum())
        assert abs(area - 1) < 1e-3, f"covered area differs by a factor of {area:.5f}"
        assert_aligned("d vertices", found_gradient, expected_gradient, 0.995, 0.03)


def test_a_coarse_scene_looks_alike_and_teaches_the_same() -> None:
    # Slivers of the tetrahedral grid turn rounding into large gradients: 0.993 measured, 1.4 % shorter.
    scene, bounds = coarse_scene().to(CUDA), {"geometry": 0.97, "field": 0.999}
    assert_same_rendering(scene, *rasterizers(), (256, 192), bounds, ratio=0.05, isolated=1e-3)


def test_a_fine_scene_looks_alike_and_teaches_the_same() -> None:
    maps = texture_maps(64)
    with torch.no_grad():
        maps.map_a[..., :3] = random_like((64, 64, 3), 11)
    scene = FineScene(sphere_mesh(CUDA), maps.to(CUDA), movable=True).to(CUDA)
    # Measured: 0.9999 for both.
    bounds = {"offsets": 0.99, "map": 0.999}
    assert_same_rendering(scene, *rasterizers(), (256, 192), bounds, ratio=0.05, isolated=1e-3)


def test_nothing_in_view() -> None:
    rasterizer = rasterizers()[1]
    points, faces = sphere(4, 5)
    vertices = (points + torch.tensor([100.0, 0.0, 0.0])).to(CUDA).requires_grad_()
    raster = rasterizer.rasterize(vertices, faces.to(CUDA), orbit_cameras(2, 16, 16).to(CUDA))
    image = rasterizer.antialias(
        raster.scatter(rasterizer.interpolate(vertices, raster, raster.faces)), raster
    )
    assert len(raster.pixels) == 0 and image.shape == (2, 16, 16, 3) and not image.any()
    image.sum().backward()
