"""Of a mesh of fixed topology: the uniform Laplacian, and the consistency of normals as a regularizer."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.geometry.fused_smoothness import SMALL_BEND, NormalConsistency
from recon.geometry.mesh import face_normals


class UniformLaplacian:
    """The umbrella operator of a triangle mesh: each vertex's neighbors' mean minus the vertex.

    faces: (F, 3). vertex_count: V. Vertices without a face have the Laplacian 0.

    Vertex i's neighbors are neighbors[first[i] : first[i + 1]].
    """

    def __init__(self, faces: Tensor, vertex_count: int) -> None:
        sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        sides = sides[sides[:, 0] != sides[:, 1]]  # faces without area have such sides
        edges = torch.unique(sides.sort(dim=1).values, dim=0)
        to, order = torch.cat([edges[:, 0], edges[:, 1]]).sort(stable=True)
        self._to = to
        self.neighbors = torch.cat([edges[:, 1], edges[:, 0]])[order]
        self._degree = torch.bincount(to, minlength=vertex_count)
        self.first = torch.nn.functional.pad(self._degree.cumsum(0), (1, 0))

    def __call__(self, values: Tensor) -> Tensor:
        """(V, C) Laplacian of per-vertex `values` (V, C); linear and differentiable."""
        sums = torch.zeros_like(values).index_add(0, self._to, values.index_select(0, self.neighbors))
        degree = self._degree[:, None]
        return sums / degree.clamp(min=1) - values * (degree > 0)


def normal_consistency(vertices: Tensor, faces: Tensor, mates: Tensor) -> Tensor:
    """Mean of sqrt(bend^2 + s^2) - s over adjacent faces; scalar, differentiable in `vertices` (V, 3).

    bend^2 is 2 (1 - cos) of the angle between them, s is `SMALL_BEND`. Small bends are noise, which blurs
    reflections, and count by their square; large ones are creases, which a square would round off.

    faces: (F, 3). mates: (F, 3) from `recon.render.edge_adjacency`; only edges of exactly two faces count.
    Faces without area count as agreeing with neither (cosine 0) and pass no gradient.
    """
    if vertices.dtype == torch.float32:
        return NormalConsistency.apply(vertices, faces, mates)
    return defined_normal_consistency(vertices, faces, mates)


def defined_normal_consistency(vertices: Tensor, faces: Tensor, mates: Tensor) -> Tensor:
    """`normal_consistency` of any type, in torch operations."""
    half_edges, opposite = torch.arange(mates.numel(), device=mates.device), mates.reshape(-1).long()
    once = opposite > half_edges
    normals = torch.nn.functional.normalize(face_normals(vertices, faces), dim=1, eps=1e-15)
    cosine = (normals[half_edges[once] // 3] * normals[opposite[once] // 3]).sum(dim=1)
    size = (2 * (1 - cosine).clamp_min(0) + SMALL_BEND**2).sqrt() - SMALL_BEND
    return size.sum() / max(len(cosine), 1)
