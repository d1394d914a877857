"""Averages over a surface's neighborhoods: displacements that move whole regions, and meshes without noise.

Where every vertex has a step of its own, noise in its gradient becomes noise in the normals, long before a
surface that is wrong by some degrees over a wide region has moved. Nicolet et al. 2021 (Large Steps in
Inverse Rendering of Geometry) optimize through a smoothing operator instead. Theirs is the inverse of
I + lambda L; the one here is a number of diffusion steps, which need no solver and fit into a CUDA graph.
"""

from __future__ import annotations

from typing import Any

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from recon.geometry.laplacian import UniformLaplacian
from recon.warp_runtime import launch

wp.set_module_options({"enable_backward": False})

# Of the way to its neighbors' mean that a step takes a vertex: the most that turns no oscillation over.
_SHARE = 0.5
# Taubin's second step, which grows what the first has shrunk: wavelengths of many edges keep their size.
_GROWTH = -0.53


class Diffusion:
    """`steps` of diffusion over a triangle mesh's edges, a symmetric linear operator on per-vertex values.

    laplacian: of the mesh, for its adjacency. A step takes v_i to v_i + s sum_j (v_j - v_i) / max(d_i, d_j)
    over i's neighbors j, where d counts neighbors and s is 0.5. Constants stay, sums stay, and bumps spread
    over about 0.7 sqrt(steps) edges. Vertices without a neighbor stay.
    """

    def __init__(self, laplacian: UniformLaplacian, steps: int) -> None:
        self._laplacian = laplacian
        self._steps = steps

    def __call__(self, values: Tensor) -> Tensor:
        """(V, 3) of float32 `values` (V, 3); differentiable."""
        if self._steps == 0:
            return values
        return _Diffuse.apply(values, self._laplacian, (_SHARE,) * self._steps)


@torch.no_grad()
def denoised(vertices: Tensor, faces: Tensor, steps: int) -> Tensor:
    """(V, 3) float32 `vertices` of a mesh `faces` (F, 3), smoothed without shrinking (Taubin 1995).

    steps: pairs of a smoothing and a growing step. Ten of them take the noise of marching tetrahedra out of
    the normals; what spans ten edges or more stays as it is.
    """
    laplacian = UniformLaplacian(faces, len(vertices))
    return _repeated(vertices, laplacian, (_SHARE, _GROWTH) * steps)


def defined_diffusion(values: Tensor, faces: Tensor, steps: int) -> Tensor:
    """`Diffusion` of values (V, C) of any type, as the dense matrix that it is."""
    count = len(values)
    adjacent = torch.zeros(count, count, dtype=values.dtype)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        adjacent[faces[:, a], faces[:, b]] = adjacent[faces[:, b], faces[:, a]] = 1.0
    adjacent.fill_diagonal_(0.0)
    degree = adjacent.sum(dim=1)
    weights = adjacent / torch.maximum(degree[:, None], degree[None]).clamp_min(1.0)
    step = torch.eye(count, dtype=values.dtype) + _SHARE * (weights - torch.diag(weights.sum(dim=1)))
    return torch.linalg.matrix_power(step, steps) @ values


class _Diffuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, laplacian: UniformLaplacian, shares: tuple[float, ...]) -> Tensor:
        ctx.laplacian, ctx.shares = laplacian, shares
        return _repeated(values.detach(), laplacian, shares)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return _repeated(upstream, ctx.laplacian, ctx.shares), None, None  # symmetric: its own transpose


def _repeated(values: Tensor, laplacian: UniformLaplacian, shares: tuple[float, ...]) -> Tensor:
    source = values.contiguous()
    buffers = torch.empty_like(source), torch.empty_like(source)
    for number, share in enumerate(shares):
        target = buffers[number % 2]
        inputs = (source, laplacian.first, laplacian.neighbors, share, target)
        launch(diffuse, len(source), inputs, source.device)
        source = target
    return source


@wp.kernel
def diffuse(
    start: int,
    values: wp.array[wp.vec3],
    first: wp.array[wp.int64],
    neighbors: wp.array[wp.int64],
    share: float,
    diffused: wp.array[wp.vec3],
) -> None:
    i = start + wp.tid()
    begin = int(first[i])
    end = int(first[i + 1])
    own = values[i]
    change = wp.vec3(0.0, 0.0, 0.0)
    for place in range(begin, end):
        j = int(neighbors[place])
        degree = wp.max(end - begin, int(first[j + 1]) - int(first[j]))
        change += (values[j] - own) / float(degree)
    diffused[i] = own + share * change
