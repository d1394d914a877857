"""The artist's own mesh for known-mesh mode: an OBJ in the dataset frame, or a prim of a USD stage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon.geometry.mesh import Mesh, mesh_from_obj
from usd_tools.errors import UserError
from usd_tools.obj import ObjMesh, read_obj

_STAGE_SUFFIXES = (".usd", ".usda", ".usdc", ".usdz")


def load_known_mesh(source: str, dataset: Path) -> Mesh:
    """The mesh that `geometry.mesh` names, with uvs, in the dataset frame.

    source: an OBJ in the dataset frame, or "STAGE:/prim/path" in stage space, which `dataset`'s
    dataset.json takes into the dataset frame.

    Raises:
        UserError: the file, the prim or the UVs are missing.
    """
    stage, separator, prim = source.rpartition(":/")
    if separator and stage.endswith(_STAGE_SUFFIXES):
        mesh = _to_dataset_frame(_load_prim(Path(stage), "/" + prim), dataset)
    else:
        mesh = read_obj(Path(source))
    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError(
            f"geometry.mesh={source}: expected a mesh with UVs, which textures are painted on; unwrap it, "
            "or leave geometry.mesh empty to recover the mesh as well"
        )
    return mesh_from_obj(mesh)


def _load_prim(stage: Path, prim: str) -> ObjMesh:
    from usd_tools.stage import load_mesh

    return load_mesh(stage, prim)


def _to_dataset_frame(mesh: ObjMesh, dataset: Path) -> ObjMesh:
    info = dataset / "dataset.json"
    try:
        matrix = np.asarray(json.loads(info.read_text(encoding="utf-8"))["stage_to_dataset"], np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{info}: expected stage_to_dataset, which usd_to_llff.py writes ({error}); "
            "convert the stage again, or give geometry.mesh as an OBJ in the dataset frame"
        ) from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise UserError(f"{info}: stage_to_dataset is no 4x4 matrix of numbers; convert the stage again")
    vertices = mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    normals = mesh.normals
    if normals is not None:  # a similarity: its linear part turns normals, up to length
        turned = normals @ matrix[:3, :3].T
        normals = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-30)
    return replace(mesh, vertices=vertices, normals=normals)
