"""A dataset of a painted sphere, rendered by this project's own renderer in a moment."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from recon.data.nerf import Z_UP_TO_Y_UP
from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.material.texture_maps import TextureMaps
from recon.render.render_views import render_views
from recon.render.warp_backend import WarpRasterizer
from recon.stages.fine_scene import FineScene
from tests.recon.render.scenes import orbit_cameras
from tests.recon.stages.scenes import sphere_mesh, texture_maps
from usd_tools.images import write_exr

# Settings of a run that takes a second or two.
TINY = {
    "train.coarse_iterations": 6,
    "train.fine_iterations": 6,
    "train.batch": 2,
    "train.checkpoint_every": 2,
    "train.validate_views": 1,
    "geometry.grid": 10,
    "material.hash_levels": 4,
    "material.hash_table_log2": 10,
    "material.hash_finest": 64,
    "textures.resolution": 64,
    "light.resolution": 16,
}


def painted_maps() -> TextureMaps:
    """The sphere's own material: red meridians, and rougher parallels."""
    maps = texture_maps(32)
    with torch.no_grad():
        maps.map_a[:, ::8, :3] = torch.tensor([0.9, 0.2, 0.1])
        maps.map_b[::8, :, 0] = 0.7
    return maps


def write_dataset(folder: Path, views: int = 8, size: int = 48) -> Path:
    """`views` training and 2 held-out views of `size` x `size` pixels, with a known light."""
    # On the GPU where there is one: builds of Warp exist that compile for nothing else.
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    probe = 0.2 + torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(2))
    scene = FineScene(sphere_mesh(device), painted_maps().to(device), movable=False).to(device)
    light = EnvironmentLight.known(probe, 16).to(device).prefilter()
    cameras = orbit_cameras(views + 2, size, size).to(device)
    with torch.no_grad():
        rasterizer = WarpRasterizer(device)
        shown = render_views(scene, light, fg_table(device=device), cameras, rasterizer, routes=None)
    images = torch.cat([shown.image_a, shown.alpha[..., None]], dim=-1).cpu().numpy()
    cameras = cameras.to("cpu")
    frames = []
    for index, image in enumerate(images):
        write_exr(folder / "hdr" / f"{index}.exr", image)
        pose = Z_UP_TO_Y_UP.T @ cameras.camera_to_world[index].double().numpy()
        frames.append({"file_path": f"./rgba/{index}", "hdr_path": f"hdr/{index}.exr"})
        frames[-1]["transform_matrix"] = pose.tolist()
    (fl_x, fl_y), (cx, cy) = cameras.focal[0].tolist(), cameras.principal[0].tolist()
    intrinsics = {"fl_x": fl_x, "fl_y": fl_y, "cx": cx, "cy": cy, "w": size, "h": size}
    for split, chosen in (("train", frames[:views]), ("test", frames[views:])):
        content = json.dumps({**intrinsics, "frames": chosen})
        (folder / f"transforms_{split}.json").write_text(content, encoding="utf-8")
    write_exr(folder / "ground_truth" / "probe.exr", probe.numpy())
    description = {"schema_version": 1, "stage_to_dataset": torch.eye(4).tolist()}
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder
