"""Regularizers of a mesh of fixed topology: the uniform Laplacian and the consistency of normals."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.geometry.mesh import face_normals


class UniformLaplacian:
    """The umbrella operator of a triangle mesh: each vertex's neighbors' mean minus the vertex.

    faces: (F, 3). vertex_count: V. Vertices without a face have the Laplacian 0.
    """

    def __init__(self, faces: Tensor, vertex_count: int) -> None:
        sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        sides = sides[sides[:, 0] != sides[:, 1]]  # faces without area have such sides
        edges = torch.unique(sides.sort(dim=1).values, dim=0)
        self._to = torch.cat([edges[:, 0], edges[:, 1]])
        self._from = torch.cat([edges[:, 1], edges[:, 0]])
        self._degree = torch.bincount(self._to, minlength=vertex_count)

    def __call__(self, values: Tensor) -> Tensor:
        """(V, C) Laplacian of per-vertex `values` (V, C); linear and differentiable."""
        sums = torch.zeros_like(values).index_add(0, self._to, values.index_select(0, self._from))
        degree = self._degree[:, None]
        return sums / degree.clamp(min=1) - values * (degree > 0)


def laplacian_difference(laplacian: UniformLaplacian, vertices: Tensor, start: Tensor) -> Tensor:
    """Mean over the vertices of |delta_i - delta_i'|^2, delta the Laplacian of `vertices` (V, 3) and delta'
    that of the `start` mesh (Munkberg et al. 2022, section 8.5: fine stage).

    Zero for any rigid shift: it keeps the local shape of the first stage, not its place. The Laplacian is
    linear, so that of the displacement is all that is needed.
    """
    return laplacian(vertices - start).square().sum(dim=1).mean()


def adjacent_faces(faces: Tensor) -> Tensor:
    """(A, 2) pairs of faces that share an edge with exactly two faces."""
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    owner = torch.arange(len(faces), device=faces.device).repeat(3)
    _, inverse, counts = torch.unique(sides, dim=0, return_inverse=True, return_counts=True)
    order = torch.argsort(inverse, stable=True)
    first = (counts.cumsum(0) - counts)[counts == 2]
    return torch.stack([owner[order[first]], owner[order[first + 1]]], dim=1)


def normal_consistency(vertices: Tensor, faces: Tensor, pairs: Tensor) -> Tensor:
    """Mean of 1 - cos of the angle between adjacent faces; scalar, differentiable in `vertices` (V, 3).

    faces: (F, 3). pairs: (A, 2) from `adjacent_faces`. Faces without area count as agreeing with neither
    (cosine 0) and pass no gradient.
    """
    normals = torch.nn.functional.normalize(face_normals(vertices, faces), dim=1, eps=1e-15)
    cosine = (normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(dim=1)
    return (1 - cosine).mean() if len(pairs) else 0.0 * vertices.sum()
