"""Small meshes and cameras for the rendering tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.data.cameras import Cameras


def orbit_cameras(views: int, width: int, height: int, distance: float = 3.0) -> Cameras:
    """Cameras around the y axis, slightly above, looking at the origin; off-centre, non-square pixels."""
    poses = []
    for view in range(views):
        angle = 0.3 + 2 * math.pi * view / views
        back = torch.tensor([math.sin(angle), 0.35, math.cos(angle)])
        back = back / back.norm()
        right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), back)
        right = right / right.norm()
        pose = torch.eye(4)
        pose[:3, :3] = torch.stack([right, torch.linalg.cross(back, right), back], dim=1)
        pose[:3, 3] = distance * back
        poses.append(pose)
    focal = torch.tensor([1.30 * width, 1.35 * width]).repeat(views, 1)
    principal = torch.tensor([width / 2 + 0.7, height / 2 - 1.2]).repeat(views, 1)
    return Cameras(torch.stack(poses), focal, principal, width, height)


def front_camera(width: int, height: int, distance: float = 3.0, focal: float | None = None) -> Cameras:
    """One centred camera on +z that looks at the origin."""
    pose = torch.eye(4)[None].clone()
    pose[0, 2, 3] = distance
    f = 1.2 * width if focal is None else focal
    return Cameras(pose, torch.tensor([[f, f]]), torch.tensor([[width / 2.0, height / 2.0]]), width, height)


def sphere(rings: int, sectors: int, radius: float = 0.9, center: tuple[float, ...] = (0.0, 0.0, 0.0)):
    """A closed sphere, counter-clockwise seen from outside; returns vertices and faces."""
    polar = torch.linspace(0, math.pi, rings + 1)[1:-1]
    azimuth = torch.arange(sectors) * (2 * math.pi / sectors) + 0.1
    ring = torch.stack(
        [
            torch.sin(polar)[:, None] * torch.sin(azimuth),
            torch.cos(polar)[:, None].expand(-1, sectors),
            torch.sin(polar)[:, None] * torch.cos(azimuth),
        ],
        dim=-1,
    ).reshape(-1, 3)
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    vertices = torch.cat([ring, poles]) * radius + torch.tensor(center)
    top, bottom = ring.shape[0], ring.shape[0] + 1
    faces = []
    for j in range(sectors):
        k = (j + 1) % sectors
        faces.append([top, j, k])
        last = (rings - 2) * sectors
        faces.append([bottom, last + k, last + j])
        for i in range(rings - 2):
            a, b = i * sectors + j, i * sectors + k
            faces += [[a, a + sectors, b], [b, a + sectors, b + sectors]]
    return vertices, torch.tensor(faces)


def triangle_soup(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """`count` separate random triangles within the unit ball's reach."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(count, 1, 3, generator=generator) * 1.6 - 0.8
    corners = center + torch.rand(count, 3, 3, generator=generator) * 1.0 - 0.5
    return corners.reshape(-1, 3), torch.arange(3 * count).view(-1, 3)


def random_like(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))
