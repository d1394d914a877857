"""What training minimizes on the images: two branch losses at once (split), or one for everything (joint)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from recon.fused_losses import composite_losses
from recon.losses import CompositeLoss
from recon.render.loss_routes import LossRoutes
from recon.render.render_views import Rendered


class Objective(Protocol):
    """Named image losses whose sum is minimized."""

    routes: LossRoutes | None

    def __call__(self, rendered: Rendered, reference: Tensor) -> dict[str, Tensor]:
        """Scalars by name. reference: (B, H, W, 4) scene-linear, associated alpha."""
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


class JointObjective:
    """nvdiffrec's: mask MSE plus one image loss, into every parameter."""

    routes: LossRoutes | None = None

    def __init__(self, loss: CompositeLoss) -> None:
        self.loss = loss

    def __call__(self, rendered: Rendered, reference: Tensor) -> dict[str, Tensor]:
        images = rendered.image_a, rendered.image_a.detach()
        return {"joint": composite_losses((self.loss, None), images, rendered.alpha, reference)[0]}
