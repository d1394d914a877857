"""The optimization loop that both stages share: draw views, render, compare, step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from recon.data.views import Views
from recon.light.environment import EnvironmentLight, PrefilteredLight
from recon.objectives import Objective
from recon.optimizers import ScheduledOptimizers
from recon.render.interface import Rasterizer, Visibility
from recon.render.loss_routes import LossRoutes
from recon.render.pixel_choice import RUN
from recon.render.render_pixels import RenderedPixels, render_pixels
from recon.render.render_views import Rendered, RenderedSurface, Scene, render_views
from recon.render.self_occlusion import SelfOcclusion
from recon.stages.fine_scene import FineScene
from recon.stages.picture_sizes import picture_sizes
from recon.stages.pixel_step import CapturedStep, PixelInputs, shared_rasterizer
from recon.stages.step_losses import StepLosses
from recon.workers import Workers


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    regularize: (rendered, iteration) -> weighted scalar terms by name; the iteration is a tensor where a step
    is captured. before_step: called with the iteration that follows. after_step: called after every step, to
    put parameters back into their range. pixels: covered pixels that a step shades and compares, drawn anew
    each time; 0 for all. Several processes, several samples per pixel and learnt light take all. captured:
    whether such steps are recorded as a CUDA graph, on a GPU. growth: until these shares of the stage, in
    order, pictures are a quarter and half as large, see `picture_sizes`.
    """

    name: str
    iterations: int
    scene: Scene
    optimizers: ScheduledOptimizers
    regularize: Callable[[RenderedSurface, int | Tensor], dict[str, Tensor]]
    after_step: Callable[[], None]
    before_step: Callable[[int], None] = lambda iteration: None
    pixels: int = 0
    captured: bool = True
    growth: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class StepResult:
    """What one step computed: loss terms by name (detached scalars on the device).

    covered: number of pixels that were shaded. show: renders the step's views, or has done so, and returns
    them with their references; asked for before the next step.
    """

    iteration: int
    losses: dict[str, Tensor]
    covered: float
    show: Callable[[], tuple[Rendered, Tensor]]

    @cached_property
    def _shown(self) -> tuple[Rendered, Tensor]:
        return self.show()

    @property
    def rendered(self) -> Rendered:
        return self._shown[0]

    @property
    def reference(self) -> Tensor:
        return self._shown[1]


class TrainingSetup:
    """What a stage learns from and with: views, light, renderer and objective.

    batch: views of a step, shared by `workers` (only this process if None).
    """

    def __init__(
        self,
        views: Views,
        light: EnvironmentLight,
        fg: Tensor,
        rasterizer: Rasterizer,
        objective: Objective,
        *,
        batch: int,
        samples: int,
        seed: int,
        workers: Workers | None = None,
    ) -> None:
        self.views = views
        self.light = light
        self.fg = fg
        self.rasterizer = rasterizer
        self.objective = objective
        self.batch = batch
        self.samples = samples
        self.seed = seed
        self.workers = workers or Workers()
        self.of_pixels = shared_rasterizer(rasterizer, views.images.device)
        self._shrunk: dict[int, TrainingSetup] = {}

    def shrunk(self, factor: int) -> TrainingSetup:
        """The same with views at a 1 / `factor` of the resolution; made once."""
        if factor == 1:
            return self
        if factor not in self._shrunk:
            smaller = copy(self)
            smaller.views = self.views.shrunk(factor)
            self._shrunk[factor] = smaller
        return self._shrunk[factor]

    def with_objective(self, objective: Objective) -> TrainingSetup:
        """The same with other losses."""
        other = copy(self)
        other.objective = objective
        other._shrunk = {}
        return other

    def prefiltered_light(self) -> PrefilteredLight:
        """The light to shade with; made once where it is known, anew with its gradient where it is learnt."""
        return self.light.prefilter()

    def trace_occlusion(self, scene: FineScene) -> None:
        """Finds anew what of the light `scene` keeps from itself, as its surface and material are now."""
        if scene.occlusion is not None:
            material = scene.vertex_material(self.rasterizer)
            scene.occlusion.refresh(scene.mesh(), material, self.prefiltered_light(), self.fg)

    def render(self, scene: Scene, views: Tensor) -> Rendered:
        """Renders the training views of indices `views` (B,), gradients routed as the objective asks."""
        return self._render(scene, self.views, views, self.objective.routes)

    @torch.no_grad()
    def see(self, scene: Scene, views: Tensor) -> Visibility:
        """What the pixels of the training views of indices `views` (B,) show."""
        mesh = scene.mesh()
        if isinstance(scene.occlusion, SelfOcclusion):
            scene.occlusion.follow(mesh)
        return self.rasterizer.visible(mesh.vertices, mesh.faces, self.views.cameras[views])

    def render_pixels(self, scene: Scene, views: Tensor, seen: Visibility, count: int) -> RenderedPixels:
        """Renders `count` covered pixels of what is `seen` in `views`, gradients as those of `render`."""
        rotation = self.views.light_rotation
        return render_pixels(
            scene,
            self.prefiltered_light(),
            self.fg,
            self.views.cameras[views],
            seen,
            count,
            self.of_pixels,
            routes=self.objective.routes,
            light_rotation=None if rotation is None else rotation[views],
        )

    @torch.no_grad()
    def render_view(self, scene: Scene, views: Views, index: int) -> Tensor:
        """(H, W, 3) scene-linear picture, associated alpha, of view `index` of any `views`."""
        chosen = torch.tensor([index], device=views.images.device)
        return self._render(scene, views, chosen, None).image_a[0]

    def _render(self, scene: Scene, views: Views, chosen: Tensor, routes: LossRoutes | None) -> Rendered:
        rotation = views.light_rotation
        return render_views(
            scene,
            self.prefiltered_light(),
            self.fg,
            views.cameras[chosen],
            self.rasterizer,
            routes=routes,
            samples=self.samples,
            light_rotation=None if rotation is None else rotation[chosen],
            occlusion=scene.occlusion,
        )


def run_stage(
    stage: Stage, setup: TrainingSetup, on_step: Callable[[StepResult], None], *, start: int = 0
) -> None:
    """Optimizes `stage.scene` (and a learnt light) from iteration `start` to the stage's end.

    on_step: called after every step. Which views an iteration sees depends on the seed, the stage and the
    iteration only, so that a resumed run goes on exactly as it would have.
    """
    device = setup.views.images.device
    order = ViewOrder(len(setup.views), setup.batch, f"{setup.seed} {stage.name}", device)
    losses = StepLosses(stage, setup)
    for factor, first, end in picture_sizes(setup.views, stage.growth, stage.iterations):
        iterations = range(max(first, start), end)
        if not iterations:
            continue  # of a resumed run
        shown = setup.shrunk(factor)
        count = pixels_per_step(stage, shown)
        if count > 0:
            _run_on_pixels(stage, shown, order, on_step, iterations, count)
            continue
        for iteration in iterations:
            on_step(_step(stage, losses, order.views(iteration), iteration, factor))


def _step(stage: Stage, step_losses: StepLosses, views: Tensor, iteration: int, factor: int) -> StepResult:
    stage.before_step(iteration)
    losses, rendered, reference = step_losses(views, iteration, factor)
    stage.optimizers.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    stage.optimizers.step(iteration)
    with torch.no_grad():
        stage.after_step()
    covered = float(len(rendered.raster.pixels))
    return StepResult(iteration, step_losses.of_the_batch(losses), covered, lambda: (rendered, reference))


def pixels_per_step(stage: Stage, setup: TrainingSetup) -> int:
    """How many covered pixels a step takes, a multiple of `RUN`; 0 for all, however many there are.

    Steps on a fixed number need one process, one sample per pixel, a known light, and references that are
    all there: those rendered when asked for would have to be rendered once more to be counted. It is no
    larger than a batch of the views that show most of the object asks for. By the references only, so that a
    resumed run takes as many as before.
    """
    if not stage.pixels or setup.workers.count > 1 or setup.samples > 1 or setup.light.is_trainable:
        return 0
    if not isinstance(setup.views.images, Tensor):
        return 0
    by_view = (setup.views.images[..., 3] > 0).flatten(1).sum(1)
    covered = int(by_view.topk(min(setup.batch, len(by_view))).values.sum())  # waits for the device, once
    # Where no graph is captured nothing is gained by a fixed number, but by fewer.
    if setup.views.images.device.type != "cuda" and covered <= stage.pixels:
        return 0
    return RUN * (min(stage.pixels, covered) // RUN)


def _run_on_pixels(
    stage: Stage,
    setup: TrainingSetup,
    order: ViewOrder,
    on_step: Callable[[StepResult], None],
    iterations: range,
    count: int,
) -> None:
    scene = stage.scene
    first = order.views(iterations.start)
    inputs = PixelInputs(first, setup.views.images[first], setup.see(scene, first))

    def step() -> dict[str, Tensor]:
        rendered = setup.render_pixels(scene, inputs.views, inputs.visibility, count)
        losses = setup.objective.of_pixels(rendered, inputs.reference)
        losses |= stage.regularize(rendered, inputs.iteration)
        stage.optimizers.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        stage.optimizers.step_at_set_rates()
        with torch.no_grad():
            stage.after_step()
        return {name: loss.detach() for name, loss in losses.items()}

    take = CapturedStep(step, setup.views.images.device) if stage.captured else step
    for iteration in iterations:
        stage.before_step(iteration)
        views = order.views(iteration)
        inputs.write(views, iteration, setup.views.images[views], setup.see(scene, views))
        stage.optimizers.set_rates(iteration)
        losses = take()
        on_step(StepResult(iteration, losses, float(count), partial(_shown, scene, setup, views)))


@torch.no_grad()
def _shown(scene: Scene, setup: TrainingSetup, views: Tensor) -> tuple[Rendered, Tensor]:
    return setup.render(scene, views), setup.views.images[views]


class ViewOrder:
    """Batches of views: every view once per epoch, in a new random order each epoch, without any state.

    device: where the indices are wanted; an epoch's order goes there at once, not batch by batch.
    """

    def __init__(self, count: int, batch: int, seed: str, device: torch.device | str = "cpu") -> None:
        self._device = device
        self._count = count
        self._batch = batch
        self._seed = seed
        self._epochs: dict[int, Tensor] = {}

    def views(self, iteration: int) -> Tensor:
        """(batch,) int64 view indices of `iteration`."""
        first, last = iteration * self._batch, (iteration + 1) * self._batch
        parts = []
        for epoch in range(first // self._count, (last - 1) // self._count + 1):
            start = epoch * self._count
            parts.append(self._epoch(epoch)[max(first - start, 0) : last - start])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(_stable_hash(f"{self._seed} {epoch}"))
            self._epochs = {
                **{kept: order for kept, order in self._epochs.items() if kept == epoch - 1},
                epoch: torch.randperm(self._count, generator=generator).to(self._device),
            }
        return self._epochs[epoch]


def _stable_hash(text: str) -> int:
    """A number below 2**63 that is the same in every process (unlike `hash`)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
