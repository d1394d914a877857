"""The artist's own mesh for known-mesh mode: an OBJ in the dataset frame, or a prim of a USD stage."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recon.geometry.mesh import Mesh, mesh_from_obj
from usd_tools.errors import UserError
from usd_tools.obj import ObjMesh, read_obj

_STAGE_SUFFIXES = (".usd", ".usda", ".usdc", ".usdz")


def load_known_mesh(source: str, dataset: Path) -> Mesh:
    """The mesh that `geometry.mesh` names, with uvs, in the dataset frame.

    source: an OBJ in the dataset frame, or "STAGE:/prim/path" in stage space, which `dataset`'s
    dataset.json takes into the dataset frame: at the frame and with the variants of the conversion.

    Raises:
        UserError: the file, the prim or the UVs are missing, or the prim holds several meshes.
    """
    stage, separator, prim = source.rpartition(":/")
    if separator and stage.endswith(_STAGE_SUFFIXES):
        conversion = _read_conversion(dataset)
        mesh = _to_dataset_frame(_load_prim(source, Path(stage), "/" + prim, conversion), conversion.matrix)
    else:
        mesh = read_obj(Path(source))
    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError(
            f"geometry.mesh={source}: expected a mesh with UVs, which textures are painted on; unwrap it, "
            "or leave geometry.mesh empty to recover the mesh as well"
        )
    return mesh_from_obj(mesh)


@dataclass(frozen=True)
class _Conversion:
    """How the dataset came from its stage.

    matrix: (4, 4) stage_to_dataset. frame: where a moving object is held; None for the stage's first.
    """

    matrix: np.ndarray
    frame: float | None
    variants: tuple[str, ...]


def _read_conversion(dataset: Path) -> _Conversion:
    path = dataset / "dataset.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        matrix = np.asarray(content["stage_to_dataset"], np.float64)
        frame = content.get("reference_frame")
        frame = None if frame is None else float(frame)
        variants = tuple(str(variant) for variant in content.get("variants", ()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected stage_to_dataset, reference_frame and variants, which usd_to_llff.py writes "
            f"({error}); convert the stage again, or give geometry.mesh as an OBJ in the dataset frame"
        ) from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise UserError(f"{path}: stage_to_dataset is no 4x4 matrix of numbers; convert the stage again")
    return _Conversion(matrix, frame, variants)


def _load_prim(source: str, path: Path, prim: str, conversion: _Conversion) -> ObjMesh:
    from usd_tools.mesh_reading import read_mesh
    from usd_tools.stage import find_object, open_stage

    stage = open_stage(path, conversion.variants)
    time = stage.GetStartTimeCode() if conversion.frame is None else conversion.frame
    _, meshes = find_object(stage, prim, time)
    if len(meshes) > 1:
        raise UserError(
            f"geometry.mesh={source}: has {len(meshes)} meshes, each with UVs of its own; expected one. Name "
            "the dataset's ground_truth/mesh.obj, which has them side by side, or convert one of them alone"
        )
    return read_mesh(meshes[0], time)


def _to_dataset_frame(mesh: ObjMesh, matrix: np.ndarray) -> ObjMesh:
    vertices = mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    normals = mesh.normals
    if normals is not None:  # a similarity: its linear part turns normals, up to length
        turned = normals @ matrix[:3, :3].T
        normals = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-30)
    return replace(mesh, vertices=vertices, normals=normals)
