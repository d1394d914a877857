"""Posed, masked pictures of an object, as training and validation use them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.data.resize import area_averages


class Pictures(Protocol):
    """N pictures by index: a tensor of them all, or a renderer that makes those that are asked for."""

    @property
    def device(self) -> torch.device: ...

    def __getitem__(self, index: Any, /) -> Tensor:
        """(K, H, W, 4) for a 1-D tensor of K indices."""
        ...

    def to(self, device: Any, /) -> Pictures: ...


@dataclass(frozen=True)
class Views:
    """N pictures with their cameras, in the dataset frame.

    cameras: N cameras of the pictures' resolution.
    images: (N, H, W, 4) float32, scene-linear Rec.709 with associated (premultiplied) alpha; finite, color
        not negative, alpha in 0..1, color 0 where alpha is 0. Training only ever takes batches by index, so
        they may as well be rendered when asked for; the pictures of held-out views are a tensor.
    names: of the pictures' files, without folder and suffix.
    light_rotation: (N, 3, 3) where the light turns relative to the object, radiance L_n(d) = L(R_n^T d); None
        where it does not.
    ldr: the pictures come from 8-bit files, so that highlights are clipped at 1.
    """

    cameras: Cameras
    images: Pictures
    names: tuple[str, ...]
    light_rotation: Tensor | None = None
    ldr: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def select(self, index: Tensor) -> Views:
        """The views at the 1-D `index`, in its order."""
        rotation = None if self.light_rotation is None else self.light_rotation[index]
        names = tuple(self.names[i] for i in index.tolist())
        return Views(self.cameras[index], self.images[index], names, rotation, self.ldr)

    def shrunk(self, factor: int) -> Views:
        """The views at a 1 / `factor` of the resolution; pictures have to be a tensor."""
        assert isinstance(self.images, Tensor)
        width, height = (max(1, round(side / factor)) for side in (self.cameras.width, self.cameras.height))
        images = area_averages(self.images, width, height)
        return replace(self, cameras=self.cameras.resized(width, height), images=images)

    def to(self, device: torch.device | str) -> Views:
        rotation = None if self.light_rotation is None else self.light_rotation.to(device)
        return Views(self.cameras.to(device), self.images.to(device), self.names, rotation, self.ldr)

    @staticmethod
    def none() -> Views:
        """No views at all: what a dataset without held-out frames holds out."""
        cameras = Cameras(torch.zeros(0, 4, 4), torch.zeros(0, 2), torch.zeros(0, 2), 1, 1)
        return Views(cameras, torch.zeros(0, 1, 1, 4), ())
