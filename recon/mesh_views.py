"""Views of a reference mesh with known textures, rendered on the fly by the project's own renderer.

The setting of the published study: as many views as training asks for, and references that hold nothing the
model cannot explain. What is left of the errors is the optimization's alone.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from recon.color import srgb_to_linear
from recon.data.cameras import Cameras
from recon.data.views import Views
from recon.geometry.known_mesh import load_known_mesh
from recon.light.environment import PrefilteredLight
from recon.material.channels import Channels, ChannelSettings
from recon.material.texture_maps import TextureMaps
from recon.render.interface import Rasterizer
from recon.render.render_views import render_views
from recon.stages.fine_scene import FineScene
from usd_tools.errors import UserError
from usd_tools.images import read_image

_FIELD_OF_VIEW = math.radians(45.0)
_MARGIN = 1.1  # around the bounding sphere
_BATCH = 8  # views rendered at a time: bounds the memory
_HELD_OUT_SEED = 2**32  # no run's own: seeds end below it


class RenderedPictures:
    """Stands for the pictures of many cameras, and renders those that are indexed.

    Each is (H, W, 4), scene-linear with associated alpha. The same index gives the same picture.
    """

    def __init__(
        self,
        scene: FineScene,
        light: PrefilteredLight,
        fg: Tensor,
        cameras: Cameras,
        rasterizer: Rasterizer,
        samples: int,
    ) -> None:
        self._scene = scene
        self._light = light
        self._fg = fg
        self._cameras = cameras
        self._rasterizer = rasterizer
        self._samples = samples

    @property
    def device(self) -> torch.device:
        return self._fg.device

    def to(self, device: torch.device | str) -> RenderedPictures:
        if torch.device(device) != self.device:
            raise ValueError(f"pictures are rendered on {self.device}, they cannot move to {device}")
        return self

    @torch.no_grad()
    def __getitem__(self, index: Tensor) -> Tensor:
        """(K, H, W, 4) for the 1-D `index` (K,)."""
        return torch.cat([self._render(chosen) for chosen in index.split(_BATCH)])

    def _render(self, index: Tensor) -> Tensor:
        rendered = render_views(
            self._scene,
            self._light,
            self._fg,
            self._cameras[index],
            self._rasterizer,
            routes=None,
            samples=self._samples,
        )
        return torch.cat([rendered.image_a, rendered.alpha[..., None]], dim=-1)


class ReferenceMesh:
    """A dataset's ground truth, ready to be rendered from anywhere under a known light.

    dataset: folder with ground_truth/. light: what it stands in. fg: `recon.light.fg_table`'s table. size:
    pixels along a side of the square pictures. samples: per pixel, as the training's own.

    The material is that of the maps as they are; occlusion maps are not used, for path tracers do not either.

    Raises:
        UserError: the dataset has no ground truth, or it lacks a map.
    """

    def __init__(
        self,
        dataset: Path,
        light: PrefilteredLight,
        fg: Tensor,
        rasterizer: Rasterizer,
        *,
        size: int,
        samples: int = 1,
    ) -> None:
        folder = dataset / "ground_truth"
        if not (folder / "mesh.obj").is_file():
            raise UserError(
                f"{dataset}: data.kind=mesh renders ground_truth/mesh.obj, which is not there; "
                "convert without --no-ground-truth, or set data.kind=views"
            )
        mesh = load_known_mesh(str(folder / "mesh.obj"), dataset).to(fg.device)
        settings = ChannelSettings(roughness_min=0.0)
        maps = TextureMaps(_read_maps(folder, fg.device), settings)
        self._scene = FineScene(mesh, maps, movable=False).to(fg.device).requires_grad_(False)
        self._light = light
        self._fg = fg
        self._rasterizer = rasterizer
        self._size = size
        self._samples = samples
        used = mesh.vertices[mesh.faces.unique()]
        self._center = 0.5 * (used.amin(dim=0) + used.amax(dim=0)).cpu()
        self._radius = float((used.cpu() - self._center).norm(dim=1).max())

    def views(self, count: int, seed: int) -> Views:
        """`count` views from random directions, rendered when their pictures are asked for."""
        cameras = self._cameras(count, seed).to(self._fg.device)
        pictures = RenderedPictures(
            self._scene, self._light, self._fg, cameras, self._rasterizer, self._samples
        )
        return Views(cameras, pictures, tuple(f"view_{i + 1:04d}" for i in range(count)))

    def held_out(self, count: int) -> Views:
        """`count` rendered views that are the same for every seed of training."""
        return self.views(count, _HELD_OUT_SEED).select(torch.arange(count, device=self._fg.device))

    def _cameras(self, count: int, seed: int) -> Cameras:
        """Upright cameras all around, uniform on a sphere from which the object just fits the picture."""
        generator = torch.Generator().manual_seed(seed)
        back = normalize(torch.randn(count, 3, generator=generator), dim=1)
        up = torch.tensor([0.0, 1.0, 0.0]).expand(count, 3)
        right = normalize(torch.linalg.cross(up, back), dim=1)
        pose = torch.eye(4).repeat(count, 1, 1)
        pose[:, :3, :3] = torch.stack([right, torch.linalg.cross(back, right), back], dim=2)
        pose[:, :3, 3] = self._center + _MARGIN * self._radius / math.sin(0.5 * _FIELD_OF_VIEW) * back
        focal = 0.5 * self._size / math.tan(0.5 * _FIELD_OF_VIEW)
        return Cameras(
            pose,
            torch.full((count, 2), focal),
            torch.full((count, 2), 0.5 * self._size),
            self._size,
            self._size,
        )


def _read_maps(folder: Path, device: torch.device) -> Channels:
    """The maps of a ground_truth folder, all of the largest one's size."""
    read = {}
    for name, channels in (("albedo", 3), ("normal", 3), ("roughness", 1), ("metallic", 1)):
        path = folder / f"{name}.png"
        pixels = read_image(path)
        if pixels.shape[2] < channels:
            raise UserError(f"{path}: has {pixels.shape[2]} channels, expected {channels}; convert again")
        read[name] = torch.from_numpy(pixels[..., :channels]).to(device, torch.float32)
    height, width = (max(image.shape[axis] for image in read.values()) for axis in (0, 1))
    maps = {
        "albedo": srgb_to_linear(read["albedo"]),
        "normal": 2.0 * read["normal"] - 1.0,
        "roughness": read["roughness"],
        "metallic": read["metallic"],
    }
    resized = {name: _resized(image, height, width) for name, image in maps.items()}
    return Channels(**resized, occlusion=torch.ones_like(resized["metallic"]))


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[:2] == (height, width):
        return image
    channels_first = image.permute(2, 0, 1)[None]
    return interpolate(channels_first, (height, width), mode="bilinear")[0].permute(1, 2, 0)
