"""The environment light: a known or a trainable cubemap, and its prefiltered form for shading."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce

import torch
from torch import Tensor, nn

from recon.light import latlong
from recon.light.cubemap import add_border, level_table, upsample
from recon.light.prefilter import Prefilter

# Radiance of a trainable light is at least this, so that its logarithm exists.
_FLOOR = 1e-4
# A known light is prefiltered once, so its nodes may be fine.
_KNOWN_NODE_SIZE = 0.5


@dataclass(frozen=True)
class PrefilteredLight:
    """What shading needs of a light: plain tensors, so that gradients can be routed through them.

    diffuse: (6, n + 2, n + 2, 3) cosine-convolved irradiance / pi, a bordered cubemap (see
        `recon.light.cubemap`).
    specular: level k is (6, N_k + 2, N_k + 2, 3), the radiance filtered by the GGX lobe of `roughness[k]`.
    roughness: ascending perceptual roughness of the specular levels.
    """

    diffuse: Tensor
    specular: tuple[Tensor, ...]
    roughness: tuple[float, ...]

    def level(self, roughness: Tensor) -> Tensor:
        """(P, 1) fractional specular level for `roughness` (P, 1); linear in roughness between levels.

        Roughness outside the levels' range is clamped to it, where the gradient is zero.
        """
        knots = _knots(self.roughness, roughness.device, roughness.dtype)
        if len(self.roughness) == 1:
            return torch.zeros_like(roughness)
        inside = roughness.clamp(self.roughness[0], self.roughness[-1])
        lower = torch.bucketize(inside.detach(), knots, right=True).sub_(1).clamp_(0, len(knots) - 2)
        return lower + (inside - knots[lower]) / (knots[lower + 1] - knots[lower])

    @property
    def texels(self) -> Tensor:
        """(T, 3) all texels in one buffer: the specular levels', then the diffuse cubemap's; differentiable.

        A constant light's are put together once, so it must not be changed in place.
        """
        learnt = any(cubemap.requires_grad for cubemap in (self.diffuse, *self.specular))
        return self._concatenate() if learnt else self._constant_texels

    @cached_property
    def _constant_texels(self) -> Tensor:
        return self._concatenate()

    def _concatenate(self) -> Tensor:
        return torch.cat([cubemap.reshape(-1, 3) for cubemap in (*self.specular, self.diffuse)])

    @property
    def table(self) -> Tensor:
        """(K + 1, 2) int32: first texel in `texels` and resolution of each specular level and of diffuse."""
        resolutions = tuple(cubemap.shape[1] - 2 for cubemap in (*self.specular, self.diffuse))
        return level_table(resolutions, self.diffuse.device)

    @property
    def knots(self) -> Tensor:
        """(K,) float32, `roughness` on the light's device."""
        return _knots(self.roughness, self.diffuse.device, torch.float32)


@lru_cache(maxsize=64)
def _knots(roughness: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(roughness, device=device, dtype=dtype)


class EnvironmentLight(nn.Module):
    """A distant light as a cubemap (6, N, N, 3) of scene-linear radiance, known or trainable.

    Use `EnvironmentLight.known` or `EnvironmentLight.trainable`. A trainable light holds log-radiance: it is
    positive and covers a high dynamic range with even steps. It is the sum of a pyramid, level k of which has
    2^k texels along a side. An optimizer that gives every parameter a step of its own, such as Adam, then
    moves whole regions at once and sooner than single texels, so that the light explains shading before the
    base color does.
    """

    radiance: Tensor

    def __init__(self, cube: Tensor, *, trainable: bool, node_size: float) -> None:
        super().__init__()
        resolution = cube.shape[1]
        if cube.shape != (6, resolution, resolution, 3) or resolution < 2 or resolution & (resolution - 1):
            raise ValueError(
                f"cube: expected (6, N, N, 3), N a power of two above 1, got {tuple(cube.shape)}"
            )
        self._trainable = trainable
        self._node_size = node_size
        self._prefilter: Prefilter | None = None
        self._prefiltered: PrefilteredLight | None = None
        if trainable:
            finest = cube.clamp_min(_FLOOR).log()
            coarser = [finest.new_zeros(6, 2**k, 2**k, 3) for k in range(resolution.bit_length() - 1)]
            self.log_pyramid = nn.ParameterList([*coarser, finest])
        else:
            self.register_buffer("radiance", cube)

    @classmethod
    def known(cls, probe: Tensor, resolution: int | None = None) -> EnvironmentLight:
        """From a lat-long `probe` (H, W, 3) of radiance, centre column +Z (see `recon.light.latlong`).

        resolution: of the cubemap, a power of two; by default twice as fine as the probe, at most 256. One as
            fine is blurred by resampling, and roughness 0.1 then explains pictures best as 0.08 or less.
        """
        if resolution is None:
            resolution = min(256, 2 ** max(4, math.ceil(math.log2(probe.shape[1] / 2))))
        return cls(latlong.to_cubemap(probe, resolution), trainable=False, node_size=_KNOWN_NODE_SIZE)

    @classmethod
    def trainable(
        cls, resolution: int = 32, initial: float = 0.5, *, node_size: float = 0.5
    ) -> EnvironmentLight:
        """A grey light of radiance `initial`. resolution: of the cubemap, a power of two."""
        return cls(torch.full((6, resolution, resolution, 3), initial), trainable=True, node_size=node_size)

    @classmethod
    def trainable_from(
        cls, probe: Tensor, resolution: int = 32, *, node_size: float = 0.5
    ) -> EnvironmentLight:
        """A trainable light that starts from a lat-long `probe` (H, W, 3)."""
        return cls(latlong.to_cubemap(probe, resolution), trainable=True, node_size=node_size)

    @property
    def resolution(self) -> int:
        """N of the cubemap."""
        finest = self.log_pyramid[-1] if self._trainable else self.radiance
        return finest.shape[1]

    @property
    def is_trainable(self) -> bool:
        return self._trainable

    def cubemap(self) -> Tensor:
        """(6, N, N, 3) radiance; differentiable if trainable."""
        if not self._trainable:
            return self.radiance
        return reduce(lambda coarser, level: upsample(coarser) + level, self.log_pyramid).exp()

    def prefilter(self) -> PrefilteredLight:
        """The light in the form that `recon.render.shade` takes.

        A known light is prefiltered once and remembered; a trainable one on every call, differentiably.
        """
        cube = self.cubemap()
        if self._prefiltered is not None and self._prefiltered.diffuse.device == cube.device:
            return self._prefiltered
        if self._prefilter is None or self._prefilter.device != cube.device:
            resolution = cube.shape[1]
            self._prefilter = Prefilter(resolution, node_size=self._node_size, device=cube.device)
        levels, diffuse = self._prefilter(cube) if self._trainable else self._prefilter.once(cube)
        specular = tuple(add_border(level) for level in levels)
        light = PrefilteredLight(add_border(diffuse), specular, self._prefilter.roughness)
        if not self._trainable:
            self._prefiltered, self._prefilter = light, None
        return light

    @torch.no_grad()
    def to_latlong(self, height: int, width: int) -> Tensor:
        """(height, width, 3) lat-long radiance for export, centre column +Z."""
        return latlong.to_latlong(self.cubemap(), height, width)
