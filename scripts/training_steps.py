"""Training steps by themselves, for measuring: both stages of a config, set up as `recon.train` does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from recon.assemble import (
    coarse_settings,
    fine_settings,
    make_coarse_scene,
    make_fine_scene,
    make_known_field,
    make_setup,
    make_texture_maps,
)
from recon.backend import Backend
from recon.config import Config, with_values
from recon.data.dataset import load_views
from recon.data.resize import fitted_size
from recon.data.views import Views
from recon.geometry.mesh import Mesh
from recon.geometry.unwrap import unwrap
from recon.stages.coarse import coarse_stage
from recon.stages.coarse_scene import CoarseScene
from recon.stages.fine import fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.run_stage import Stage, StepResult, TrainingSetup, run_stage

_WHOLE_PICTURES = (0.0, 0.0)  # runs begin with smaller ones, on which steps are quicker


@dataclass(frozen=True)
class Problem:
    """A stage to step through. scene: what it learns."""

    setup: TrainingSetup
    stage: Stage
    scene: CoarseScene | FineScene


@dataclass
class Problems:
    """Makes the stages of changing configs on one dataset; loaded views are kept by resolution.

    The fine stage's mesh is unwrapped once: its topology does not depend on what is varied.
    """

    dataset: Path
    device: torch.device
    _own: Views | None = None  # in main memory: on the device is only what is measured
    _views: dict[int | None, Views] = field(default_factory=dict)
    _mesh: Mesh | None = None

    def coarse(self, config: Config, backend: Backend, iterations: int) -> Problem:
        """The coarse stage from its start on, as a run of `iterations`."""
        config = with_values(config, {"train.coarse_iterations": iterations})
        setup = self._setup(config, backend)
        scene = make_coarse_scene(config, setup.views, self.device, backend.networks)
        stage = coarse_stage(scene, setup.light, coarse_settings(config))
        return Problem(setup, replace(stage, growth=_WHOLE_PICTURES), scene)

    def fine(self, config: Config, backend: Backend, iterations: int) -> Problem:
        """The fine stage on the unwrapped start of the coarse one, with an untrained material."""
        config = with_values(config, {"train.fine_iterations": iterations})
        setup = self._setup(config, backend)
        if self._mesh is None:
            start = make_coarse_scene(config, setup.views, self.device)
            self._mesh = unwrap(start.mesh().detach(), config.textures.resolution)
        field = make_known_field(config, self._mesh, setup.views, backend.networks)
        material = make_texture_maps(config, None, self.device) if config.textures.learnt else field
        scene = make_fine_scene(config, self._mesh, material, setup.views, backend.rasterizer, movable=True)
        stage = fine_stage(scene, setup, fine_settings(config, scene))
        return Problem(setup, replace(stage, growth=_WHOLE_PICTURES), scene)

    def _setup(self, config: Config, backend: Backend) -> TrainingSetup:
        views = self._views_of(config.train.resolution)
        setup = make_setup(config, self.dataset, views, backend.rasterizer, self.device)
        setup.prefiltered_light()
        return setup

    def _views_of(self, resolution: int | None) -> Views:
        """The training views; enlarged where the dataset's are smaller, for steps on them take as long."""
        if resolution not in self._views:
            self._views[resolution] = self._load(resolution).to(self.device)
        return self._views[resolution]

    def _load(self, resolution: int | None) -> Views:
        if self._own is None:
            self._own = load_views(self.dataset, "train")
        longest = max(self._own.cameras.width, self._own.cameras.height)
        if resolution is None or resolution == longest:
            return self._own
        if resolution > longest:
            return enlarged(self._own, resolution)
        return load_views(self.dataset, "train", resolution)


def enlarged(views: Views, longest: int) -> Views:
    """The same views, `longest` pixels along the longer side; nothing in them becomes sharper."""
    width, height = fitted_size(views.cameras.width, views.cameras.height, longest)
    pictures = views.images[torch.arange(len(views), device=views.images.device)]
    larger = interpolate(pictures.permute(0, 3, 1, 2), (height, width), mode="bilinear")
    return replace(
        views, cameras=views.cameras.resized(width, height), images=larger.permute(0, 2, 3, 1).contiguous()
    )


def milliseconds_per_step(problem: Problem, warm_up: int, device: torch.device) -> list[float]:
    """Duration of every step after the first `warm_up` ones.

    On CUDA by events, one between any two steps, read after the last: the steps are not waited for.
    """
    events: list[torch.cuda.Event] = []
    times: list[float] = []

    def mark(result: StepResult) -> None:
        if device.type == "cuda":
            events.append(torch.cuda.Event(enable_timing=True))
            events[-1].record()
        else:
            times.append(1000.0 * time.perf_counter())

    run_stage(problem.stage, problem.setup, mark)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        times = [events[0].elapsed_time(event) for event in events]
    return [later - earlier for earlier, later in pairwise(times[warm_up - 1 :])]
