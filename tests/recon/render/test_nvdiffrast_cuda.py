"""nvdiffrast gives what Warp gives on the same GPU: triangles, values, gradients and whole images.

Both interpret a pixel on a triangle's edge as they like, so such pixels may differ; the tests say how many
and leave them out of the comparison of values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recon.light.fg_table import fg_table
from recon.render.interface import Raster, Rasterizer
from recon.render.loss_routes import LossRoutes
from recon.render.mipmaps import build_mips
from recon.render.render_views import render_views
from recon.render.warp_backend import WarpRasterizer
from recon.stages.coarse_scene import CoarseScene
from recon.stages.fine_scene import FineScene
from tests.recon.cuda import CUDA, assert_aligned, needs_nvdiffrast
from tests.recon.render.scenes import orbit_cameras, random_like, sphere, triangle_soup
from tests.recon.stages.scenes import coarse_scene, known_light, sphere_mesh, texture_maps

pytestmark = needs_nvdiffrast


def rasterizers() -> tuple[Rasterizer, Rasterizer]:
    from recon.render.nvdiffrast_backend import NvdiffrastRasterizer

    return WarpRasterizer(CUDA), NvdiffrastRasterizer(CUDA)


def triangle_map(raster: Raster) -> Tensor:
    """(B * H * W,) triangle of every pixel, -1 for none."""
    size = len(raster.cameras) * raster.cameras.height * raster.cameras.width
    shown = torch.full((size,), -1, device=raster.pixels.device)
    return shown.index_put((raster.pixels,), raster.triangles)


def same_triangle(one: Raster, other: Raster) -> Tensor:
    """(B * H * W,) bool: covered, and by the same triangle, in both."""
    first, second = triangle_map(one), triangle_map(other)
    return (first == second) & (first >= 0)


def pixels_to_the_edge(raster: Raster) -> Tensor:
    """(P,) distance in pixels from each covered pixel's centre to the nearest edge of its triangle."""
    points, _ = raster.cameras.project(raster.vertices.detach())
    corners = points[raster.views[:, None], raster.faces[raster.triangles]]  # (P, 3, 2)
    edges = corners.roll(-2, dims=1) - corners.roll(-1, dims=1)  # opposite each corner
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    heights = area.abs()[:, None] / edges.norm(dim=2).clamp(min=1e-9)
    return (raster.barycentrics.detach() * heights).amin(dim=1)


def test_the_same_triangles_are_seen_but_for_pixels_on_their_edges() -> None:
    for vertices, faces in (sphere(20, 30), triangle_soup(60, seed=1)):
        # Odd sizes: nvdiffrast renders in tiles of 8 pixels and crops.
        cameras = orbit_cameras(3, 201, 155).to(CUDA)
        warp, nvdiffrast = (r.rasterize(vertices.to(CUDA), faces.to(CUDA), cameras) for r in rasterizers())
        different = triangle_map(warp) != triangle_map(nvdiffrast)
        share = float(different.sum()) / len(warp.pixels)
        assert share < 0.03, f"{share:.2%} of the covered pixels show another triangle"
        for raster in (warp, nvdiffrast):
            distance = pixels_to_the_edge(raster)[different[raster.pixels]]
            # nvdiffrast rounds vertices to a sixteenth of a pixel before it asks what covers a centre.
            farthest = float(distance.max()) if len(distance) else 0.0
            assert farthest < 0.125, f"differs {farthest:.3f} pixels inside a triangle"
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
        scale = float(expected[name][mask].abs().max())
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
            scale = float(expected.abs().max())
            error = float((found - expected).abs().mean())
            assert scale > 0 and error < 1e-5 * scale, f"{size} {name}: mean error {error / scale:.2e}"
            assert_aligned(f"{size} {name}", found, expected, 0.9999, 1e-3)


def test_antialiased_silhouettes_and_their_gradients_agree() -> None:
    # Triangles larger than pixels: nvdiffrast looks at the edges of the pixel's own triangle only.
    vertices, faces = sphere(8, 12)
    cameras = orbit_cameras(3, 161, 120).to(CUDA)
    weight = random_like((3, 15, 20, 1), 9).repeat_interleave(8, 1).repeat_interleave(9, 2)[:, :, :161]
    weight = weight.to(CUDA)
    results = []
    for rasterizer in rasterizers():
        points = vertices.to(CUDA).requires_grad_()
        raster = rasterizer.rasterize(points, faces.to(CUDA), cameras)
        coverage = torch.ones(len(raster.pixels), 1, device=CUDA)
        alpha = rasterizer.antialias(raster.scatter(coverage), raster)
        results.append((alpha, *torch.autograd.grad((alpha * weight).sum(), points)))
    (expected, expected_gradient), (found, found_gradient) = results
    partly = (expected > 0.01) & (expected < 0.99)
    assert partly.sum() > 300
    error = (found - expected).abs()
    assert float(error[partly].mean()) < 0.02, f"silhouettes differ by {float(error[partly].mean()):.4f}"
    area = float(found.sum() / expected.sum())
    assert abs(area - 1) < 1e-3, f"covered area differs by a factor of {area:.5f}"
    assert_aligned("d vertices", found_gradient, expected_gradient, 0.98, 0.05)


def whole_image(scene: CoarseScene | FineScene, rasterizer: Rasterizer) -> tuple[Tensor, dict[str, Tensor]]:
    """An image of `scene` with alpha, and the gradients of a loss on it, by parameter."""
    scene.zero_grad()
    light = known_light().to(CUDA).prefilter()
    cameras = orbit_cameras(3, 256, 192).to(CUDA)
    shown = render_views(scene, light, fg_table(device=CUDA), cameras, rasterizer, routes=LossRoutes())
    images = torch.stack([shown.image_a, shown.image_b])
    target = random_like((1, 1, 24, 32, 3), 10).repeat_interleave(8, 2).repeat_interleave(8, 3).to(CUDA)
    ((images - target).square().mean() + (shown.alpha - 0.5).square().mean()).backward()
    gradients = {name: p.grad.clone() for name, p in scene.named_parameters() if p.grad is not None}
    return torch.cat([shown.image_a, shown.alpha[..., None]], dim=-1).detach(), gradients


def assert_same_rendering(scene: CoarseScene | FineScene, cosines: dict[str, float]) -> None:
    expected, expected_gradients = whole_image(scene, rasterizers()[0])
    found, gradients = whole_image(scene, rasterizers()[1])
    error = (found - expected).abs().amax(dim=-1)
    different = float((error > 0.02).float().mean())
    assert different < 0.005, f"{different:.3%} of the pixels differ by more than 0.02"
    assert float(error.mean()) < 1e-3, f"images differ by {float(error.mean()):.2e} on average"
    assert gradients.keys() == expected_gradients.keys() and gradients
    for name, expected_gradient in expected_gradients.items():
        bound = next(value for part, value in cosines.items() if part in name)
        assert_aligned(name, gradients[name], expected_gradient, bound, 0.1)


def test_a_coarse_scene_looks_alike_and_teaches_the_same() -> None:
    # Silhouettes of a tetrahedral grid's small triangles are where the two differ.
    assert_same_rendering(coarse_scene().to(CUDA), {"geometry": 0.95, "field": 0.99})


def test_a_fine_scene_looks_alike_and_teaches_the_same() -> None:
    maps = texture_maps(64)
    with torch.no_grad():
        maps.map_a[..., :3] = random_like((64, 64, 3), 11)
    scene = FineScene(sphere_mesh().to(CUDA), maps.to(CUDA), movable=True).to(CUDA)
    assert_same_rendering(scene, {"offsets": 0.97, "maps": 0.99})


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
