"""What one training step minimizes, computed by one process or shared by several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from recon.render.render_views import Rendered

if TYPE_CHECKING:
    from recon.stages.run_stage import Stage, TrainingSetup


class StepLosses:
    """The named losses of a batch of views; the gradients they give are those of the whole batch.

    Each of `setup.workers` renders its share of the views. Regularizers of the surface are the same in all of
    them; those of the material are drawn from what each one sees.
    """

    def __init__(self, stage: Stage, setup: TrainingSetup) -> None:
        setup.workers.check_batch(setup.batch)
        self._workers = setup.workers
        self._device = setup.views.images.device
        self._module = _Losses(stage, setup)
        self._synchronized = setup.workers.synchronized(self._module, self._device)

    def __call__(
        self, views: Tensor, iteration: int, factor: int
    ) -> tuple[dict[str, Tensor], Rendered, Tensor]:
        """Losses of this process's share of `views` (B,), what was rendered for them, and the references.

        factor: pictures are 1 / factor as large as the views' own.
        """
        own = self._workers.share_of(views).to(self._device)
        losses = self._synchronized(own, iteration, factor)
        rendered, reference = self._module.shown
        return losses, rendered, reference

    def of_the_batch(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same losses, detached, for the whole batch."""
        return self._workers.averaged(losses)


class _Losses(nn.Module):
    """As a module, since DistributedDataParallel wraps modules, and their parameters are the learnt ones."""

    shown: tuple[Rendered, Tensor]

    def __init__(self, stage: Stage, setup: TrainingSetup) -> None:
        super().__init__()
        self._stage = stage
        self._setup = setup
        self.scene = stage.scene
        self.light = setup.light

    def forward(self, views: Tensor, iteration: int, factor: int) -> dict[str, Tensor]:
        setup = self._setup.shrunk(factor)
        reference = setup.views.images[views]
        rendered = setup.render(self._stage.scene, views)
        # Kept beside: what DistributedDataParallel finds in the result, it expects to be differentiated.
        self.shown = rendered, reference
        return setup.objective(rendered, reference) | self._stage.regularize(rendered, iteration)
