"""What the fine stage learns: the material on a mesh of fixed topology, and how far its vertices move."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from recon.geometry.diffusion import Diffusion
from recon.geometry.laplacian import UniformLaplacian
from recon.geometry.mesh import Mesh, MeshTangentGroups, face_normals
from recon.material.channels import Channels
from recon.material.field import MaterialField
from recon.material.texture_maps import TextureMaps
from recon.render.interface import Raster, Rasterizer
from recon.render.render_views import SurfaceSample
from recon.render.self_occlusion import SelfOcclusion, vertex_uvs
from recon.stages.field_sample import sample_field


class FineScene(nn.Module):
    """An unwrapped mesh with a material on it, rendered by `recon.render.render_views`.

    start: the mesh to refine; needs uvs. With `movable=False` (known-mesh mode) the artist's vertices and
    normals stay as they are (normals are made where none are authored). With `movable=True` vertices are
    learnt and normals follow them.
    diffusion: steps of it from the learnt `offsets` to displacements, so that vertices move with their
    neighbors (`recon.geometry.diffusion`).
    material: texture maps, looked up by uv, or a field, looked up in 3D and baked when it is learnt.
    occlusion: what of the light the object keeps from itself; None for nothing.
    """

    def __init__(
        self,
        start: Mesh,
        material: TextureMaps | MaterialField,
        *,
        movable: bool,
        diffusion: int = 0,
        occlusion: SelfOcclusion | None = None,
    ) -> None:
        super().__init__()
        if movable or start.normals is None:
            start = start.with_smooth_normals()
        self.tangent_groups = MeshTangentGroups.of(start, weld_normals=not movable)
        self._start = start.with_tangents(self.tangent_groups)
        self.material = material
        self.occlusion = occlusion
        self.offsets = nn.Parameter(torch.zeros_like(start.vertices), requires_grad=movable)
        self._diffusion = Diffusion(UniformLaplacian(start.faces, len(start.vertices)), diffusion)

    @property
    def start(self) -> Mesh:
        """The mesh as it was given, with normals and tangents."""
        return self._start

    def start_tensors(self) -> dict[str, Tensor]:
        """The given mesh's tensors by the names of `Mesh`'s fields, to make the scene anew of."""
        given = {
            "vertices": self._start.vertices,
            "faces": self._start.faces,
            "uvs": self._start.uvs,
            "uv_faces": self._start.uv_faces,
            "normals": self._start.normals,
            "normal_faces": self._start.normal_faces,
        }
        return {name: tensor for name, tensor in given.items() if tensor is not None}

    def uv_per_length(self) -> float:
        """Side of a uv square over that of the surface it covers, averaged over the start mesh's area."""
        assert self._start.uvs is not None and self._start.uv_faces is not None
        surface = face_normals(self._start.vertices, self._start.faces).norm(dim=1).sum()
        flat = torch.nn.functional.pad(self._start.uvs, (0, 1))
        covered = face_normals(flat, self._start.uv_faces).norm(dim=1).sum()
        return float((covered / surface.clamp(min=1e-12)).sqrt())

    def mesh(self) -> Mesh:
        if not self.offsets.requires_grad:
            return self._start
        moved = self._start.with_vertices(self._vertices()).with_smooth_normals()
        if not isinstance(self.material, TextureMaps):
            return moved  # fields perturb normals in world space
        # The frame only says what a texel's x and y mean; a gradient through it would teach the surface to
        # spin its tangents instead of the texture its normals.
        frames = moved.detach().with_tangents(self.tangent_groups)
        return replace(moved, tangents=frames.tangents, tangent_faces=frames.tangent_faces)

    def vertex_material(self, rasterizer: Rasterizer) -> Channels:
        """The material at the mesh's V vertices, without gradient."""
        with torch.no_grad():
            if isinstance(self.material, TextureMaps):
                return self.material.sample(vertex_uvs(self._start), None, rasterizer)
            return self.material.sample(self._vertices())

    def _vertices(self) -> Tensor:
        return self._start.vertices + self._diffusion(self.offsets)

    def sample(self, mesh: Mesh, raster: Raster, positions: Tensor, rasterizer: Rasterizer) -> SurfaceSample:
        assert mesh.normals is not None and mesh.normal_faces is not None
        normal = rasterizer.interpolate(mesh.normals, raster, mesh.normal_faces)
        if isinstance(self.material, TextureMaps):
            return self._sample_maps(self.material, mesh, raster, normal, rasterizer)
        return sample_field(self.material, positions, normal)

    @staticmethod
    def _sample_maps(
        maps: TextureMaps, mesh: Mesh, raster: Raster, normal: Tensor, rasterizer: Rasterizer
    ) -> SurfaceSample:
        assert mesh.uvs is not None and mesh.uv_faces is not None
        assert mesh.tangents is not None and mesh.tangent_faces is not None
        uv = rasterizer.interpolate(mesh.uvs, raster, mesh.uv_faces).detach()
        footprint = rasterizer.uv_footprint(mesh.uvs, raster, mesh.uv_faces)
        pyramid = maps.pyramid()

        def lookup(uvs: Tensor, rows: Tensor) -> Channels:
            return pyramid.sample(uvs, footprint[rows], rasterizer)

        tangent = rasterizer.interpolate(mesh.tangents, raster, mesh.tangent_faces).detach()
        channels = pyramid.sample(uv, footprint, rasterizer)
        return SurfaceSample(channels, normal, tangent, uv, lookup)
