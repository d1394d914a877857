"""Slow, obvious twin of silhouette antialiasing: Python loops, every edge tried for every pair of pixels.

It looks for the nearer surface's silhouette among all edges of its connected part, so it holds for parts that
are convex; the kernel instead follows the surface from the pixel.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from recon.data.cameras import Cameras


def edges_of(faces: Tensor) -> dict[tuple[int, int], list[int]]:
    """Undirected edge -> faces that have it."""
    edges = defaultdict(list)
    for face, corners in enumerate(faces.tolist()):
        for k in range(3):
            edges[tuple(sorted((corners[k], corners[(k + 1) % 3])))].append(face)
    return edges


def parts_of(faces: Tensor) -> list[int]:
    """A label per face, equal for faces connected through edges."""
    label = list(range(len(faces)))
    changed = True
    while changed:
        changed = False
        for members in edges_of(faces).values():
            lowest = min(label[face] for face in members)
            for face in members:
                changed |= label[face] != lowest
                label[face] = lowest
    return label


def silhouette_edges(faces: Tensor, points: Tensor) -> list[tuple[int, int, int]]:
    """(vertex, vertex, face) of the edges that bound the surface as seen at pixel positions `points`."""

    def side(p: int, q: int, face: int) -> float:
        (r,) = [v for v in faces[face].tolist() if v not in (p, q)]
        a, b = points[q] - points[p], points[r] - points[p]
        return float(a[0] * b[1] - a[1] * b[0])

    found = []
    for (p, q), members in edges_of(faces).items():
        if len(members) == 1 or (len(members) == 2 and side(p, q, members[0]) * side(p, q, members[1]) > 0):
            found.append((p, q, members[0]))
    return found


def antialias(
    image: Tensor, face_map: Tensor, depth: Tensor, vertices: Tensor, faces: Tensor, cameras: Cameras
) -> Tensor:
    """image (B, H, W, C); face_map and depth (B, H, W), -1 for background."""
    parts = parts_of(faces)
    points, _ = cameras.project(vertices)
    silhouettes = [silhouette_edges(faces, points[view].detach()) for view in range(len(cameras))]
    for down, right in ((0, 1), (1, 0)):  # the vertical pairs see what the horizontal ones made
        moves = []
        for view in range(len(cameras)):
            for row in range(cameras.height - down):
                for column in range(cameras.width - right):
                    here, there = (view, row, column), (view, row + down, column + right)
                    if face_map[here] == face_map[there]:
                        continue
                    depths = [depth[at] if face_map[at] >= 0 else torch.inf for at in (here, there)]
                    near, far = (here, there) if depths[0] <= depths[1] else (there, here)
                    axis = 1 if down else 0
                    crossing = _crossing(
                        points[view], silhouettes[view], parts, parts[int(face_map[near])], near, far, axis
                    )
                    if crossing is not None:
                        target, other = (far, near) if crossing > 0.5 else (near, far)
                        moves.append((target, (crossing - 0.5).abs() * (image[other] - image[target])))
        if moves:
            where = tuple(torch.tensor(index) for index in zip(*(target for target, _ in moves)))
            image = image.index_put(where, torch.stack([move for _, move in moves]), accumulate=True)
    return image


def _crossing(points, silhouettes, parts, part, near, far, axis):
    """Where a silhouette edge of `part` crosses from `near` (0) to `far` (1), or None."""
    start = points.new_tensor([near[2] + 0.5, near[1] + 0.5])
    sign = (far[2] - near[2]) + (far[1] - near[1])
    for p, q, face in silhouettes:
        if parts[face] != part:
            continue
        a, b = points[p] - start, points[q] - start
        along, across = b[axis] - a[axis], b[1 - axis] - a[1 - axis]
        steep = along.abs() <= across.abs() if axis == 0 else along.abs() < across.abs()
        if (a[1 - axis] < 0) != (b[1 - axis] < 0) and steep:
            crossing = sign * (a[axis] - a[1 - axis] / across * along)
            if 0 <= crossing <= 1:
                return crossing
    return None
