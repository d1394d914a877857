"""Silhouette antialiasing: against its twin, against exact coverage, and against geometry."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.render.interface import Raster
from recon.render.warp_backend import WarpRasterizer
from tests.recon.render import reference_antialias as reference
from tests.recon.render.reference_raster import as_double
from tests.recon.render.scenes import front_camera, orbit_cameras, random_like, sphere


@pytest.fixture
def rasterizer() -> WarpRasterizer:
    return WarpRasterizer("cpu")


def mask_of(raster: Raster) -> Tensor:
    return raster.scatter(torch.ones(len(raster.pixels), 1))


def two_parts() -> tuple[Tensor, Tensor]:
    """A sphere with a quad partly in front of it and a triangle behind."""
    vertices, faces = sphere(6, 8, radius=0.6)
    quad = torch.tensor([[0.1, -0.4, 0.8], [0.75, -0.3, 0.7], [0.7, 0.5, 0.9], [0.05, 0.35, 0.8]])
    back = torch.tensor([[-0.9, -0.8, -0.9], [0.9, -0.7, -0.8], [-0.2, 0.9, -0.9]])
    v = len(vertices)
    more = torch.tensor([[v, v + 1, v + 2], [v, v + 2, v + 3], [v + 4, v + 5, v + 6]])
    return torch.cat([vertices, quad, back]), torch.cat([faces, more])


def dense_maps(raster: Raster, exact: Cameras) -> tuple[Tensor, Tensor]:
    """Face and depth maps (B, H, W) for the twin."""
    shape = (len(exact), exact.height, exact.width)
    face_map = torch.full((shape[0] * shape[1] * shape[2],), -1)
    face_map[raster.pixels] = raster.triangles
    corners = raster.vertices.detach()[raster.faces[raster.triangles]]
    positions = (corners * raster.barycentrics.detach()[:, :, None]).sum(1)
    distance = torch.zeros(face_map.shape)
    distance[raster.pixels] = (positions - raster.cameras.origins[raster.views]).norm(dim=1)
    return face_map.view(shape), distance.view(shape)


def test_values_and_gradients_equal_the_twin(rasterizer: WarpRasterizer) -> None:
    vertices, faces = two_parts()
    cameras = orbit_cameras(2, 26, 22)
    vertices.requires_grad_()
    raster = rasterizer.rasterize(vertices, faces, cameras)
    image = random_like((2, 22, 26, 3), seed=1).requires_grad_()
    result = rasterizer.antialias(image, raster)

    exact = as_double(cameras)
    twin_vertices = vertices.detach().double().requires_grad_()
    twin_image = image.detach().double().requires_grad_()
    face_map, depth = dense_maps(raster, exact)
    twin = reference.antialias(twin_image, face_map, depth, twin_vertices, faces, exact)
    assert (result.detach() != image.detach()).any(dim=-1).sum() > 100
    assert torch.allclose(result.double(), twin, atol=1e-4)

    upstream = random_like(tuple(image.shape), seed=2) - 0.5
    result.backward(upstream)
    twin.backward(upstream.double())
    for own, other in ((image.grad, twin_image.grad), (vertices.grad, twin_vertices.grad)):
        assert own is not None and other is not None
        scale = other.abs().max()
        assert scale > 0.1
        assert (own - other).abs().max() < 1e-3 * scale


def test_only_pixels_at_silhouettes_change(rasterizer: WarpRasterizer) -> None:
    # Inside a closed smooth surface neighbouring pixels show different triangles, and none is blended.
    vertices, faces = sphere(24, 36)
    raster = rasterizer.rasterize(vertices, faces, front_camera(40, 40))
    image = random_like((1, 40, 40, 2), seed=3)
    changed = (rasterizer.antialias(image, raster) != image).any(dim=-1)[0]
    mask = mask_of(raster)[0, :, :, 0].bool()
    padded = torch.nn.functional.pad(mask.float(), (1, 1, 1, 1))[None, None]
    lowest = -torch.nn.functional.max_pool2d(-padded, 3, 1)[0, 0]
    highest = torch.nn.functional.max_pool2d(padded, 3, 1)[0, 0]
    outline = lowest != highest
    assert changed.sum() > 40
    assert not changed[~outline].any()


def test_which_pixel_of_a_pair_is_blended(rasterizer: WarpRasterizer) -> None:
    # A quad whose right edge stands at x, its left one far outside; focal = distance, so 1 unit is 1 pixel.
    cameras = front_camera(9, 5, distance=100.0, focal=100.0)
    for edge, expected in (
        (5.2, [1, 1, 1, 1, 1, 0.2, 0, 0, 0]),  # between the centres 4.5 and 5.5, in pixel 5's part
        (5.0, [1, 1, 1, 1, 1, 0.0, 0, 0, 0]),
        (4.7, [1, 1, 1, 1, 0.7, 0, 0, 0, 0]),  # before the boundary at 5.0: pixel 4 loses
    ):
        x = edge - 4.5
        vertices = torch.tensor([[-50.0, -50.0, 0.0], [x, -50.0, 0.0], [x, 50.0, 0.0], [-50.0, 50.0, 0.0]])
        for faces in (torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.tensor([[0, 2, 1], [0, 3, 2]])):
            for mirror in (False, True):
                points = vertices * torch.tensor([-1.0, 1.0, 1.0]) if mirror else vertices
                raster = rasterizer.rasterize(points, faces, cameras)
                image = rasterizer.antialias(mask_of(raster), raster)[0, :, :, 0]
                row = torch.tensor(expected)
                wanted = (row.flip(0) if mirror else row).expand(5, 9)
                assert torch.allclose(image, wanted, atol=1e-4)


def test_result_does_not_depend_on_image_axes(rasterizer: WarpRasterizer) -> None:
    vertices = torch.tensor([[-0.6, -0.45, 0.0], [0.71, -0.2, 0.0], [-0.13, 0.63, 0.0]])
    cameras, faces = front_camera(21, 21), torch.tensor([[0, 1, 2]])
    raster = rasterizer.rasterize(vertices, faces, cameras)
    upright = rasterizer.antialias(mask_of(raster), raster)[0, :, :, 0]
    quarter_turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    raster = rasterizer.rasterize(vertices @ quarter_turn.T, faces, cameras)
    turned = rasterizer.antialias(mask_of(raster), raster)[0, :, :, 0]
    # Rows and columns change roles; only where an edge meets both kinds of pairs does their order show.
    assert (torch.rot90(upright, 1) - turned).abs().max() < 0.1
    assert torch.isclose(upright.sum(), turned.sum(), rtol=1e-3)


def test_blended_values_stay_in_the_range_of_the_image(rasterizer: WarpRasterizer) -> None:
    # Triangles about a pixel in size: one pixel is blended from all four sides.
    generator = torch.Generator().manual_seed(4)
    center = torch.rand(200, 1, 3, generator=generator) * 1.6 - 0.8
    corners = (center + torch.rand(200, 3, 3, generator=generator) * 0.2).reshape(-1, 3)
    raster = rasterizer.rasterize(corners, torch.arange(600).view(-1, 3), front_camera(32, 32))
    image = rasterizer.antialias(mask_of(raster), raster)
    assert image.min() >= 0 and image.max() <= 1
    assert ((image > 0) & (image < 1)).sum() > 50


def clip(polygon: list[tuple[float, float]], axis: int, bound: float, keep_above: bool):
    """Sutherland-Hodgman clip of a polygon by an axis-aligned half-plane."""
    result = []
    sign = 1 if keep_above else -1
    for a, b in zip(polygon, polygon[1:] + polygon[:1]):
        inside_a, inside_b = sign * (a[axis] - bound) >= 0, sign * (b[axis] - bound) >= 0
        if inside_a:
            result.append(a)
        if inside_a != inside_b:
            t = (bound - a[axis]) / (b[axis] - a[axis])
            result.append((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])))
    return result


def exact_coverage(corners: Tensor, cameras: Cameras) -> Tensor:
    """(H, W) area of each pixel that a triangle covers, in double precision."""
    triangle = [tuple(point) for point in cameras.project(corners)[0][0].tolist()]
    coverage = torch.zeros(cameras.height, cameras.width, dtype=torch.float64)
    for row in range(cameras.height):
        for column in range(cameras.width):
            polygon = triangle
            for axis, low in ((0, column), (1, row)):
                polygon = clip(clip(polygon, axis, low, True), axis, low + 1, False)
            shoelace = sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(polygon, polygon[1:] + polygon[:1]))
            coverage[row, column] = abs(shoelace) / 2
    return coverage


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8, 1.3])
def test_moving_a_silhouette_changes_the_image_as_its_exact_coverage(
    rasterizer: WarpRasterizer, angle: float
) -> None:
    cameras = front_camera(24, 24)
    exact = as_double(cameras)
    turn = torch.tensor(
        [
            [math.cos(angle), -math.sin(angle), 0.0],
            [math.sin(angle), math.cos(angle), 0.0],
            [0.0, 0.0, 1.0],
        ]
    )
    corners = torch.tensor([[-0.71, -0.53, 0.1], [0.75, -0.41, 0.0], [-0.12, 0.77, -0.1]]) @ turn.T
    # A smooth weight, so that the loss sees where coverage is gained, not how pixels are rounded.
    at = torch.arange(24.0)
    weight = 1 + torch.sin(0.31 * at)[:, None] * torch.cos(0.23 * at + 1) + 0.02 * at - 0.01 * at[:, None]

    vertices = corners.clone().requires_grad_()
    raster = rasterizer.rasterize(vertices, torch.tensor([[0, 1, 2]]), cameras)
    image = rasterizer.antialias(mask_of(raster), raster)[0, :, :, 0]
    coverage = exact_coverage(corners.double(), exact)
    # The straight-edge approximation is off by at most a corner's worth in any pixel, and right on the whole.
    assert (image - coverage).abs().max() < 0.5
    assert torch.isclose(image.sum().double(), coverage.sum(), rtol=0.015)

    (image * weight).sum().backward()
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for vertex in range(3):
        for axis in range(2):
            values = []
            for sign in (1, -1):
                moved = corners.double().clone()
                moved[vertex, axis] += sign * 1e-3
                values.append((exact_coverage(moved, exact) * weight).sum())
            expected[vertex, axis] = (values[0] - values[1]) / 2e-3
    assert vertices.grad is not None
    found, wanted = vertices.grad[:, :2].flatten().double(), expected[:, :2].flatten()
    assert torch.cosine_similarity(found, wanted, dim=0) > 0.99
    assert (found - wanted).norm() < 0.12 * wanted.norm()


@pytest.mark.parametrize("rings", [8, 60])
def test_silhouette_gradient_of_a_sphere(rasterizer: WarpRasterizer, rings: int) -> None:
    """d(covered area)/d(radius), with triangles much larger and much smaller than a pixel.

    Seen from distance D a sphere of radius r shows a disc of radius f r / sqrt(D^2 - r^2).
    """
    cameras = front_camera(48, 48)
    unit, faces = sphere(rings, 2 * rings, radius=1.0)
    radius = torch.tensor(0.8, requires_grad=True)
    raster = rasterizer.rasterize(unit * radius, faces, cameras)
    image = rasterizer.antialias(mask_of(raster), raster)
    image.sum().backward()
    f, distance, r = 1.2 * 48, 3.0, 0.8
    area = math.pi * (f * r) ** 2 / (distance**2 - r**2)
    slope = 2 * math.pi * f**2 * r * distance**2 / (distance**2 - r**2) ** 2
    assert radius.grad is not None
    tolerance = 0.12 if rings == 8 else 0.05  # an eight-ring sphere is 5 % smaller than a round one
    assert abs(float(image.sum().detach()) / area - 1) < tolerance
    assert abs(float(radius.grad) / slope - 1) < tolerance


def test_edges_of_three_faces_do_not_crash(rasterizer: WarpRasterizer) -> None:
    vertices = torch.tensor(
        [[0.0, -0.6, 0.0], [0.0, 0.6, 0.0], [0.7, 0.0, 0.2], [-0.7, 0.0, 0.2], [0.1, 0.0, 0.9]],
        requires_grad=True,
    )
    faces = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 0, 1]])
    raster = rasterizer.rasterize(vertices, faces, front_camera(24, 24))
    rasterizer.antialias(mask_of(raster), raster).square().sum().backward()
    assert vertices.grad is not None and vertices.grad.isfinite().all() and vertices.grad.abs().max() > 0


def test_any_image_layout_is_accepted(rasterizer: WarpRasterizer) -> None:
    vertices, faces = two_parts()
    raster = rasterizer.rasterize(vertices, faces, orbit_cameras(2, 26, 22))
    image = random_like((2, 22, 26, 3), seed=5)
    strided = image.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not strided.is_contiguous()
    assert torch.equal(rasterizer.antialias(strided, raster), rasterizer.antialias(image, raster))
