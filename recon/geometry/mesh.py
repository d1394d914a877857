"""A triangle mesh as torch tensors, with differentiable normals and tangents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from recon.geometry.fused_normals import SmoothNormals, fused_tangent_frames
from usd_tools.obj import ObjMesh
from usd_tools.tangents import TangentGroups
from usd_tools.tangents import tangent_groups as _numpy_tangent_groups

# Squared length below which a direction is rounding noise: it would only bring huge gradients.
_TINY_SQUARED = 1e-30


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in the dataset frame; faces are counter-clockwise seen from outside.

    vertices: (V, 3). faces: (F, 3) int64, rows of `vertices`.
    uvs: (T, 2), v up. uv_faces: (F, 3) int64, rows of `uvs`.
    normals: (K, 3), unit. normal_faces: (F, 3) int64, rows of `normals`.
    tangents: (M, 4), unit xyz and the bitangent's sign w. tangent_faces: (F, 3) int64, rows of `tangents`.

    Each attribute and its faces are None together.
    """

    vertices: Tensor
    faces: Tensor
    uvs: Tensor | None = None
    uv_faces: Tensor | None = None
    normals: Tensor | None = None
    normal_faces: Tensor | None = None
    tangents: Tensor | None = None
    tangent_faces: Tensor | None = None

    def to(self, device: torch.device | str) -> Mesh:
        """The same mesh with all its tensors on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    def detach(self) -> Mesh:
        """The same mesh, cut off from any graph."""
        return self._map(Tensor.detach)

    def with_vertices(self, vertices: Tensor) -> Mesh:
        """The same topology and uvs at other positions (V, 3).

        Normals and tangents are dropped, for they described the old surface: follow with
        `with_smooth_normals` and `with_tangents`.
        """
        return Mesh(vertices, self.faces, self.uvs, self.uv_faces)

    def with_smooth_normals(self) -> Mesh:
        """The mesh with one area-weighted normal per vertex, differentiable in `vertices`."""
        normals = smooth_normals(self.vertices, self.faces)
        return replace(self, normals=normals, normal_faces=self.faces)

    def with_tangents(self, groups: MeshTangentGroups) -> Mesh:
        """The mesh with MikkTSpace tangents, differentiable in `vertices` and `normals`."""
        return replace(self, tangents=tangent_frames(self, groups), tangent_faces=groups.corners)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Mesh:
        present = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: change(tensor) for name, tensor in present.items()})


@dataclass(frozen=True)
class MeshTangentGroups:
    """`usd_tools.tangents.TangentGroups` as tensors on the mesh's device: corners (F, 3) int64, signs (G,),
    weights (F,), and first (G,) int64, one flat corner of each group."""

    corners: Tensor
    signs: Tensor
    weights: Tensor
    first: Tensor

    @staticmethod
    def of(mesh: Mesh, weld_normals: bool = False) -> MeshTangentGroups:
        """The groups of `mesh`, which needs uvs and normals. Build once per topology.

        weld_normals: also join corners whose normals are equal by value though not by row, as MikkTSpace
        does: right for authored normals, which stay; wrong for normals that move.
        """
        if mesh.uvs is None or mesh.uv_faces is None:
            raise ValueError("tangent groups: expected a mesh with uvs")
        if mesh.normals is None or mesh.normal_faces is None:
            raise ValueError("tangent groups: expected a mesh with normals; use with_smooth_normals()")
        groups: TangentGroups = _numpy_tangent_groups(
            _numpy(mesh.faces),
            _numpy(mesh.uv_faces),
            _numpy(mesh.normal_faces),
            _numpy(mesh.uvs),
            _numpy(mesh.vertices),
            _numpy(mesh.normals) if weld_normals else None,
        )
        first = np.unique(groups.corners.ravel(), return_index=True)[1]
        like = mesh.vertices
        return MeshTangentGroups(
            torch.from_numpy(groups.corners).to(like.device),
            torch.from_numpy(groups.signs).to(like),
            torch.from_numpy(groups.weights).to(like),
            torch.from_numpy(first.astype(np.int64)).to(like.device),
        )


def smooth_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit vertex normals, the area-weighted mean of the adjacent faces' normals.

    Differentiable in `vertices` (V, 3). Vertices without a face of positive area get (0, 0, 1), with zero
    gradient.
    """
    if vertices.dtype == torch.float32:
        return SmoothNormals.apply(vertices, faces)
    return defined_smooth_normals(vertices, faces)


def defined_smooth_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """`smooth_normals` of any type, in torch operations."""
    weighted = face_normals(vertices, faces)
    # One index_add over all corners: a triangle's cross product is twice its area times its normal.
    summed = torch.zeros_like(vertices).index_add(
        0, faces.T.reshape(-1), weighted.expand(3, -1, -1).reshape(-1, 3)
    )
    up = vertices.new_tensor([0.0, 0.0, 1.0])
    return _unit_or(summed, up.expand_as(summed))


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F, 3) face normals whose length is twice the face's area; differentiable in `vertices`."""
    a, b, c = vertices.index_select(0, faces.T.reshape(-1)).view(3, -1, 3).unbind(0)
    return torch.linalg.cross(b - a, c - a)


def tangent_frames(mesh: Mesh, groups: MeshTangentGroups) -> Tensor:
    """(G, 4) MikkTSpace tangents of `mesh`: unit xyz, and in w the sign of B = w * cross(N, T).

    Row g belongs to the corners where `groups.corners == g`. Differentiable in the mesh's vertices, normals
    and uvs; the grouping and the sign are constants. See `usd_tools.tangents` for the convention. Groups
    that no uv defines a tangent for get some direction at right angles to the normal.
    """
    if mesh.uvs is None or mesh.uv_faces is None or mesh.normals is None or mesh.normal_faces is None:
        raise ValueError("tangent_frames: expected a mesh with uvs and normals")
    learnt = mesh.vertices.requires_grad or mesh.normals.requires_grad or mesh.uvs.requires_grad
    if mesh.vertices.dtype == torch.float32 and not (learnt and torch.is_grad_enabled()):
        return fused_tangent_frames(
            (mesh.vertices, mesh.faces),
            (mesh.uvs, mesh.uv_faces),
            (mesh.normals, mesh.normal_faces),
            (groups.corners, groups.signs, groups.weights, groups.first),
        )
    corners = mesh.vertices[mesh.faces]
    normals = mesh.normals[mesh.normal_faces]
    uvs = mesh.uvs[mesh.uv_faces]

    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    uv1, uv2 = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    area = uv1[:, 0] * uv2[:, 1] - uv1[:, 1] * uv2[:, 0]
    direction = torch.sign(area)[:, None] * (edge1 * uv2[:, 1:] - edge2 * uv1[:, 1:])
    direction = _unit_or(direction, torch.zeros_like(direction))[:, None]
    projected = _reject(direction, normals)
    projected = _unit_or(projected, torch.zeros_like(projected))

    after = _reject(corners.roll(-1, 1) - corners, normals)
    before = _reject(corners.roll(1, 1) - corners, normals)
    angle = _angle(after, before)
    contribution = projected * (angle * groups.weights[:, None])[..., None]
    summed = contribution.new_zeros(len(groups.signs), 3)
    summed = summed.index_add(0, groups.corners.reshape(-1), contribution.reshape(-1, 3))

    group_normals = normals.reshape(-1, 3)[groups.first]
    x_axis, y_axis = torch.eye(3, dtype=normals.dtype, device=normals.device)[:2]
    axis = torch.where(group_normals[:, :1].abs() < 0.9, x_axis, y_axis)
    tangents = _unit_or(summed, torch.nn.functional.normalize(_reject(axis, group_normals), dim=-1))
    return torch.cat([tangents, groups.signs[:, None]], dim=1)


def mesh_from_obj(
    source: ObjMesh, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Mesh:
    """The tensors of an OBJ mesh; its normals are scaled to unit length, zero ones become (0, 0, 1)."""

    def values(array: np.ndarray | None) -> Tensor | None:
        return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    def index(array: np.ndarray | None) -> Tensor | None:
        if array is None:
            return None
        return torch.from_numpy(np.ascontiguousarray(array, np.int64)).to(device)

    vertices, faces = values(source.vertices), index(source.faces)
    assert vertices is not None and faces is not None  # ObjMesh always has them
    normals = values(source.normals)
    if normals is not None:
        normals = _unit_or(normals, normals.new_tensor([0.0, 0.0, 1.0]).expand_as(normals))
    return Mesh(
        vertices,
        faces,
        values(source.uvs),
        index(source.uv_faces),
        normals,
        index(source.normal_faces),
    )


def mesh_to_obj(mesh: Mesh) -> ObjMesh:
    """The mesh as numpy arrays, ready for `usd_tools.obj.write_obj`. Tangents are derived data: left out."""

    def array(tensor: Tensor | None) -> np.ndarray | None:
        return None if tensor is None else _numpy(tensor)

    return ObjMesh(
        _numpy(mesh.vertices),
        _numpy(mesh.faces),
        array(mesh.uvs),
        array(mesh.uv_faces),
        array(mesh.normals),
        array(mesh.normal_faces),
    )


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _reject(vectors: Tensor, normals: Tensor) -> Tensor:
    """`vectors` without their part along the unit `normals`."""
    return vectors - (vectors * normals).sum(-1, keepdim=True) * normals


def _unit_or(vectors: Tensor, fallback: Tensor) -> Tensor:
    """`vectors` at unit length; `fallback` where they are (numerically) zero. No NaN gradient either way."""
    squared = (vectors * vectors).sum(-1, keepdim=True)
    usable = squared > _TINY_SQUARED
    length = torch.where(usable, squared, torch.ones_like(squared)).sqrt()
    return torch.where(usable, vectors / length, fallback)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """(...) angle between vectors; zero, with zero gradient, where they are parallel or of no length."""
    cross = torch.linalg.cross(a, b)
    squared = (cross * cross).sum(-1)
    open_angle = squared > _TINY_SQUARED
    sine = torch.where(open_angle, squared, torch.ones_like(squared)).sqrt()
    return torch.where(open_angle, torch.atan2(sine, (a * b).sum(-1)), torch.zeros_like(sine))
