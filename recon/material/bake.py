"""From the coarse stage's material field to texture maps on an unwrapped mesh."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.geometry.mesh import Mesh
from recon.material.channels import Channels
from recon.material.field import MaterialField
from usd_tools.texel_raster import TexelMap, nearest_covered, rasterize_texels

# Points sampled at once: bounds the memory of the encoders' activations.
_CHUNK = 1 << 17


@torch.no_grad()
def bake_field(field: MaterialField, mesh: Mesh, resolution: int) -> Channels:
    """Samples `field` at every texel of an unwrapped `mesh`; the gutters repeat the nearest chart.

    mesh: with uvs, normals and tangents. Returns `Channels` of (resolution, resolution, C) maps, row 0 at
    v = 1, whose normals are unit vectors in tangent space (the field's are world-space offsets).
    """
    assert mesh.uvs is not None and mesh.uv_faces is not None
    texels = rasterize_texels(_numpy(mesh.uvs), _numpy(mesh.uv_faces), resolution)
    if not texels.covered.any():
        raise ValueError("bake: no texel is covered; expected uvs of positive area")
    positions = _interpolate(texels, mesh.vertices, mesh.faces)
    sampled = _sample(field, positions)
    tangent_normals = _tangent_space(sampled.normal, texels, mesh)
    source = torch.from_numpy(nearest_covered(texels.covered)).to(positions.device)
    rows = torch.full((resolution * resolution,), -1, dtype=torch.int64, device=positions.device)
    covered = torch.from_numpy(np.flatnonzero(texels.covered)).to(positions.device)
    rows[covered] = torch.arange(len(covered), device=positions.device)
    index = rows[source]  # (resolution, resolution): the row of `sampled` that each texel shows
    return Channels(
        sampled.albedo[index],
        tangent_normals[index],
        sampled.roughness[index],
        sampled.metallic[index],
        sampled.occlusion[index],
    )


def _sample(field: MaterialField, positions: Tensor) -> Channels:
    parts = [field.sample(chunk) for chunk in positions.split(_CHUNK)]
    return Channels(
        *(
            torch.cat([getattr(part, name) for part in parts])
            for name in ("albedo", "normal", "roughness", "metallic", "occlusion")
        )
    )


def _tangent_space(offsets: Tensor, texels: TexelMap, mesh: Mesh) -> Tensor:
    """(N, 3) unit tangent-space normals that give n = normalize(n_geometry + offset) on `mesh`."""
    assert mesh.normals is not None and mesh.normal_faces is not None
    assert mesh.tangents is not None and mesh.tangent_faces is not None
    normal = _interpolate(texels, mesh.normals, mesh.normal_faces)
    tangent = _interpolate(texels, mesh.tangents, mesh.tangent_faces)
    bitangent = tangent[:, 3:] * torch.linalg.cross(normal, tangent[:, :3])
    frame = torch.stack([tangent[:, :3], bitangent, normal], dim=-1)  # columns: what x, y and z stand for
    # MikkTSpace frames are not orthonormal between vertices: inverting is exact, projecting is not. Where a
    # frame has collapsed (no uv area) only "straight up" has a meaning.
    usable = torch.linalg.det(frame).abs() > 1e-6
    frame = torch.where(usable[:, None, None], frame, torch.eye(3, device=frame.device))
    world = normalize(normalize(normal, dim=-1) + offsets, dim=-1)
    local = torch.linalg.solve(frame, world[:, :, None])[:, :, 0]
    up = local.new_tensor([0.0, 0.0, 1.0]).expand_as(local)
    return normalize(torch.where(usable[:, None], local, up), dim=-1)


def _interpolate(texels: TexelMap, values: Tensor, faces: Tensor) -> Tensor:
    found = texels.interpolate(_numpy(values), _numpy(faces))
    return torch.from_numpy(found.astype(np.float32)).to(values.device)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
