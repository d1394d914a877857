"""Errors of a texture layout on the faces and points of the stage's own meshes.

The layout belongs to the triangles of the ground truth: those of the limit surface where a mesh is
subdivided, with texture coordinates that may have been laid out anew. So the same triangles are read from the
stage again, and each is looked up where the layout has it. Needs pxr and numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.comparison.error_maps import ErrorMaps
from usd_tools.errors import UserError
from usd_tools.mesh_reading import TriangleMesh, read_triangles

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Means = tuple[Array, npt.NDArray[np.bool_]]

_ROUNDING = 1e-3
"""How far texture coordinates may lie from where they are expected: less than a texel."""


@dataclass(frozen=True)
class MeasuredMesh:
    """A UsdGeom.Mesh and where the layout has its triangles.

    points, faces: how many the stage's mesh has. triangles: of the ground truth. uv_rows: (F, 3) rows of the
    layout's texture coordinates.
    """

    mesh: Any
    points: int
    faces: int
    triangles: TriangleMesh
    uv_rows: npt.NDArray[np.integer]

    @property
    def is_subdivided(self) -> bool:
        return str(self.mesh.GetSubdivisionSchemeAttr().Get() or "none") != "none"

    def vertex_means(self, maps: ErrorMaps, channel: str) -> Means:
        """The error at each point (of a subdivision surface: at its limit), and where it is known."""
        # The points of the stage's mesh come first; a seam's sides count once each.
        corners = np.stack([self.triangles.mesh.faces.ravel(), self.uv_rows.ravel()], axis=-1)
        corners = np.unique(corners[corners[:, 0] < self.points], axis=0)
        total, weight = sample(maps, channel, maps.uvs[corners[:, 1]])
        return _means(corners[:, 0], total, weight, self.points)

    def face_means(self, maps: ErrorMaps, channel: str) -> Means:
        """The mean error over each face, and where it is known."""
        corners = maps.uvs[self.uv_rows].astype(np.float64)
        center = corners.mean(axis=1, keepdims=True)
        shape = self.triangles.mesh
        a, b, c = (shape.vertices[shape.faces[:, k]] for k in range(3))
        area = np.repeat(np.linalg.norm(np.cross(b - a, c - a), axis=1), 3)
        total, weight = np.zeros(len(area)), np.zeros(len(area))
        for reach in (0.25, 0.5, 0.75, 0.95):
            more = sample(maps, channel, (center + reach * (corners - center)).reshape(-1, 2))
            # A ring further out stands for more of the triangle.
            total, weight = total + reach * more[0], weight + reach * more[1]
        return _means(np.repeat(self.triangles.polygons, 3), area * total, area * weight, self.faces)

    def has_layout(self, maps: ErrorMaps, uv_primvar: str, time: float) -> bool:
        """Whether the mesh's own texture coordinates are the layout's."""
        values, rows = read_triangles(self.mesh, time, [uv_primvar]).uv_sets[uv_primvar]
        return bool(np.allclose(values[rows], maps.uvs[self.uv_rows], rtol=0, atol=_ROUNDING))


def measured_meshes(meshes: Sequence[Any], maps: ErrorMaps, time: float) -> list[MeasuredMesh]:
    """The object's meshes, in the order in which the ground truth has them.

    Raises:
        UserError: a mesh cannot be read, or they are not those that were compared.
    """
    found: list[MeasuredMesh] = []
    begin = 0
    for mesh in meshes:
        triangles = read_triangles(mesh, time, ())
        end = begin + len(triangles.polygons)
        points = len(mesh.GetPointsAttr().Get(time))
        faces = len(mesh.GetFaceVertexCountsAttr().Get(time))
        found.append(MeasuredMesh(mesh, points, faces, triangles, maps.uv_faces[begin:end]))
        begin = end
    if begin != len(maps.uv_faces):
        names = ", ".join(str(mesh.GetPath()) for mesh in meshes[:3])
        raise UserError(
            f"{names}: has {begin} triangles, the object that was compared has {len(maps.uv_faces)}; "
            "choose that object, in the state in which it was exported"
        )
    used = maps.uvs[maps.uv_faces]
    if used.min() < -_ROUNDING or used.max() > 1 + _ROUNDING:
        raise UserError(
            f"{meshes[0].GetPath()}: has UVs outside of 0 to 1, so that several places share one spot of the "
            "report's layout; open the report instead"
        )
    return found


def sample(maps: ErrorMaps, channel: str, uvs: npt.NDArray[np.floating]) -> tuple[Array, Array]:
    """Bilinear error at `uvs` (N, 2) times its weight, and its weight: the share of texels that count."""
    height, width = maps.counted.shape
    column = np.clip(uvs[:, 0].astype(np.float64) * width - 0.5, 0, width - 1)
    row = np.clip((1 - uvs[:, 1].astype(np.float64)) * height - 0.5, 0, height - 1)
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    total, weight = np.zeros(len(uvs)), np.zeros(len(uvs))
    for down in (0, 1):
        for right in (0, 1):
            r, c = np.minimum(top + down, height - 1), np.minimum(left + right, width - 1)
            share = np.abs(1 - down - (row - top)) * np.abs(1 - right - (column - left))
            share = share * maps.counted[r, c]
            total += share * maps.errors[channel][r, c]
            weight += share
    return total, weight


def _means(groups: Indices, total: Array, weight: Array, count: int) -> Means:
    sums = np.bincount(groups, total, count)
    weights = np.bincount(groups, weight, count)
    return np.divide(sums, weights, out=np.zeros(count), where=weights > 0), weights > 0
