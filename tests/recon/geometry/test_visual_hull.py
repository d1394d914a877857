"""Distance images against brute force; hulls of spheres and boxes against their shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recon.data.cameras import Cameras
from recon.geometry.dmtet import DMTet
from recon.geometry.grid_box import cube
from recon.geometry.tet_grid import build_tet_grid, tet_grid_over
from recon.geometry.visual_hull import (
    euclidean_distance,
    fit_to_hull,
    signed_distance_images,
    visual_hull_distance,
)
from tests.recon.geometry import reference_distance
from tests.shapes import area_and_volume, assert_watertight
from usd_tools.errors import UserError


def _ring(count: int, size: int, distance: float = 3.0, field: float = 0.7) -> Cameras:
    """Cameras on a spiral around the origin, looking at it."""
    matrices = []
    for i in range(count):
        y = 0.9 * (1 - 2 * (i + 0.5) / count)
        angle = i * math.pi * (3 - math.sqrt(5))
        back = np.array([math.sqrt(1 - y * y) * math.sin(angle), y, math.sqrt(1 - y * y) * math.cos(angle)])
        right = np.cross([0, 1, 0], back)
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
        matrix[:3, 3] = distance * back
        matrices.append(matrix)
    focal = size / 2 / math.tan(field / 2)
    return Cameras(
        torch.tensor(np.array(matrices), dtype=torch.float32),
        torch.full((count, 2), focal),
        torch.full((count, 2), size / 2),
        size,
        size,
    )


def _sphere_masks(cameras: Cameras, radius: float, center=(0.0, 0.0, 0.0), samples: int = 4) -> torch.Tensor:
    """(B, H, W) area coverage of a sphere, by samples^2 rays per pixel."""
    fine = cameras.resized(cameras.width * samples, cameras.height * samples)
    origins, directions = fine.pixel_rays(torch.arange(len(fine) * fine.height * fine.width))
    offset = origins - torch.tensor(center)
    along = (offset * directions).sum(1)
    hit = (offset.square().sum(1) - along.square() < radius**2).float()
    hit = hit.view(len(fine), 1, fine.height, fine.width)
    return torch.nn.functional.avg_pool2d(hit, samples)[:, 0]


@pytest.mark.parametrize("shape", [(9, 13), (1, 7), (8, 1)])
def test_euclidean_distance_against_brute_force(shape):
    rng = np.random.default_rng(0)
    targets = rng.random((4, *shape)) < 0.08
    targets[:, 0, 0] = True
    found = euclidean_distance(torch.from_numpy(targets), reach=40)
    for image, target in zip(found, targets):
        assert np.allclose(image.numpy(), reference_distance.euclidean_distance(target), atol=1e-5)


def test_euclidean_distance_saturates_at_its_reach():
    rng = np.random.default_rng(1)
    target = rng.random((1, 24, 31)) < 0.01
    target[0, 0, 0] = True
    found = euclidean_distance(torch.from_numpy(target), reach=5)[0].numpy()
    exact = reference_distance.euclidean_distance(target[0])
    assert np.allclose(found, np.minimum(exact, 5), atol=1e-5)
    assert (euclidean_distance(torch.zeros(1, 6, 6, dtype=torch.bool), 5) == 5).all()


def test_signed_distance_of_an_antialiased_disk():
    size, radius, samples = 64, 19.3, 8
    grid = (torch.arange(size * samples) + 0.5) / samples - size / 2
    inside = (torch.hypot(grid[:, None], grid[None]) < radius).float()
    coverage = torch.nn.functional.avg_pool2d(inside[None, None], samples)[:, 0]
    distance = signed_distance_images(coverage, reach=64)[0]
    centers = torch.arange(size) + 0.5 - size / 2
    exact = torch.hypot(centers[:, None], centers[None]) - radius
    assert (distance - exact).abs().max() < 0.75  # whole-pixel transform: half a pixel and a diagonal's share
    near = (coverage[0] - 0.5).abs() < 0.45
    assert near.sum() > 50
    assert (distance - exact)[near].abs().max() < 0.2  # from coverage: better than a whole pixel
    # Against the same without coverage: the antialiased edge does help.
    hard = signed_distance_images((coverage > 0.5).float(), reach=64)[0]
    assert (distance - exact)[near].abs().mean() < 0.5 * (hard - exact)[near].abs().mean()


@pytest.mark.parametrize("size", [96, 288])
def test_hull_of_a_sphere(size):
    cameras = _ring(24, size)
    radius, center = 0.6, (0.1, 0.05, -0.1)
    masks = _sphere_masks(cameras, radius, center, samples=4 if size < 200 else 1)
    generator = torch.Generator().manual_seed(0)
    points = 2 * torch.rand(4000, 3, generator=generator) - 1
    found = visual_hull_distance(points, masks, cameras, limit=0.1)
    exact = (points - torch.tensor(center)).norm(dim=1) - radius
    near = exact.abs() < 0.09
    # A hull of 24 views is larger than the sphere in places, never smaller; a pixel spans 0.02.
    error = (found - exact)[near]
    assert near.sum() > 300
    assert error.max() < 0.015
    assert error.min() > -0.06
    assert error.abs().mean() < 0.012
    assert (found[exact > 0.2] > 0).float().mean() > 0.99
    assert (found[exact < -0.12] == -0.1).all() and found.abs().max() <= 0.1


def test_hull_as_a_start_of_dmtet():
    cameras = _ring(24, 96)
    masks = _sphere_masks(cameras, 0.6)
    for margin, tolerance in ((0.0, 0.06), (0.25, 0.2)):
        vertices, faces = DMTet.hull(build_tet_grid(24), masks, cameras, margin).extract()
        assert_watertight(faces.numpy())
        _, volume = area_and_volume(vertices.detach().double().numpy(), faces.numpy())
        expected = 4 / 3 * math.pi * 0.6**3
        assert expected * 0.99 < volume < expected * (1 + tolerance)


def test_thin_parts_stay():
    cameras = _ring(12, 128)
    grid = build_tet_grid(16)
    radius = 0.2 * grid.cell_size  # thinner than any tet
    # A row of small spheres along x: a rod.
    masks = torch.stack(
        [_sphere_masks(cameras, radius, (float(x), 0.0, 0.0), 1) for x in np.linspace(-0.5, 0.5, 31)]
    ).amax(0)
    vertices, faces = DMTet.hull(grid, masks, cameras).extract()
    assert_watertight(faces.numpy())
    along = vertices.detach()[:, 0].sort().values
    assert along[0] < -0.4 and along[-1] > 0.4
    assert along.diff().max() < grid.cell_size  # in one piece


def _rod_masks(cameras: Cameras, radius: float, reach: float) -> torch.Tensor:
    """Coverage of a row of spheres along x, from -reach to reach."""
    places = np.linspace(-reach, reach, 31)
    return torch.stack([_sphere_masks(cameras, radius, (float(x), 0.0, 0.0), 1) for x in places]).amax(0)


def _joined(one: Cameras, two: Cameras) -> Cameras:
    return Cameras(
        torch.cat([one.camera_to_world, two.camera_to_world]),
        torch.cat([one.focal, two.focal]),
        torch.cat([one.principal, two.principal]),
        one.width,
        one.height,
    )


@pytest.mark.parametrize("radius", [0.1, 0.02])
def test_grid_fits_a_slim_object(radius):
    cameras, whole = _ring(12, 128), cube(24)
    masks = _rod_masks(cameras, radius, 0.7)
    box = fit_to_hull(whole, masks, cameras)
    assert math.prod(box.cells) <= math.prod(whole.cells)
    pixel = float(cameras.pixel_sizes(torch.zeros(3)).median())
    assert pixel <= box.cell_size < 0.65 * whole.cell_size
    lower, upper = box.bounds()
    rod = torch.tensor([0.7 + radius, radius, radius])
    for free in (-rod - lower, upper - rod):  # a hull of twelve views is larger than the rod in places
        assert (free > 1.5 * box.cell_size).all() and (free < 5 * box.cell_size).all()
    vertices, faces = DMTet.hull(tet_grid_over(box), masks, cameras).extract()
    assert_watertight(faces.numpy())
    assert vertices[:, 0].min() < -0.68 and vertices[:, 0].max() > 0.68
    assert fit_to_hull(whole, masks, cameras) == box


def test_a_slim_object_starts_closer_to_its_shape_in_a_fitted_grid():
    """Why the grid fits by default: the same number of cells shows more."""
    cameras, whole = _ring(24, 128), cube(16)
    masks = _rod_masks(cameras, 0.1, 0.7)
    errors = []
    for box in (whole, fit_to_hull(whole, masks, cameras)):
        vertices = DMTet.hull(tet_grid_over(box), masks, cameras).extract()[0].detach()
        axis = torch.zeros_like(vertices)
        axis[:, 0] = vertices[:, 0].clamp(-0.7, 0.7)
        errors.append(float(((vertices - axis).norm(dim=1) - 0.1).abs().mean()))
    assert errors[1] < 0.8 * errors[0], errors


def test_grid_of_an_object_that_fills_the_cube_is_the_cube():
    cameras, whole = _ring(24, 96, distance=4.0), cube(16)
    box = fit_to_hull(whole, _sphere_masks(cameras, 0.98), cameras)
    assert box.cells == whole.cells and box.cell_size == pytest.approx(whole.cell_size)


def test_close_views_do_not_cut_the_grid():
    """Their masks run into the picture's border, so that they say nothing about what lies beyond."""
    cameras, whole = _ring(12, 96), cube(24)
    both = _joined(cameras, _ring(8, 96, field=0.15))
    masks = _rod_masks(both, 0.1, 0.7)
    assert (masks[12:].amax(dim=1).amin(dim=1) > 0.5).any()  # from side to side
    box, alone = fit_to_hull(whole, masks, both), fit_to_hull(whole, masks[:12], cameras)
    lower, upper = box.bounds()
    rod = torch.tensor([0.8, 0.1, 0.1])
    assert (lower < -rod - 1.5 * box.cell_size).all() and (upper > rod + 1.5 * box.cell_size).all()
    assert box.cell_size < 1.1 * alone.cell_size


def test_grid_keeps_what_one_view_alone_shows():
    """Views that see one end of the rod only, and one that sees it whole."""
    cameras, whole = _ring(12, 96), cube(16)
    shifted = Cameras(
        cameras.camera_to_world,
        cameras.focal * 3,
        cameras.principal,
        96,
        96,
    )
    both = _joined(shifted, cameras[:1])
    box = fit_to_hull(whole, _rod_masks(both, 0.1, 0.7), both)
    lower, upper = box.bounds()
    assert lower[0] < -0.8 and upper[0] > 0.8


def test_grid_without_a_hull_is_the_cube():
    cameras = _ring(3, 64)
    masks = torch.zeros(3, 64, 64)
    masks[0, 2:5, 2:5] = 1
    masks[1, -5:-2, -5:-2] = 1
    masks[2, 30:34, 30:34] = 1
    assert fit_to_hull(cube(8), masks, cameras) == cube(8)


def test_points_that_no_view_sees_are_outside():
    cameras = _ring(8, 64)
    masks = torch.ones(8, 64, 64)  # covered up to the border: what is beyond is unknown
    points = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 50.0], [40.0, 0.0, 0.0]])
    found = visual_hull_distance(points, masks, cameras, limit=0.2)
    assert found[0] == pytest.approx(-0.2)
    assert found[1] == pytest.approx(0.2) and found[2] == pytest.approx(0.2)
    # Asking for more views than there are leaves nothing.
    assert (visual_hull_distance(points, masks, cameras, limit=0.2, minimum_views=9) == 0.2).all()


def test_a_mask_at_the_border_says_nothing_about_what_is_beyond():
    cameras = _ring(12, 64)
    both = _joined(cameras, _ring(1, 64, field=0.2))  # the last sees the middle of the sphere only
    masks = _sphere_masks(both, 0.6)
    assert masks[-1].min() == 1
    points = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)))
    assert (visual_hull_distance(0.5 * points, masks, both, limit=0.2) < 0).all()


def test_empty_masks_are_ignored():
    cameras = _ring(10, 64)
    masks = _sphere_masks(cameras, 0.6)
    masks[3] = 0
    assert visual_hull_distance(torch.zeros(1, 3), masks, cameras, limit=0.2).item() == pytest.approx(-0.2)


def test_masks_without_a_common_point_are_refused():
    cameras = _ring(6, 64)
    masks = torch.zeros(6, 64, 64)
    with pytest.raises(UserError, match="no view has a covered pixel"):
        DMTet.hull(build_tet_grid(8), masks, cameras)
    masks[0, 2:5, 2:5] = 1
    masks[1, -5:-2, -5:-2] = 1
    masks[2, 30:34, 30:34] = 1
    with pytest.raises(UserError, match="inside all masks"):
        DMTet.hull(build_tet_grid(8), masks, cameras)


def test_mismatched_masks_are_refused():
    cameras = _ring(3, 64)
    with pytest.raises(ValueError, match="expected shape"):
        visual_hull_distance(torch.zeros(1, 3), torch.ones(3, 32, 32), cameras, limit=0.2)
    with pytest.raises(ValueError, match="limit"):
        visual_hull_distance(torch.zeros(1, 3), torch.ones(3, 64, 64), cameras, limit=0.0)
