"""The rendering interface implemented with NVIDIA Warp: runs on CPU and CUDA, needs no compiler."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.render.edge_adjacency import mates_of
from recon.render.interface import Raster, Visibility
from recon.render.mipmaps import MipChain
from recon.render.triangle_bvh import TriangleBvh
from recon.render.warp_antialias import antialias, find_crossings
from recon.render.warp_kernels.visibility import trace_pixels
from recon.render.warp_surface import Interpolate, SolveBarycentrics, camera_inputs, uv_footprint
from recon.render.warp_texture import LookUpTexture
from recon.warp_runtime import launch


class WarpRasterizer:
    """Implements `recon.render.interface.Rasterizer` with Warp kernels.

    Nothing is clipped at a near plane: primary visibility is traced, so surfaces that reach behind the
    camera are seen right. On the CPU all results, gradients included, are the same from run to run; on
    CUDA, gradients are summed in no fixed order.

    bvh: the tree over the mesh last rasterized, for whoever traces further rays.
    """

    name = "warp"

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.bvh = TriangleBvh()

    def rasterize(self, vertices: Tensor, faces: Tensor, cameras: Cameras) -> Raster:
        visibility = self.visible(vertices, faces, cameras)
        pixels = torch.nonzero(visibility.face_map >= 0)[:, 0]
        return self.raster_of(vertices, faces, pixels, visibility, cameras)

    def visible(self, vertices: Tensor, faces: Tensor, cameras: Cameras) -> Visibility:
        total = len(cameras) * cameras.height * cameras.width
        face_map = torch.empty(total, dtype=torch.int32, device=self.device)
        distance = torch.empty(total, device=self.device)
        if faces.shape[0] > 0:
            mesh = self.bvh.update(vertices, faces)
            inputs = (mesh, *camera_inputs(cameras), face_map, distance)
            launch(trace_pixels, total, inputs, self.device)
        else:
            face_map.fill_(-1)
        return Visibility(face_map, distance, self.bvh.faces_int32(faces))

    def raster_of(
        self,
        vertices: Tensor,
        faces: Tensor,
        pixels: Tensor,
        visibility: Visibility,
        cameras: Cameras,
        *,
        shown: bool = True,
    ) -> Raster:
        """The raster of the flat indices `pixels` (P,) of what `visible` found.

        shown: False to leave out what is shown (triangles and barycentrics), for `antialias` only.
        """
        if shown:
            barycentrics, triangles = SolveBarycentrics.apply(
                vertices, visibility.faces, pixels, visibility.face_map, cameras
            )
        else:
            barycentrics, triangles = vertices.new_empty(0, 3), pixels[:0]
        # Crossings belong to one raster.
        native = Visibility(visibility.face_map, visibility.distance, visibility.faces)
        return Raster(cameras, faces, vertices, pixels, triangles, barycentrics, native)

    def interpolate(self, attributes: Tensor, raster: Raster, index: Tensor) -> Tensor:
        return Interpolate.apply(attributes, raster.barycentrics, raster.triangles, index)

    def uv_footprint(self, uvs: Tensor, raster: Raster, index: Tensor) -> Tensor:
        surface = (raster.barycentrics, raster.vertices, raster.native.faces)
        return uv_footprint(uvs, index, *surface, raster.pixels, raster.triangles, raster.cameras)

    def antialias(self, image: Tensor, raster: Raster) -> Tensor:
        visibility: Visibility = raster.native
        if visibility.crossings is None:
            visibility.crossings = find_crossings(
                raster.pixels,
                visibility.face_map,
                visibility.distance,
                raster.vertices,
                visibility.faces,
                mates_of(raster.faces),
                raster.cameras,
            )
        return antialias(image, visibility.crossings, raster.vertices, raster.cameras)

    def texture(self, mips: Sequence[Tensor], uv: Tensor, footprint: Tensor | None = None) -> Tensor:
        chain = MipChain.of(mips)
        footprints = uv.new_empty(0, 2, 2) if footprint is None else footprint
        return LookUpTexture.apply(uv, footprints, chain.flat, (chain.height, chain.width), len(chain))
