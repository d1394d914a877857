"""The material as a function of position: two specialized branches, or one joint network as the baseline."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from recon.material.channels import (
    Channels,
    ChannelSettings,
    decode_albedo,
    decode_metallic,
    decode_normal_offset,
    decode_occlusion,
    decode_roughness,
)
from recon.material.encoded_network import EncodedNetwork, EncoderSettings, NetworkFactory


class MaterialField(nn.Module, ABC):
    """What both models share: where they are defined, and how they are asked.

    bounds: (2, 3) lower and upper corner in the dataset frame. The networks see the smallest cube around
    them, so that a cell is as long in every direction and a flat object has a field, too; points outside take
    the value at the cube's surface.
    learn_normal, learn_occlusion: a channel that is not learnt has no output; its offset is 0, its occlusion
    1.
    """

    origin: Tensor
    extent: Tensor

    def __init__(
        self, bounds: Tensor, settings: ChannelSettings, learn_normal: bool, learn_occlusion: bool
    ) -> None:
        super().__init__()
        lower, upper = bounds.to(torch.float32)
        extent = (upper - lower).max()
        if not (torch.isfinite(bounds).all() and extent > 0.0 and (upper >= lower).all()):
            raise ValueError(
                f"expected finite bounds with lower <= upper and some extent, got {bounds.tolist()}"
            )
        self.settings = settings
        self.learn_normal = learn_normal
        self.learn_occlusion = learn_occlusion
        self.register_buffer("origin", 0.5 * (lower + upper) - 0.5 * extent)
        self.register_buffer("extent", extent)

    def sample(self, points: Tensor, *, detach_points: bool = True) -> Channels:
        """The material at points (P, 3) of the dataset frame; `normal` is a world-space offset.

        detach_points: no gradient to the positions, which saves the encoding's third backward kernel.
        """
        unit = ((points.detach() if detach_points else points) - self.origin) / self.extent
        return self._decode(*self._raw(unit))

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the schedule and loss they follow."""

    @abstractmethod
    def _raw(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs of branch A (P, 3 or 6) and of branch B (P, 2 or 3) at points of the unit cube."""

    @property
    def _widths(self) -> tuple[int, int]:
        """Number of outputs for A's and for B's channels."""
        return (6 if self.learn_normal else 3), (3 if self.learn_occlusion else 2)

    def _decode(self, a: Tensor, b: Tensor) -> Channels:
        return Channels(
            albedo=decode_albedo(a[:, :3]),
            normal=decode_normal_offset(a[:, 3:], self.settings)
            if self.learn_normal
            else a.new_zeros(len(a), 3),
            roughness=decode_roughness(b[:, :1], self.settings),
            metallic=decode_metallic(b[:, 1:2], self.settings),
            occlusion=decode_occlusion(b[:, 2:]) if self.learn_occlusion else b.new_ones(len(b), 1),
        )


class SplitField(MaterialField):
    """Branch A predicts albedo and normal, branch B roughness, metallic and optionally occlusion.

    Nothing is shared between the branches, so each can have its own size, loss and schedule.
    """

    def __init__(
        self,
        bounds: Tensor,
        encoder_a: EncoderSettings,
        encoder_b: EncoderSettings,
        settings: ChannelSettings,
        *,
        learn_normal: bool = True,
        learn_occlusion: bool = False,
        generator: torch.Generator | None = None,
        make_network: NetworkFactory = EncodedNetwork,
    ) -> None:
        super().__init__(bounds, settings, learn_normal, learn_occlusion)
        width_a, width_b = self._widths
        self.branch_a = make_network(encoder_a, width_a, generator)
        self.branch_b = make_network(encoder_b, width_b, generator)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"a": list(self.branch_a.parameters()), "b": list(self.branch_b.parameters())}

    def _raw(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        return self.branch_a(unit), self.branch_b(unit)


class JointField(MaterialField):
    """One network for all channels, as in nvdiffrec (Munkberg et al. 2022): the baseline."""

    def __init__(
        self,
        bounds: Tensor,
        encoder: EncoderSettings,
        settings: ChannelSettings,
        *,
        learn_normal: bool = True,
        learn_occlusion: bool = False,
        generator: torch.Generator | None = None,
        make_network: NetworkFactory = EncodedNetwork,
    ) -> None:
        super().__init__(bounds, settings, learn_normal, learn_occlusion)
        self.network = make_network(encoder, sum(self._widths), generator)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"joint": list(self.network.parameters())}

    def _raw(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.network(unit).split(self._widths, dim=1)
        return a, b
