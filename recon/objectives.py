"""What training minimizes on the images: two branch losses at once (split), or one for everything (joint)."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from torch import Tensor

from recon.fused_losses import composite_losses
from recon.losses import CompositeLoss, mask_mse
from recon.render.loss_routes import LossRoutes
from recon.render.render_pixels import RenderedPixels
from recon.render.render_views import Rendered


class Objective(Protocol):
    """Named image losses whose sum is minimized."""

    routes: LossRoutes | None

    def __call__(self, rendered: Rendered, reference: Tensor) -> dict[str, Tensor]:
        """Scalars by name. reference: (B, H, W, 4) scene-linear, associated alpha."""
        ...

    def of_pixels(self, rendered: RenderedPixels, reference: Tensor) -> dict[str, Tensor]:
        """The same by some covered pixels and the coverage of all: pixels of the background have no color."""
        ...


class SplitObjective:
    """Branch A's and branch B's composite losses, each on its own copy of the image (METHOD, table).

    routes: None to sum both losses into every parameter, as the published implementation does.
    """

    def __init__(self, a: CompositeLoss, b: CompositeLoss, routes: LossRoutes | None) -> None:
        self.a = a
        self.b = b
        self.routes = routes

    def __call__(self, rendered: Rendered, reference: Tensor) -> dict[str, Tensor]:
        images = rendered.image_a, rendered.image_b
        a, b = composite_losses((self.a, self.b), images, rendered.alpha, reference)
        return {"a": a, "b": b}

    def of_pixels(self, rendered: RenderedPixels, reference: Tensor) -> dict[str, Tensor]:
        a, b = _color_losses((self.a, self.b), rendered, reference)
        mask = mask_mse(rendered.alpha[..., None], reference)
        return {"a": a + self.a.mask_weight * mask, "b": b + self.b.mask_weight * mask}


class JointObjective:
    """nvdiffrec's: mask MSE plus one image loss, into every parameter."""

    routes: LossRoutes | None = None

    def __init__(self, loss: CompositeLoss) -> None:
        self.loss = loss

    def __call__(self, rendered: Rendered, reference: Tensor) -> dict[str, Tensor]:
        images = rendered.image_a, rendered.image_a.detach()
        return {"joint": composite_losses((self.loss, None), images, rendered.alpha, reference)[0]}

    def of_pixels(self, rendered: RenderedPixels, reference: Tensor) -> dict[str, Tensor]:
        color, _ = _color_losses((self.loss, None), rendered, reference)
        return {"joint": color + self.loss.mask_weight * mask_mse(rendered.alpha[..., None], reference)}


def _color_losses(
    losses: tuple[CompositeLoss, CompositeLoss | None], rendered: RenderedPixels, reference: Tensor
) -> tuple[Tensor, Tensor]:
    """Their parts without the mask, as means over all pixels of the batch."""
    wanted = reference.view(-1, 4).index_select(0, rendered.raster.pixels)
    first, second = (None if loss is None else replace(loss, mask_weight=0.0) for loss in losses)
    assert first is not None
    colors = rendered.color_a, rendered.color_b.detach() if second is None else rendered.color_b
    a, b = composite_losses((first, second), colors, wanted[:, 3].contiguous(), wanted)
    return rendered.covered_share * a, rendered.covered_share * b
