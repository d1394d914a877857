"""What the coarse stage learns: a DMTet surface with the material as a field in 3D."""

from __future__ import annotations

from torch import Tensor, nn

from recon.geometry.dmtet import DMTet
from recon.geometry.mesh import Mesh
from recon.material.field import MaterialField
from recon.render.interface import Raster, Rasterizer
from recon.render.render_views import SurfaceSample
from recon.stages.field_sample import sample_field


class CoarseScene(nn.Module):
    """A deformable tetrahedral grid and a material field, rendered by `recon.render.render_views`.

    Nothing blocks the light here: shadows of a surface that is still forming would only mislead it.
    """

    occlusion = None

    def __init__(self, geometry: DMTet, field: MaterialField) -> None:
        super().__init__()
        self.geometry = geometry
        self.field = field

    def start_tensors(self) -> dict[str, Tensor]:
        """The tetrahedral grid's box, to make the scene anew of."""
        return self.geometry.box.tensors()

    def mesh(self) -> Mesh:
        return Mesh(*self.geometry.extract()).with_smooth_normals()

    def sample(self, mesh: Mesh, raster: Raster, positions: Tensor, rasterizer: Rasterizer) -> SurfaceSample:
        assert mesh.normals is not None and mesh.normal_faces is not None
        normal = rasterizer.interpolate(mesh.normals, raster, mesh.normal_faces)
        return sample_field(self.field, positions, normal)
