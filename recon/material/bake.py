"""From the coarse stage's material field to texture maps on an unwrapped mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.linalg import cross
from torch.nn.functional import normalize

from recon.geometry.mesh import Mesh
from recon.material.channels import Channels
from recon.material.field import MaterialField
from usd_tools.texel_raster import nearest_covered, rasterize_texels

# Points sampled at once: bounds the memory of the encoders' activations.
_CHUNK = 1 << 17


@dataclass(frozen=True)
class AtlasTexels:
    """Where the texels of an atlas lie on its mesh: found once, whatever moves or is baked.

    face: (N,) int64 face under the center of each of the N covered texels. barycentrics: (N, 3) float32,
    weights of its corners. shown: (resolution, resolution) int64, the covered texel that each texel repeats:
    itself, or the nearest one in the gutters.
    """

    face: Tensor
    barycentrics: Tensor
    shown: Tensor

    @classmethod
    def of(cls, mesh: Mesh, resolution: int) -> AtlasTexels:
        """Those of a square texture for `mesh`, which has uvs, on its device."""
        assert mesh.uvs is not None and mesh.uv_faces is not None
        texels = rasterize_texels(_numpy(mesh.uvs), _numpy(mesh.uv_faces), resolution)
        covered = texels.covered
        if not covered.any():
            raise ValueError("bake: no texel is covered; expected uvs of positive area")
        number = np.cumsum(covered.ravel()) - 1
        device = mesh.uvs.device
        return cls(
            torch.from_numpy(texels.face[covered].astype(np.int64)).to(device),
            torch.from_numpy(texels.barycentrics[covered]).to(device),
            torch.from_numpy(number[nearest_covered(covered)]).to(device),
        )

    def interpolate(self, values: Tensor, faces: Tensor) -> Tensor:
        """(N, C) `values` of the corners `faces` (F, 3) at the covered texels."""
        corners = values[faces[self.face]]
        return (self.barycentrics[:, :, None] * corners).sum(dim=1)


@torch.no_grad()
def bake_field(field: MaterialField, mesh: Mesh, atlas: AtlasTexels) -> Channels:
    """Samples `field` at every texel of an unwrapped `mesh`; the gutters repeat the nearest chart.

    mesh: with normals and tangents; its vertices may have moved since `atlas` was made of its uvs. Returns
    `Channels` of (resolution, resolution, C) maps, row 0 at v = 1, whose normals are unit vectors in tangent
    space (the field's are world-space offsets).
    """
    sampled = _sample(field, atlas.interpolate(mesh.vertices, mesh.faces))
    tangent_normals = _tangent_space(sampled.normal, atlas, mesh)
    return Channels(
        sampled.albedo[atlas.shown],
        tangent_normals[atlas.shown],
        sampled.roughness[atlas.shown],
        sampled.metallic[atlas.shown],
        sampled.occlusion[atlas.shown],
    )


def _sample(field: MaterialField, positions: Tensor) -> Channels:
    parts = [field.sample(chunk) for chunk in positions.split(_CHUNK)]
    return Channels(
        *(
            torch.cat([getattr(part, name) for part in parts])
            for name in ("albedo", "normal", "roughness", "metallic", "occlusion")
        )
    )


def _tangent_space(offsets: Tensor, atlas: AtlasTexels, mesh: Mesh) -> Tensor:
    """(N, 3) unit tangent-space normals that give n = normalize(n_geometry + offset) on `mesh`."""
    assert mesh.normals is not None and mesh.normal_faces is not None
    assert mesh.tangents is not None and mesh.tangent_faces is not None
    normal = atlas.interpolate(mesh.normals, mesh.normal_faces)
    tangent, sign = atlas.interpolate(mesh.tangents, mesh.tangent_faces).split((3, 1), dim=1)
    bitangent = sign * cross(normal, tangent)
    world = normalize(normalize(normal, dim=-1) + offsets, dim=-1)
    # MikkTSpace frames are not orthonormal between vertices: inverting is exact, projecting is not (Cramer's
    # rule: a solver's setup costs more than all texels). Where a frame has collapsed (no uv area) only
    # "straight up" has a meaning.
    volume = (tangent * cross(bitangent, normal)).sum(dim=1, keepdim=True)
    rows = (cross(bitangent, normal), cross(normal, tangent), cross(tangent, bitangent))
    local = torch.cat([(row * world).sum(dim=1, keepdim=True) for row in rows], dim=1)
    up = local.new_tensor([0.0, 0.0, 1.0]).expand_as(local)
    # The determinant only scales the vector, which is made unit length; its sign turns it around.
    return normalize(torch.where(volume.abs() > 1e-6, local * volume.sign(), up), dim=-1)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
