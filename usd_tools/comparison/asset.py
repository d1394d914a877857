"""A textured mesh as both sides of a comparison: geometry, material maps and shading normals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usd_tools.color import srgb_to_linear
from usd_tools.comparison.lookup import bilinear
from usd_tools.comparison.surface import Surface, SurfacePoints
from usd_tools.errors import UserError
from usd_tools.images import read_image
from usd_tools.obj import ObjMesh, read_obj
from usd_tools.tangents import mikk_tangents

_CHANNELS = {"albedo": 3, "roughness": 1, "metallic": 1, "normal": 3}
_OPTIONAL_CHANNELS = {"occlusion": 1}


@dataclass(frozen=True)
class Material:
    """Material at N surface points.

    albedo: (N, 3) scene-linear Rec.709. roughness (perceptual), metallic: (N,). normal: (N, 3) unit
    world-space shading normals. occlusion: (N,), 1 = open, or None if the asset has no such map.
    """

    albedo: NDArray[np.float64]
    roughness: NDArray[np.float64]
    metallic: NDArray[np.float64]
    normal: NDArray[np.float64]
    occlusion: NDArray[np.float64] | None = None

    def __getitem__(self, index: NDArray) -> Material:
        occlusion = None if self.occlusion is None else self.occlusion[index]
        return Material(
            self.albedo[index], self.roughness[index], self.metallic[index], self.normal[index], occlusion
        )


class Asset:
    """A mesh with material maps.

    mesh: with UVs; normals are taken from it, or averaged over the faces (by area) where it has none.
    maps: `albedo` (H, W, 3) scene-linear Rec.709, `roughness`, `metallic` and optionally `occlusion`
        (H, W, 1) in 0..1, `normal` (H, W, 3) tangent space in -1..1, OpenGL +Y. Sizes may differ.
    name: for messages, usually the path.

    Faces without area are left out; `all_uv_faces` (F, 3) has those of the mesh as it was given.

    Raises UserError for a mesh without UVs or area, and for maps that are missing or hold NaN.
    """

    def __init__(self, mesh: ObjMesh, maps: Mapping[str, NDArray], name: str) -> None:
        if mesh.uvs is None or mesh.uv_faces is None:
            raise UserError(
                f"{name}: the mesh has no UVs; expected texture coordinates, unwrap and export it again"
            )
        for channel, width in (_CHANNELS | _OPTIONAL_CHANNELS).items():
            if channel not in maps:
                if channel in _CHANNELS:
                    raise UserError(f"{name}: has no {channel} map; expected {', '.join(_CHANNELS)}")
                continue
            image = maps[channel]
            if image.ndim != 3 or image.shape[2] != width or image.size == 0:
                raise UserError(f"{name}: {channel} map is {image.shape}, expected (height, width, {width})")
            if not np.isfinite(image).all():
                raise UserError(f"{name}: {channel} map holds NaN or infinite values; export it again")
        self.all_uv_faces = mesh.uv_faces
        mesh = _without_flat_faces(mesh, name)
        if mesh.normals is None or mesh.normal_faces is None:
            mesh = replace(mesh, normals=_smooth_normals(mesh), normal_faces=mesh.faces)
        assert mesh.uvs is not None and mesh.uv_faces is not None
        assert mesh.normals is not None and mesh.normal_faces is not None
        self.name = name
        self.mesh = mesh
        self.maps = dict(maps)
        self.uvs, self.uv_faces = mesh.uvs, mesh.uv_faces
        self.normals, self.normal_faces = _unit(mesh.normals), mesh.normal_faces
        self.tangents, self.tangent_faces = mikk_tangents(mesh)
        self.surface = Surface(mesh.vertices, mesh.faces)

    def tangent_frames(self, points: SurfacePoints) -> NDArray[np.float64]:
        """(N, 3, 3) matrices whose columns are tangent, bitangent and normal at `points`, interpolated.

        MikkTSpace: not renormalised, so that a normal map decodes as it was baked.
        """
        tangent = points.interpolate(self.tangents[:, :3], self.tangent_faces)
        # All corners of a face share one orientation.
        sign = self.tangents[self.tangent_faces[points.face, 0], 3:]
        normal = points.interpolate(self.normals, self.normal_faces)
        return np.stack([tangent, sign * np.cross(normal, tangent), normal], axis=-1)

    def smooth_normals(self, points: SurfacePoints) -> NDArray[np.float64]:
        """(N, 3) unit normals without the normal map."""
        return _unit(points.interpolate(self.normals, self.normal_faces))

    def material(self, points: SurfacePoints) -> Material:
        """The maps at `points`, looked up bilinearly; normals turned to world space."""
        uv = points.interpolate(self.uvs, self.uv_faces)
        local = bilinear(self.maps["normal"], uv)
        occlusion = bilinear(self.maps["occlusion"], uv)[:, 0] if "occlusion" in self.maps else None
        return Material(
            albedo=bilinear(self.maps["albedo"], uv),
            roughness=bilinear(self.maps["roughness"], uv)[:, 0],
            metallic=bilinear(self.maps["metallic"], uv)[:, 0],
            normal=_unit(np.einsum("nij,nj->ni", self.tangent_frames(points), local)),
            occlusion=occlusion,
        )

    def transformed(self, matrix: NDArray) -> Asset:
        """The asset moved by `matrix` (4, 4), a similarity in column-vector convention."""
        linear = matrix[:3, :3]
        if np.linalg.det(linear) <= 0:
            raise ValueError("matrix mirrors or flattens, expected a similarity")
        rotation = linear / np.cbrt(np.linalg.det(linear))
        mesh = replace(
            self.mesh,
            vertices=self.mesh.vertices @ linear.T + matrix[:3, 3],
            normals=self.normals @ rotation.T,
        )
        moved = Asset(mesh, self.maps, self.name)
        moved.all_uv_faces = self.all_uv_faces
        return moved


def load_asset(folder: Path) -> Asset:
    """Reads `mesh.obj`, `albedo.png` (sRGB), `roughness.png`, `metallic.png`, `normal.png` and, if it is
    there, `occlusion.png` from `folder`.

    Raises UserError naming the file that is missing or unusable.
    """
    maps = {}
    for channel, width in (_CHANNELS | _OPTIONAL_CHANNELS).items():
        path = folder / f"{channel}.png"
        if channel in _OPTIONAL_CHANNELS and not path.exists():
            continue
        image = read_image(path)
        if image.shape[2] < width:
            raise UserError(f"{path}: has {image.shape[2]} channels, expected {width}; write it again")
        image = image[..., :width]
        if channel == "albedo":
            image = srgb_to_linear(image)
        elif channel == "normal":
            image = 2 * image - 1  # as UsdPreviewSurface's scale and bias, so as it was rendered
        maps[channel] = image
    return Asset(read_obj(folder / "mesh.obj"), maps, str(folder))


def _without_flat_faces(mesh: ObjMesh, name: str) -> ObjMesh:
    """Faces without area have no normal and no surface to compare."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    keep = np.linalg.norm(np.cross(b - a, c - a), axis=1) > 0
    if not keep.any():
        raise UserError(f"{name}: the mesh is empty (no face has an area); expected a surface")
    if keep.all():
        return mesh
    return replace(
        mesh,
        faces=mesh.faces[keep],
        uv_faces=None if mesh.uv_faces is None else mesh.uv_faces[keep],
        normal_faces=None if mesh.normal_faces is None else mesh.normal_faces[keep],
    )


def _smooth_normals(mesh: ObjMesh) -> NDArray[np.float64]:
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    weighted = np.cross(b - a, c - a)
    normals = np.zeros_like(mesh.vertices, dtype=np.float64)
    for k in range(3):
        np.add.at(normals, mesh.faces[:, k], weighted)
    return _unit(normals)


def _unit(vectors: NDArray) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)
