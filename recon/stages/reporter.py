"""What happens after every training step: log, progress, status and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from torch import Tensor

from recon.progress import TrainingBar
from recon.run_folder import RunFolder
from recon.stages.run_stage import Stage, StepResult
from recon.tensorboard_log import TensorBoardLog


class StageReporter:
    """Follows one stage; call it with each `StepResult`.

    log_every: iterations between fetches of the scalars, which the bar then shows. image_every and
    checkpoint_every: iterations between pictures and checkpoints; 0 for none. save: writes a checkpoint after
    so many iterations. summary: text to log beside the curves, such as the settings. start: iterations that
    an earlier run has done.
    """

    def __init__(
        self,
        stage: Stage,
        run: RunFolder,
        *,
        log_every: int,
        image_every: int,
        checkpoint_every: int,
        save: Callable[[int], object],
        summary: str,
        start: int = 0,
    ) -> None:
        self._stage = stage
        self._run = run
        self._image_every = image_every
        self._checkpoint_every = checkpoint_every
        self._save = save
        folder = run.tensorboard / stage.name
        self._log = TensorBoardLog(folder, flush_every=log_every, first_step=start)
        self._log.text("settings", summary, start)
        self._bar = TrainingBar(stage.name, stage.iterations, start)
        run.report(stage.name, start, stage.iterations)

    def __enter__(self) -> StageReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)
        self._log.close()

    def __call__(self, result: StepResult) -> None:
        done = result.iteration + 1
        rates = self._stage.optimizers.learning_rates(result.iteration)
        scalars: dict[str, Tensor | float] = {"pixels/covered": result.covered}
        scalars |= {f"loss/{name}": value for name, value in result.losses.items()}
        scalars |= {f"rate/{name}": rate for name, rate in rates.items()}
        fetched = self._log.scalars(scalars, done)
        self._bar.step()
        if fetched:
            latest = self._log.latest
            self._bar.show(loss=sum(latest[f"loss/{name}"] for name in result.losses))
            self._run.report(self._stage.name, done, self._stage.iterations)
        if self._image_every and done % self._image_every == 0:
            self._log_images(result, done)
        if self._checkpoint_every and done % self._checkpoint_every == 0 and done < self._stage.iterations:
            self._save(done)

    def _log_images(self, result: StepResult, step: int) -> None:
        """The first view of the batch: render, reference and material."""
        rendered = result.rendered
        self._log.image("render", rendered.image_a[0], step)
        self._log.image("reference", result.reference[0, ..., :3], step)
        channels = rendered.sample.channels
        self._log.image("albedo", rendered.raster.scatter(channels.albedo.detach())[0], step)
        for name in ("roughness", "metallic", "occlusion"):
            values = getattr(channels, name).detach()
            self._log.data_image(name, rendered.raster.scatter(values)[0], step)
        coded = 0.5 + 0.5 * rendered.sample.normal.detach()
        self._log.data_image("normal", rendered.raster.scatter(coded)[0], step)
