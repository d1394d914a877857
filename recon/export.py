"""Writes a textured mesh into a run folder: OBJ, MTL and PNG maps, as CONTRACT's run folder says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from torch import Tensor

from recon.geometry.mesh import Mesh, mesh_to_obj
from recon.material.texture_maps import TextureMaps
from usd_tools.files import atomic_folder
from usd_tools.images import write_exr, write_png
from usd_tools.obj import write_obj

_MTL_MAPS = {name: f"{name}.png" for name in ("albedo", "roughness", "metallic", "normal")}


def export_asset(folder: Path, mesh: Mesh, maps: TextureMaps, probe: Tensor) -> None:
    """Writes `mesh.obj`, `mesh.mtl`, one PNG per channel, the packed `orm.png` and `probe.exr`.

    mesh: with uvs and normals, in the dataset frame. probe: (H, W, 3) lat-long, scene-linear Rec.709.
    The folder appears complete or not at all; an earlier export is replaced.
    """
    images = maps.to_images()
    # glTF's packing: occlusion, roughness, metallic in red, green, blue.
    images["orm"] = np.concatenate([images[name] for name in ("occlusion", "roughness", "metallic")], axis=-1)
    with atomic_folder(folder, marker="mesh.obj") as target:
        with ThreadPoolExecutor() as pool:  # compression runs beside other Python code
            written = [
                pool.submit(write_png, target / f"{name}.png", image) for name, image in images.items()
            ]
            write_obj(target / "mesh.obj", mesh_to_obj(mesh), "recovered", _MTL_MAPS)
        for picture in written:
            picture.result()
        write_exr(target / "probe.exr", probe.detach().cpu().numpy(), half=False)
