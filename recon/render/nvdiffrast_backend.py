"""The rendering interface implemented with nvdiffrast (optional; CUDA only).

Laine et al., "Modular Primitives for High-Performance Differentiable Rendering" (2020). The rasterizer is
nvdiffrast's CUDA one; OpenGL is not used. Where it differs from the Warp backend:

- triangles are clipped at a near plane (see `recon.render.clip_space`), and depth is resolved by z / w;
- vertices are rounded to a sixteenth of a pixel to decide what covers a centre, so pixels on a triangle's
  edge may show the neighbour; values at them are those of the exact position;
- `antialias` looks at the edges of the pixel's own triangle only, so silhouettes of triangles much smaller
  than a pixel are blended, and get gradients, less completely;
- gradients are summed in no fixed order.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.render.clip_space import clip_positions
from recon.render.identity_cache import IdentityCache
from recon.render.interface import Raster
from recon.render.warp_texture import mip_level


@dataclass(frozen=True)
class _Rasterized:
    """What a raster keeps for the other operations.

    vertices: as given to `rasterize`. clip: (B, V, 4), with their gradient. image: (B, H, W, 4) of
    (b0, b1, z / w, triangle + 1), detached. derivatives: (B, H, W, 4), d(b0, b1) / d pixel.
    covered: (1, 1, P, 4), the image's covered pixels as an image of one row, with the vertices' gradient:
    what makes nvdiffrast's operations work on covered pixels only.
    """

    vertices: Tensor
    clip: Tensor
    image: Tensor
    derivatives: Tensor
    covered: Tensor


class NvdiffrastRasterizer:
    """Implements `recon.render.interface.Rasterizer` with nvdiffrast's CUDA kernels."""

    name = "nvdiffrast"

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._ops: Any = importlib.import_module("nvdiffrast.torch")
        self._context = self._ops.RasterizeCudaContext(device=self.device)
        self._faces: IdentityCache[Tensor] = IdentityCache(_int32)
        self._topology: IdentityCache[Any] = IdentityCache(self._make_topology)

    def rasterize(self, vertices: Tensor, faces: Tensor, cameras: Cameras) -> Raster:
        size = (cameras.height, cameras.width)
        clip = clip_positions(vertices, cameras).contiguous() if len(vertices) else vertices.new_zeros(0)
        if faces.shape[0] == 0 or len(vertices) == 0:
            image = derivatives = vertices.new_zeros(len(cameras), *size, 4)
        else:
            triangles = self._faces.get(faces)
            image, derivatives = self._ops.rasterize(self._context, clip, triangles, size, grad_db=False)
        pixels = torch.nonzero(image.detach()[..., 3].view(-1) > 0)[:, 0]
        covered = image.view(-1, 4).index_select(0, pixels)
        first_two = covered[:, :2]
        barycentrics = torch.cat([first_two, 1.0 - first_two.sum(dim=1, keepdim=True)], dim=1)
        triangles = covered.detach()[:, 3].long() - 1
        native = _Rasterized(vertices, clip, image.detach(), derivatives.detach(), covered[None, None])
        return Raster(cameras, faces, vertices, pixels, triangles, barycentrics, native)

    def interpolate(self, attributes: Tensor, raster: Raster, index: Tensor) -> Tensor:
        if len(raster.pixels) == 0:
            return _nothing(attributes)
        values, _ = self._ops.interpolate(
            attributes[None].contiguous(), raster.native.covered, self._int32_index(index, raster)
        )
        return values[0, 0]

    def uv_footprint(self, uvs: Tensor, raster: Raster, index: Tensor) -> Tensor:
        if len(raster.pixels) == 0:
            return uvs.new_zeros(0, 2, 2)
        native: _Rasterized = raster.native
        derivatives = native.derivatives.view(-1, 4).index_select(0, raster.pixels)[None, None]
        _, footprint = self._ops.interpolate(
            uvs.detach()[None].contiguous(),
            native.covered.detach(),
            self._int32_index(index, raster),
            rast_db=derivatives,
            diff_attrs="all",
        )
        return footprint.view(-1, 2, 2)

    def antialias(self, image: Tensor, raster: Raster) -> Tensor:
        if len(raster.pixels) == 0:
            return image
        native: _Rasterized = raster.native
        same = raster.vertices is native.vertices
        clip = native.clip if same else clip_positions(raster.vertices, raster.cameras).contiguous()
        return self._ops.antialias(
            image.contiguous(),
            native.image,
            clip,
            self._faces.get(raster.faces),
            topology_hash=self._topology.get(raster.faces),
        )

    def texture(self, mips: list[Tensor], uv: Tensor, footprint: Tensor | None = None) -> Tensor:
        if len(uv) == 0:
            return _nothing(mips[0][0])
        height, width, _ = mips[0].shape
        base, *others = (level[None].contiguous() for level in mips)
        # nvdiffrast's row 0 is v = 0.
        where = torch.stack([uv[:, 0], 1.0 - uv[:, 1]], dim=1)[None, None]
        if footprint is None or not others:
            return self._ops.texture(base, where, filter_mode="linear", boundary_mode="wrap")[0, 0]
        # The level is chosen here, not from the footprint by nvdiffrast, so that both backends filter alike.
        wanted = mip_level(footprint.detach(), height, width, len(mips))
        filtered = self._ops.texture(
            base,
            where,
            mip_level_bias=wanted[None, None].contiguous(),
            mip=others,
            filter_mode="linear-mipmap-linear",
            boundary_mode="wrap",
        )
        return filtered[0, 0]

    def _int32_index(self, index: Tensor, raster: Raster) -> Tensor:
        return self._faces.get(index) if index is raster.faces else _int32(index)

    def _make_topology(self, faces: Tensor) -> Any:
        return self._ops.antialias_construct_topology_hash(self._faces.get(faces))


def _int32(index: Tensor) -> Tensor:
    return index.to(torch.int32).contiguous()


def _nothing(rows: Tensor) -> Tensor:
    """(0, C), still part of the graph of `rows` (N, C): nvdiffrast refuses empty images."""
    return rows[:0]
