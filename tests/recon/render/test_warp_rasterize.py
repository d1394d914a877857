"""Visibility, barycentrics, interpolation and footprints of the Warp backend against their twins."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from recon.data.cameras import Cameras
from recon.render.warp_backend import WarpRasterizer
from recon.render.warp_surface import SolveBarycentrics
from tests.recon.render import reference_raster as reference
from tests.recon.render.scenes import front_camera, orbit_cameras, random_like, sphere, triangle_soup


@pytest.fixture
def rasterizer() -> WarpRasterizer:
    return WarpRasterizer("cpu")


def test_visibility_equals_a_brute_force_z_buffer(rasterizer: WarpRasterizer) -> None:
    vertices, faces = triangle_soup(40, seed=1)
    cameras = orbit_cameras(3, 40, 28)
    expected, clear = reference.z_buffer(vertices.double(), faces, reference.as_double(cameras))
    raster = rasterizer.rasterize(vertices, faces, cameras)
    found = torch.full_like(expected, -1)
    found[raster.pixels] = raster.triangles
    assert clear.float().mean() > 0.8
    assert (expected >= 0).float().mean() > 0.3
    assert torch.equal(found[clear], expected[clear])
    assert torch.equal(raster.pixels, raster.pixels.sort().values)


def test_barycentrics_and_their_gradient_equal_the_double_precision_twin(rasterizer: WarpRasterizer) -> None:
    vertices, faces = triangle_soup(12, seed=2)
    cameras = orbit_cameras(2, 32, 24)
    vertices.requires_grad_()
    raster = rasterizer.rasterize(vertices, faces, cameras)
    twin_vertices = vertices.detach().double().requires_grad_()
    twin = reference.barycentrics(
        twin_vertices, faces, reference.as_double(cameras), raster.pixels, raster.triangles
    )
    assert torch.allclose(raster.barycentrics.double(), twin, atol=2e-5)
    assert torch.allclose(raster.barycentrics.sum(1), torch.ones(len(twin)), atol=1e-6)

    weight = random_like(tuple(twin.shape), seed=3)
    (raster.barycentrics * weight).sum().backward()
    (twin * weight.double()).sum().backward()
    assert vertices.grad is not None and twin_vertices.grad is not None
    scale = twin_vertices.grad.abs().max()
    assert scale > 1.0
    assert (vertices.grad - twin_vertices.grad).abs().max() < 1e-4 * scale


def test_twin_barycentrics_pass_a_finite_difference_check() -> None:
    vertices, faces = triangle_soup(2, seed=4)
    cameras = reference.as_double(front_camera(8, 8))
    pixels, triangles = torch.tensor([9, 27, 36]), torch.tensor([0, 1, 0])

    def solve(points: torch.Tensor) -> torch.Tensor:
        return reference.barycentrics(points, faces, cameras, pixels, triangles)

    assert torch.autograd.gradcheck(solve, (vertices.double().requires_grad_(),))


def test_interpolated_positions_project_to_the_pixel_centres(rasterizer: WarpRasterizer) -> None:
    vertices, faces = sphere(12, 16)
    cameras = orbit_cameras(3, 48, 32)
    raster = rasterizer.rasterize(vertices, faces, cameras)
    positions = rasterizer.interpolate(vertices, raster, faces)
    projected, depth = cameras.project(positions)
    item = torch.arange(len(positions))
    column = raster.pixels % cameras.width
    row = raster.pixels // cameras.width % cameras.height
    centers = torch.stack([column, row], dim=1) + 0.5
    assert (depth[raster.views, item] > 0).all()
    assert (projected[raster.views, item] - centers).abs().max() < 1e-3


def test_a_colored_quad_lands_where_it_is_projected(rasterizer: WarpRasterizer) -> None:
    # Image x grows to the right and y downwards: world +x is right, world +y is up.
    cameras = front_camera(40, 30)
    corners = torch.tensor([[0.1, 0.2, 0.0], [0.7, 0.2, 0.0], [0.7, 0.5, 0.0], [0.1, 0.5, 0.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    raster = rasterizer.rasterize(corners, faces, cameras)
    image = raster.scatter(torch.ones(len(raster.pixels), 1))[0, :, :, 0]
    (left, bottom), (right, top) = cameras.project(corners[[0, 2]])[0][0].tolist()
    columns, rows = torch.arange(40) + 0.5, torch.arange(30) + 0.5
    inside = ((rows > top) & (rows < bottom))[:, None] & ((columns > left) & (columns < right))[None]
    assert inside.sum() > 40
    assert left > 20 and bottom < 15
    assert torch.equal(image.bool(), inside)


def test_both_sides_of_a_triangle_are_seen(rasterizer: WarpRasterizer) -> None:
    vertices = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0]])
    front = rasterizer.rasterize(vertices, torch.tensor([[0, 1, 2]]), front_camera(16, 16))
    back = rasterizer.rasterize(vertices, torch.tensor([[0, 2, 1]]), front_camera(16, 16))
    assert len(front.pixels) > 10
    assert torch.equal(front.pixels, back.pixels)


def test_views_of_a_batch_are_independent(rasterizer: WarpRasterizer) -> None:
    vertices, faces = triangle_soup(20, seed=5)
    cameras = orbit_cameras(3, 24, 20)
    both = rasterizer.rasterize(vertices, faces, cameras)
    for view in range(3):
        alone = rasterizer.rasterize(vertices, faces, cameras[view : view + 1])
        mine = both.views == view
        assert torch.equal(both.pixels[mine] - view * 24 * 20, alone.pixels)
        assert torch.equal(both.triangles[mine], alone.triangles)
        assert torch.equal(both.barycentrics[mine], alone.barycentrics)


def test_a_surface_that_reaches_behind_the_camera_is_seen_in_front_of_it(rasterizer: WarpRasterizer) -> None:
    floor = torch.tensor([[-50.0, -0.5, 50.0], [50.0, -0.5, 50.0], [0.0, -0.5, -50.0]])
    cameras = front_camera(16, 16)
    raster = rasterizer.rasterize(floor, torch.tensor([[0, 1, 2]]), cameras)
    rows = raster.pixels // 16
    assert rows.min() >= 8 and rows.max() == 15
    image = rasterizer.antialias(raster.scatter(torch.ones(len(rows), 1)), raster)
    assert image.isfinite().all()


@pytest.mark.parametrize("faces", [torch.zeros(0, 3, dtype=torch.int64), torch.tensor([[0, 1, 2]])])
def test_nothing_in_view_gives_empty_results_everywhere(
    rasterizer: WarpRasterizer, faces: torch.Tensor
) -> None:
    vertices = torch.tensor([[9.0, 9.0, 0.0], [9.5, 9.0, 0.0], [9.0, 9.5, 0.0]], requires_grad=True)
    raster = rasterizer.rasterize(vertices, faces, front_camera(12, 10))
    assert raster.pixels.shape == (0,) and raster.triangles.shape == (0,)
    assert raster.barycentrics.shape == (0, 3)
    uvs = torch.rand(3, 2, requires_grad=True)
    texture = torch.rand(4, 4, 3, requires_grad=True)
    uv = rasterizer.interpolate(uvs, raster, faces)
    footprint = rasterizer.uv_footprint(uvs, raster, faces)
    color = rasterizer.texture([texture], uv, footprint)
    assert uv.shape == (0, 2) and footprint.shape == (0, 2, 2) and color.shape == (0, 3)
    image = rasterizer.antialias(raster.scatter(color), raster)
    assert torch.equal(image, torch.zeros(1, 10, 12, 3))
    image.sum().backward()
    for tensor in (vertices, uvs, texture):
        assert tensor.grad is not None and torch.equal(tensor.grad, torch.zeros_like(tensor))


def test_degenerate_and_edge_on_triangles_give_finite_values_and_gradients(
    rasterizer: WarpRasterizer,
) -> None:
    vertices = torch.tensor(
        [
            *([[-0.5, 0.0, 1.0], [0.5, 0.0, 1.0], [0.0, 0.0, -1.0]]),  # seen exactly edge-on
            *([[-0.5, 0.01, 1.0], [0.5, 0.0101, 1.0], [0.0, 0.0101, -1.0]]),  # almost
            *([[0.3, 0.3, 0.0]] * 3),  # a point
            *([[-0.5, 0.3, 0.0], [0.0, 0.3, 0.0], [0.5, 0.3, 0.0]]),  # a line
            *([[-0.5, -0.5, 0.5], [0.5, -0.5, 0.5], [0.0, -0.1, 0.5]]),  # an ordinary one
        ],
        requires_grad=True,
    )
    faces = torch.arange(15).view(5, 3)
    raster = rasterizer.rasterize(vertices, faces, front_camera(31, 31))
    assert (raster.triangles == 4).sum() > 10
    assert (raster.barycentrics >= 0).all() and (raster.barycentrics <= 1).all()
    footprint = rasterizer.uv_footprint(torch.rand(15, 2), raster, faces)
    values = rasterizer.interpolate(random_like((15, 2), seed=6), raster, faces)
    rasterizer.antialias(raster.scatter(values), raster).square().sum().backward()
    assert footprint.isfinite().all() and vertices.grad is not None and vertices.grad.isfinite().all()


def test_barycentrics_of_an_edge_on_triangle_are_finite() -> None:
    # A tracer may report such a hit or not; the solver has to cope with it either way.
    vertices = torch.tensor([[-0.5, 0.0, 1.0], [0.5, 0.0, 1.0], [0.0, 0.0, -1.0]], requires_grad=True)
    faces, face_map = torch.tensor([[0, 1, 2]], dtype=torch.int32), torch.full((31 * 31,), -1).int()
    center = torch.tensor([15 * 31 + 15])
    face_map[center] = 0
    weights, triangle = SolveBarycentrics.apply(vertices, faces, center, face_map, front_camera(31, 31))
    assert triangle.tolist() == [0]
    (weights * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert weights.isfinite().all() and weights.sum() == 1
    assert vertices.grad is not None and vertices.grad.isfinite().all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_vertex_gone_wild_leaves_other_triangles_alone(rasterizer: WarpRasterizer, value: float) -> None:
    vertices, faces = sphere(16, 20)
    cameras = front_camera(32, 32)
    healthy = rasterizer.rasterize(vertices, faces, cameras)
    broken = vertices.clone()
    broken[[101, 140]] = value
    raster = rasterizer.rasterize(broken, faces, cameras)
    own = torch.full((32 * 32,), -1).index_put((raster.pixels,), raster.triangles)[healthy.pixels]
    untouched = ~torch.isin(faces, torch.tensor([101, 140])).any(dim=1)[healthy.triangles]
    assert 0 < (~untouched).sum() < 0.2 * len(untouched)
    assert torch.equal(own[untouched], healthy.triangles[untouched])


def test_refitting_the_tree_sees_what_rebuilding_sees(rasterizer: WarpRasterizer) -> None:
    vertices, faces = sphere(10, 14)
    cameras = orbit_cameras(2, 32, 24)
    for step in range(3):
        moved = vertices * (0.6 + 0.2 * step) + 0.1 * step
        refitted = rasterizer.rasterize(moved, faces, cameras)
        rebuilt = WarpRasterizer("cpu").rasterize(moved, faces.clone(), cameras)
        assert torch.equal(refitted.pixels, rebuilt.pixels)
        assert torch.equal(refitted.triangles, rebuilt.triangles)


def test_faces_changed_in_place_are_noticed(rasterizer: WarpRasterizer) -> None:
    vertices, faces = sphere(10, 14)
    cameras = front_camera(24, 24)
    rasterizer.rasterize(vertices, faces, cameras)
    faces[: len(faces) // 2] = faces[len(faces) // 2 :]
    raster = rasterizer.rasterize(vertices, faces, cameras)
    expected = WarpRasterizer("cpu").rasterize(vertices, faces.clone(), cameras)
    assert torch.equal(raster.pixels, expected.pixels)


def test_an_earlier_raster_survives_later_calls(rasterizer: WarpRasterizer) -> None:
    vertices, faces = sphere(10, 14)
    vertices.requires_grad_()
    cameras = front_camera(24, 24)
    first = rasterizer.rasterize(vertices, faces, cameras)
    rasterizer.rasterize(vertices * 0.5, faces, cameras)
    image = first.scatter(torch.ones(len(first.pixels), 1))
    late = rasterizer.antialias(image, first)
    fresh = WarpRasterizer("cpu")
    assert torch.equal(late, fresh.antialias(image, fresh.rasterize(vertices, faces, cameras)))


def test_interpolation_and_gradients_equal_the_twin(rasterizer: WarpRasterizer) -> None:
    vertices, faces = triangle_soup(15, seed=7)
    raster = rasterizer.rasterize(vertices, faces, orbit_cameras(2, 24, 20))
    # Shared rows on purpose: several triangles add into one gradient.
    index = torch.randint(0, 9, faces.shape, generator=torch.Generator().manual_seed(8))
    attributes = random_like((9, 5), seed=9).requires_grad_()
    weights = raster.barycentrics.detach().requires_grad_()
    values = rasterizer.interpolate(attributes, dataclasses.replace(raster, barycentrics=weights), index)
    twin_attributes = attributes.detach().double().requires_grad_()
    twin_weights = weights.detach().double().requires_grad_()
    twin = reference.interpolate(twin_attributes, twin_weights, raster.triangles, index)
    assert torch.allclose(values.double(), twin, atol=1e-6)
    upstream = random_like(tuple(values.shape), seed=10) - 0.5
    values.backward(upstream)
    twin.backward(upstream.double())
    for own, other in ((attributes.grad, twin_attributes.grad), (weights.grad, twin_weights.grad)):
        assert own is not None and other is not None and other.abs().max() > 0.1
        assert torch.allclose(own.double(), other, atol=2e-5)


def test_vertex_gradients_repeat_exactly(rasterizer: WarpRasterizer) -> None:
    vertices, faces = sphere(20, 30)
    vertices.requires_grad_()
    gradients = []
    for _ in range(2):
        raster = rasterizer.rasterize(vertices, faces, orbit_cameras(2, 64, 64))
        values = rasterizer.interpolate(vertices, raster, faces)
        loss = rasterizer.antialias(raster.scatter(values), raster).square().sum()
        gradients += torch.autograd.grad(loss, vertices)
    assert torch.equal(gradients[0], gradients[1])


def test_footprint_equals_finite_differences_of_uv_over_pixels(rasterizer: WarpRasterizer) -> None:
    vertices, faces = triangle_soup(15, seed=11)
    uvs = random_like((45, 2), seed=12)
    cameras = orbit_cameras(2, 24, 20)
    raster = rasterizer.rasterize(vertices, faces, cameras)
    footprint = rasterizer.uv_footprint(uvs, raster, faces)
    exact = reference.as_double(cameras)

    def uv_at(shift: torch.Tensor) -> torch.Tensor:
        # Moving the principal point by -shift moves every pixel centre by +shift.
        moved = Cameras(
            exact.camera_to_world, exact.focal, exact.principal - shift, exact.width, exact.height
        )
        weights = reference.barycentrics(vertices.double(), faces, moved, raster.pixels, raster.triangles)
        return reference.interpolate(uvs.double(), weights, raster.triangles, faces)

    for axis in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = 1e-5
        expected = (uv_at(step) - uv_at(-step)) / 2e-5
        error = (footprint[:, :, axis] - expected).abs().amax(dim=1)
        assert (error <= 1e-3 * (expected.abs().amax(dim=1) + 1e-2)).all()
    assert footprint.abs().max() > 0.01


def test_scattered_values_lie_at_their_pixels_and_give_their_gradient(rasterizer: WarpRasterizer) -> None:
    vertices, faces = sphere(6, 8)
    raster = rasterizer.rasterize(vertices, faces, orbit_cameras(2, 15, 12))
    values = random_like((len(raster.pixels), 2), seed=1).requires_grad_()
    image = raster.scatter(values)
    assert image.shape == (2, 12, 15, 2) and 0 < len(values) < 2 * 12 * 15
    expected = torch.zeros(2 * 12 * 15, 2)
    for row, pixel in enumerate(raster.pixels.tolist()):
        expected[pixel] = values[row].detach()
    assert torch.equal(image.view(-1, 2), expected)
    upstream = random_like((2, 12, 15, 2), seed=2)
    image.backward(upstream)
    assert values.grad is not None
    assert torch.equal(values.grad, upstream.view(-1, 2)[raster.pixels])
