"""The rendering interface implemented with nvdiffrast (optional; CUDA only).

Laine et al., "Modular Primitives for High-Performance Differentiable Rendering" (2020). The rasterizer is
nvdiffrast's CUDA one; OpenGL is not used. Where it differs from the Warp backend:

- triangles are clipped at a near plane (see `recon.render.clip_space`), and depth is resolved by z / w;
- vertices are rounded to a sixteenth of a pixel to decide what covers a centre, so pixels on a triangle's
  edge may show the neighbour; values at them are those of the exact position;
- gradients are summed in no fixed order.

Antialiasing is the Warp backend's. nvdiffrast's own looks at the edges of the pixel's triangle only, and near
a silhouette several foreshortened triangles share a pixel, so it finds few of the edges: done its way, the
silhouette gradient of a sphere in a tetrahedral grid of 32 cells, at 256 x 192 pixels, has a tenth of the
length of the exact one (an integral along the outline) and a cosine of 0.6 with it; done Warp's way, 1.00 of
the length and a cosine above 0.99.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.render.clip_space import clip_positions
from recon.render.identity_cache import IdentityCache
from recon.render.interface import Raster, Visibility
from recon.render.warp_backend import WarpRasterizer
from recon.render.warp_texture import mip_level


@dataclass(frozen=True)
class _Rasterized:
    """What a raster keeps for the other operations.

    covered: (1, 1, P, 4), rows (b0, b1, z / w, triangle + 1) of the covered pixels as an image of one row,
        with the vertices' gradient: what makes nvdiffrast's operations work on covered pixels only.
    derivatives: (B, H, W, 4), d(b0, b1) / d pixel.
    visibility: what the Warp backend antialiases with.
    """

    covered: Tensor
    derivatives: Tensor
    visibility: Visibility


class NvdiffrastRasterizer:
    """Implements `recon.render.interface.Rasterizer` with nvdiffrast's CUDA kernels."""

    name = "nvdiffrast"

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._ops: Any = importlib.import_module("nvdiffrast.torch")
        self._context = self._ops.RasterizeCudaContext(device=self.device)
        self._faces: IdentityCache[Tensor] = IdentityCache(_int32)
        self._warp = WarpRasterizer(self.device)

    def visible(self, vertices: Tensor, faces: Tensor, cameras: Cameras) -> Visibility:
        with torch.no_grad():
            return self._visibility(self._images(vertices, faces, cameras)[0], faces)

    def _images(self, vertices: Tensor, faces: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """nvdiffrast's two images, (B, H, W, 4) each."""
        size = (cameras.height, cameras.width)
        if len(faces) == 0 or len(vertices) == 0:
            nothing = vertices.new_zeros(len(cameras), *size, 4)
            return nothing, nothing
        clip = clip_positions(vertices, cameras).contiguous()
        return self._ops.rasterize(self._context, clip, self._faces.get(faces), size, grad_db=False)

    def _visibility(self, image: Tensor, faces: Tensor) -> Visibility:
        depth, shown = image.detach().view(-1, 4)[:, 2:].unbind(-1)
        return Visibility(shown.to(torch.int32) - 1, depth.contiguous(), self._faces.get(faces))

    def rasterize(self, vertices: Tensor, faces: Tensor, cameras: Cameras) -> Raster:
        image, derivatives = self._images(vertices, faces, cameras)
        visibility = self._visibility(image, faces)
        face_map = visibility.face_map
        pixels = torch.nonzero(face_map >= 0)[:, 0]
        covered = image.view(-1, 4).index_select(0, pixels)
        first_two = covered[:, :2]
        barycentrics = torch.cat([first_two, 1.0 - first_two.sum(dim=1, keepdim=True)], dim=1)
        native = _Rasterized(covered[None, None], derivatives.detach(), visibility)
        shown_triangles = face_map.index_select(0, pixels).long()
        return Raster(cameras, faces, vertices, pixels, shown_triangles, barycentrics, native)

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
        return self._warp.antialias(image, replace(raster, native=raster.native.visibility))

    def texture(self, mips: Sequence[Tensor], uv: Tensor, footprint: Tensor | None = None) -> Tensor:
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


def _int32(index: Tensor) -> Tensor:
    return index.to(torch.int32).contiguous()


def _nothing(rows: Tensor) -> Tensor:
    """(0, C), still part of the graph of `rows` (N, C): nvdiffrast refuses empty images."""
    return rows[:0]
