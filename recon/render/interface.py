"""The rendering interface: what a backend must do, and nothing more.

Two backends fit behind it: Warp (default, CPU and CUDA) and nvdiffrast (optional, CUDA). Shading is not part
of it: it is written once, over the covered pixels that a `Raster` lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from recon.data.cameras import Cameras


@dataclass
class Visibility:
    """What each pixel shows: dense maps over all pixels, and the crossings once `antialias` has found them.

    face_map: (B * H * W,) int32, the triangle that each pixel shows, -1 for none. distance: (B * H * W,),
    nearer is less; only neighbouring pixels are compared.
    """

    face_map: Tensor
    distance: Tensor
    faces: Tensor  # (F, 3) int32
    crossings: Any = None


@dataclass(frozen=True)
class Raster:
    """Which triangle each covered pixel of a batch of views shows.

    cameras: the B views.
    faces: (F, 3) int64, the triangles' vertex indices.
    vertices: (V, 3) world positions, as given to `rasterize` (carries its gradient).
    pixels: (P,) int64, ascending flat indices into B * height * width of the covered pixels.
    triangles: (P,) int64, index into `faces`.
    barycentrics: (P, 3), perspective-correct weights of the triangle's vertices at the pixel centre;
        differentiable with respect to `vertices`.
    native: what the backend keeps for itself.
    """

    cameras: Cameras
    faces: Tensor
    vertices: Tensor
    pixels: Tensor
    triangles: Tensor
    barycentrics: Tensor
    native: Any = field(default=None, repr=False)

    @cached_property
    def views(self) -> Tensor:
        """(P,) int64, the view each covered pixel belongs to."""
        return self.pixels // (self.cameras.height * self.cameras.width)

    def scatter(self, values: Tensor) -> Tensor:
        """Puts per-pixel `values` (P, C) into zero images (B, height, width, C); differentiable."""
        batch, height, width = len(self.cameras), self.cameras.height, self.cameras.width
        image = _Scatter.apply(values, self.pixels, batch * height * width)
        return image.view(batch, height, width, values.shape[1])


class _Scatter(torch.autograd.Function):
    """`values` (P, C) as the rows `index` (P,), each once, of zeros (N, C).

    Torch's own functions copy the zeros first, to keep them, and look for repeated rows on the way back.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(index)
        return values.new_zeros(count, values.shape[1]).index_copy_(0, index, values.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        return gradient.index_select(0, index), None, None


class Rasterizer(Protocol):
    """A rendering backend. All tensors are float32 (indices int64) on one device."""

    name: str

    def rasterize(self, vertices: Tensor, faces: Tensor, cameras: Cameras) -> Raster:
        """Finds the nearest triangle through every pixel centre. Both sides of a triangle are seen.

        vertices: (V, 3) world positions. faces: (F, 3) int64.
        Visibility itself is not differentiable: `antialias` supplies silhouette gradients.
        """
        ...

    def visible(self, vertices: Tensor, faces: Tensor, cameras: Cameras) -> Visibility:
        """Which triangle each pixel shows, without a list of the covered ones; not differentiable."""
        ...

    def interpolate(self, attributes: Tensor, raster: Raster, index: Tensor) -> Tensor:
        """(P, C) attributes at the covered pixels; differentiable in `attributes` and barycentrics.

        attributes: (N, C). index: (F, 3) int64, the attribute row of each triangle corner.
        """
        ...

    def uv_footprint(self, uvs: Tensor, raster: Raster, index: Tensor) -> Tensor:
        """(P, 2, 2) derivative of the uv at each covered pixel: [:, i, j] = d uv_i / d pixel_j (x, y).

        For mip selection only; not differentiable.
        """
        ...

    def antialias(self, image: Tensor, raster: Raster) -> Tensor:
        """Blends silhouette pixels by analytic coverage (Laine et al. 2020, section 3.5).

        image: (B, H, W, C), any channels. Returns the same shape. Differentiable in `image` and, through
        the position of silhouette edges, in `raster.vertices`.
        """
        ...

    def texture(self, mips: Sequence[Tensor], uv: Tensor, footprint: Tensor | None = None) -> Tensor:
        """(P, C) texture lookup with wrap-around ("repeat") addressing.

        mips: level 0 first, each (H, W, C); level k + 1 has half the size of level k. Row 0 is v = 1 (the
        top of the picture). uv: (P, 2) with v up. footprint: (P, 2, 2) from `uv_footprint`, or None for
        bilinear lookup in level 0. Differentiable in `mips` and `uv`.
        """
        ...
