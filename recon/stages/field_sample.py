"""A material field on a rendered surface, as both stages look it up."""

from __future__ import annotations

from torch import Tensor

from recon.material.channels import Channels
from recon.material.field import MaterialField
from recon.render.render_views import SurfaceSample


def sample_field(field: MaterialField, positions: Tensor, normal: Tensor) -> SurfaceSample:
    """The material at the covered pixels' surface points (P, 3), with interpolated normals (P, 3)."""

    def lookup(points: Tensor, rows: Tensor) -> Channels:
        return field.sample(points)

    return SurfaceSample(field.sample(positions), normal, None, positions, lookup)
