"""Where in a stage a recovered object belongs: what it replaces, and where it is put."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.matrices import Matrix, transform_points
from usd_tools.mesh_reading import find_uv_primvar, read_mesh
from usd_tools.obj import ObjMesh
from usd_tools.stage import find_object, prim_at, world_matrix


@dataclass(frozen=True)
class RecoveredPlace:
    """The original's side of an import.

    prim: of the original stage, what is replaced: a mesh, or what is above several. replaced: paths of its
        visible meshes, which give way to the result; its own where it has none. root: path for the prim that
        will hold the result, beside it. frame: at which the rest holds. local_to_stage: (4, 4).
    """

    prim: Any
    replaced: tuple[str, ...]
    root: str
    frame: float
    local_to_stage: Matrix
    purpose: str
    double_sided: bool

    @property
    def uv_primvar(self) -> str:
        """The name of the texture coordinates of the original mesh."""
        from pxr import UsdGeom

        return str(find_uv_primvar(UsdGeom.Mesh(self.prim)).GetPrimvarName())

    def same_mesh(self, mesh: ObjMesh, dataset_to_stage: Matrix) -> bool:
        """Whether `mesh`, in the dataset frame, has the original's triangles, in space and in UV."""
        from pxr import UsdGeom

        if not self.prim.IsA(UsdGeom.Mesh) or mesh.uvs is None or mesh.uv_faces is None:
            return False
        original = read_mesh(UsdGeom.Mesh(self.prim), self.frame)
        assert original.uvs is not None and original.uv_faces is not None, "read_mesh gives UVs"
        if mesh.faces.shape != original.faces.shape:
            return False
        corners = original.vertices[original.faces]
        tolerance = 1e-3 * float(np.ptp(original.vertices, axis=0).max())
        moved = transform_points(dataset_to_stage, mesh.vertices)[mesh.faces]
        uvs, wanted = mesh.uvs[mesh.uv_faces], original.uvs[original.uv_faces]
        return bool(np.allclose(moved, corners, atol=tolerance) and np.allclose(uvs, wanted, atol=1e-3))


def find_place(stage: Any, object_path: str, frame: float) -> RecoveredPlace:
    """The place of the object at `object_path`: its only visible mesh, or else the prim itself.

    Raises:
        UserError: there is no such prim, nothing that can be hidden, or a result beside it already.
    """
    from pxr import UsdGeom

    prim = prim_at(stage, object_path, "--object")
    if not prim.IsA(UsdGeom.Imageable):
        raise UserError(
            f"--object {object_path}: is a {prim.GetTypeName() or 'prim without type'}; expected a mesh"
        )
    shapes = [prim]
    with suppress(UserError):  # other shapes can be replaced by a mesh as well
        prim, meshes = find_object(stage, object_path, frame)
        shapes = [mesh.GetPrim() for mesh in meshes]
    if prim.IsInPrototype():
        raise UserError(f"--object {object_path}: is a prototype; name the object where it is instanced")
    path = prim.GetPath()
    root = path.GetParentPath().AppendChild(f"{prim.GetName()}_recovered")
    if stage.GetPrimAtPath(root):
        name = stage.GetRootLayer().GetDisplayName()
        raise UserError(f"{name}: already has a prim {root}; give the stage without an earlier result")
    gprims = [UsdGeom.Gprim(shape) for shape in shapes]
    return RecoveredPlace(
        prim,
        tuple(str(shape.GetPath()) for shape in shapes),
        str(root),
        frame,
        world_matrix(prim, frame),
        str(UsdGeom.Imageable(shapes[0]).ComputePurpose()),
        any(gprim and gprim.GetDoubleSidedAttr().Get() for gprim in gprims),
    )


def open_instances(stage: Any, path: str) -> None:
    """Makes the instances that the prim at `path` lies in prims of their own, so that it can be edited."""
    from pxr import Sdf

    while stage.GetPrimAtPath(path).IsInstanceProxy():
        prefixes = Sdf.Path(path).GetPrefixes()
        outermost = next(prefix for prefix in prefixes if stage.GetPrimAtPath(prefix).IsInstance())
        stage.OverridePrim(outermost).SetInstanceable(False)
