"""Projection, clip matrices and pixel rays must tell one and the same story."""

from __future__ import annotations

import torch

from recon.data.cameras import Cameras
from tests.recon.render.scenes import front_camera, orbit_cameras, random_like


def test_world_to_camera_inverts_the_pose() -> None:
    cameras = orbit_cameras(3, 40, 30)
    product = cameras.world_to_camera() @ cameras.camera_to_world
    assert torch.allclose(product, torch.eye(4).expand(3, 4, 4), atol=1e-6)


def test_project_agrees_with_the_clip_matrix() -> None:
    cameras = orbit_cameras(3, 40, 30)
    points = random_like((20, 3), seed=1) * 1.6 - 0.8
    pixels, depth = cameras.project(points)
    clip = torch.cat([points, torch.ones(20, 1)], dim=1) @ cameras.world_to_clip(0.5, 9.0).transpose(1, 2)
    ndc = clip[..., :3] / clip[..., 3:]
    assert torch.allclose(clip[..., 3], depth, atol=1e-5)
    assert torch.allclose((ndc[..., 0] + 1) / 2 * 40, pixels[..., 0], atol=1e-3)
    assert torch.allclose((1 - ndc[..., 1]) / 2 * 30, pixels[..., 1], atol=1e-3)  # clip y is up


def test_near_and_far_planes_map_to_the_ends_of_clip_space() -> None:
    cameras = front_camera(8, 8, distance=0.0)
    ends = torch.tensor([[0.0, 0.0, -0.5, 1.0], [0.0, 0.0, -9.0, 1.0]]) @ cameras.world_to_clip(0.5, 9.0)[0].T
    assert torch.allclose(ends[:, 2] / ends[:, 3], torch.tensor([-1.0, 1.0]), atol=1e-5)


def test_pixel_rays_project_back_to_pixel_centres() -> None:
    cameras = orbit_cameras(3, 40, 30)
    pixels = torch.tensor([0, 39, 40 * 29, 40 * 30 + 77, 2 * 40 * 30 + 1199])
    origin, direction = cameras.pixel_rays(pixels)
    assert torch.allclose(direction.norm(dim=1), torch.ones(5))
    projected, depth = cameras.project(origin + 2.5 * direction)
    view = pixels // 1200
    found = projected[view, torch.arange(5)]
    expected = torch.stack([pixels % 40, pixels // 40 % 30], dim=1) + 0.5
    assert (depth[view, torch.arange(5)] > 0).all()
    assert torch.allclose(found, expected, atol=1e-3)


def test_up_and_right_in_the_image() -> None:
    cameras = front_camera(20, 20)
    pixels, depth = cameras.project(torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, 0.3, 0.0]]))
    center, right, up = pixels[0]
    assert torch.allclose(center, torch.tensor([10.0, 10.0]))
    assert right[0] > center[0] and right[1] == center[1]
    assert up[1] < center[1] and up[0] == center[0]
    assert torch.allclose(depth, torch.full((1, 3), 3.0))


def test_resized_cameras_see_the_same_frame() -> None:
    cameras = orbit_cameras(2, 40, 30)
    points = random_like((10, 3), seed=2) - 0.5
    small = cameras.resized(20, 10)
    assert (small.width, small.height) == (20, 10)
    scale = torch.tensor([0.5, 1 / 3])
    assert torch.allclose(small.project(points)[0], cameras.project(points)[0] * scale, atol=1e-4)


def test_pixel_sizes_are_the_distance_of_neighboring_pixels() -> None:
    cameras = front_camera(20, 20)  # three units before the origin
    step = cameras.pixel_sizes(torch.zeros(3))
    pixels = cameras.project(torch.stack([torch.zeros(3), torch.tensor([float(step), 0.0, 0.0])]))[0][0]
    assert torch.allclose(pixels[1] - pixels[0], torch.tensor([1.0, 0.0]), atol=1e-4)
    wide = Cameras(
        cameras.camera_to_world, cameras.focal * torch.tensor([1.0, 2.0]), cameras.principal, 20, 20
    )
    assert torch.allclose(wide.pixel_sizes(torch.zeros(3)), step / 2)
    assert torch.allclose(cameras.pixel_sizes(torch.tensor([0.0, 0.0, -3.0])), 2 * step)
    assert orbit_cameras(4, 40, 30).pixel_sizes(torch.zeros(3)).shape == (4,)


def test_a_selection_of_cameras_is_still_a_batch() -> None:
    cameras = orbit_cameras(4, 40, 30)
    some = cameras[torch.tensor([2, 0])]
    assert isinstance(some, Cameras) and len(some) == 2 and len(cameras[1:2]) == 1
    assert torch.equal(some.origins, cameras.origins[[2, 0]])
    assert len(cameras.to("cpu")) == 4
