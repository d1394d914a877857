"""The artist's mesh, maps and light in the dataset frame: what recovered textures are measured against."""

from __future__ import annotations

from pathlib import Path

from usd_tools.color import linear_to_srgb
from usd_tools.dataset_job import GroundTruthJob
from usd_tools.images import write_exr, write_png
from usd_tools.obj import write_obj
from usd_tools.probe import bake_probe
from usd_tools.texture_baking import bake_object


def write_ground_truth(folder: Path, job: GroundTruthJob) -> None:
    """Writes `mesh.obj`, one square map set and `probe.exr` (if there is light) into `folder`, made here."""
    folder.mkdir()
    baked = bake_object(job.textured)
    write_obj(
        folder / "mesh.obj",
        baked.mesh,
        material="ground_truth",
        mtl_maps={name: f"{name}.png" for name in ("albedo", "roughness", "metallic", "normal")},
    )
    maps = baked.maps
    write_png(folder / "albedo.png", linear_to_srgb(maps["albedo"]))
    write_png(folder / "normal.png", maps["normal"] * 0.5 + 0.5)
    for name in ("roughness", "metallic", "occlusion"):
        write_png(folder / f"{name}.png", maps[name])
    if job.probe is not None:  # 32 bits: a sun exceeds what half can hold
        write_exr(folder / "probe.exr", bake_probe(job.probe), half=False)
