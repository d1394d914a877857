"""The material as learnable texture maps, for the fine stage and for known meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recon.color import linear_to_srgb, srgb_to_linear
from recon.material.channels import Channels, ChannelSettings
from recon.render.interface import Rasterizer
from recon.render.mipmaps import build_mips


class TextureMaps(nn.Module):
    """Learnable maps of every channel, (H, W, C) each, row 0 at v = 1, stacked per branch.

    start: maps to begin with, as `Channels` of (H, W, C): linear albedo, unit tangent-space normals (OpenGL).
    learn_normal, learn_occlusion: a channel that is not learnt is flat, (0, 0, 1), or 1.

    Albedo is stored in sRGB-coded values, so that a step of the optimizer is as visible in the dark as in the
    light; it is decoded *before* filtering, since light adds up linearly. Branch A's maps (albedo, normal)
    are one lookup, branch B's (roughness, metallic, occlusion) another.
    """

    def __init__(
        self,
        start: Channels,
        settings: ChannelSettings,
        *,
        learn_normal: bool = True,
        learn_occlusion: bool = False,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.learn_normal = learn_normal
        self.learn_occlusion = learn_occlusion
        a, b = [linear_to_srgb(start.albedo)], [start.roughness, start.metallic]
        if learn_normal:
            a.append(start.normal)
        if learn_occlusion:
            b.append(start.occlusion)
        self.map_a = nn.Parameter(torch.cat(a, dim=-1).detach().clone())
        self.map_b = nn.Parameter(torch.cat(b, dim=-1).detach().clone())
        self.clamp_()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Branch A: albedo and normal. Branch B: roughness, metallic and occlusion."""
        return {"a": [self.map_a], "b": [self.map_b]}

    def pyramid(self) -> MaterialPyramid:
        """The filtered maps as they are now: build once per step, sample as often as needed."""
        linear = torch.cat([srgb_to_linear(self.map_a[..., :3]), self.map_a[..., 3:]], dim=-1)
        return MaterialPyramid(build_mips(linear), build_mips(self.map_b))

    def sample(self, uv: Tensor, footprint: Tensor | None, rasterizer: Rasterizer) -> Channels:
        """The material at uv (P, 2), v up; `footprint` (P, 2, 2) as of `Rasterizer.uv_footprint`.

        `normal` is a unit vector in tangent space. Differentiable in the maps and in uv.
        """
        return self.pyramid().sample(uv, footprint, rasterizer)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Puts every texel back into its channel's range; call after each optimizer step.

        Normals are made unit length again, and kept on the visible side of the surface (z >= 0).
        """
        self.map_a[..., :3].clamp_(0.0, 1.0)
        if self.learn_normal:
            normal = self.map_a[..., 3:]
            normal[..., 2].clamp_(min=0.0)
            length = normal.norm(dim=-1, keepdim=True)
            straight = normal.new_tensor([0.0, 0.0, 1.0])
            normal.copy_(torch.where(length > 1e-6, normal / length.clamp(min=1e-6), straight))
        self.map_b[..., 0].clamp_(self.settings.roughness_min, self.settings.roughness_max)
        self.map_b[..., 1:].clamp_(0.0, 1.0)

    @torch.no_grad()
    def to_images(self) -> dict[str, np.ndarray]:
        """Float32 pictures (H, W, C) in 0 to 1, row 0 at v = 1, as they go into files.

        albedo: sRGB-coded, 3 channels. normal: 0.5 + 0.5 n, 3 channels. roughness, metallic, occlusion: 1.
        """
        height, width, _ = self.map_a.shape
        normal = _straight(self.map_a, height, width) if not self.learn_normal else self.map_a[..., 3:]
        occlusion = self.map_b[..., 2:] if self.learn_occlusion else self.map_b.new_ones(height, width, 1)
        images = {
            "albedo": self.map_a[..., :3],
            "normal": 0.5 + 0.5 * normal,
            "roughness": self.map_b[..., :1],
            "metallic": self.map_b[..., 1:2],
            "occlusion": occlusion,
        }
        return {name: image.detach().cpu().numpy().copy() for name, image in images.items()}


@dataclass(frozen=True)
class MaterialPyramid:
    """Mip chains of the two branches' maps, albedo linear; they carry gradients to the maps.

    mips_a: level k is (H / 2^k, W / 2^k, 3 or 6). mips_b: 2 or 3 channels.
    """

    mips_a: Sequence[Tensor]
    mips_b: Sequence[Tensor]

    def sample(self, uv: Tensor, footprint: Tensor | None, rasterizer: Rasterizer) -> Channels:
        """See `TextureMaps.sample`."""
        a = rasterizer.texture(self.mips_a, uv, footprint)
        b = rasterizer.texture(self.mips_b, uv, footprint)
        # Averages of unit vectors are shorter than one: filtering spreads normals, shading wants a direction.
        normal = normalize(a[:, 3:], dim=-1) if a.shape[1] > 3 else _straight(a, len(a))
        occlusion = b[:, 2:] if b.shape[1] > 2 else b.new_ones(len(b), 1)
        return Channels(a[:, :3], normal, b[:, :1], b[:, 1:2], occlusion)


def initial_maps(
    height: int, width: int, settings: ChannelSettings, device: torch.device | str = "cpu"
) -> Channels:
    """Uniform maps (H, W, C) to start from: mid-grey (0.5 in sRGB), flat, and `settings`' initial values."""

    def constant(*values: float) -> Tensor:
        return torch.tensor(values, device=device).expand(height, width, -1)

    grey = srgb_to_linear(constant(0.5, 0.5, 0.5))
    return Channels(
        grey,
        constant(0.0, 0.0, 1.0),
        constant(settings.initial_roughness),
        constant(settings.initial_metallic),
        constant(1.0),
    )


def _straight(like: Tensor, *shape: int) -> Tensor:
    """Unperturbed tangent-space normals (*shape, 3)."""
    return like.new_tensor([0.0, 0.0, 1.0]).expand(*shape, 3)
