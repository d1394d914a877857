"""The fine stage: refine material and vertices on a mesh of fixed topology."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from recon.material.texture_maps import TextureMaps
from recon.optimizers import LearntPart, ScheduledOptimizers
from recon.render.render_views import RenderedSurface
from recon.schedules import schedule
from recon.stages.fine_scene import FineScene
from recon.stages.regularization import (
    PriorSettings,
    SmoothnessSettings,
    light_terms,
    normal_terms,
    prior_terms,
    smoothness_terms,
)
from recon.stages.run_stage import Stage, TrainingSetup

_RETRACE_EVERY = 16  # iterations; the average over some of these follows a surface that still moves


@dataclass(frozen=True)
class FineSettings:
    """rates: base learning rate per part ("geometry", "a" and "b" or "joint", "light").

    joint: all maps follow the baseline's schedule; fields follow one of their own either way.
    normal_smoothness: weight against normals that differ across an edge. light_grey: of the grey-world prior.
    pixels, growth: see `Stage`.
    """

    iterations: int
    rates: dict[str, float]
    joint: bool
    normal_smoothness: float
    smoothness: SmoothnessSettings
    priors: PriorSettings
    light_grey: float
    pixels: int = 0
    growth: tuple[float, float] = (0.0, 0.0)


def fine_stage(scene: FineScene, setup: TrainingSetup, settings: FineSettings) -> Stage:
    """Assembles the stage that learns `scene`'s material, vertices that may move, and a trainable light."""
    material, light = scene.material, setup.light
    parts = {
        "geometry": [scene.offsets] if scene.offsets.requires_grad else [],
        **material.parameter_groups(),
        "light": list(light.parameters()),
    }
    schedules = {"light": "fine_geometry"}
    if not isinstance(material, TextureMaps):
        schedules = dict.fromkeys(parts, "fine_field")
    elif settings.joint:
        schedules |= {"a": "fine_joint", "b": "fine_joint"}
    optimizers = ScheduledOptimizers(
        {
            name: LearntPart(
                parameters,
                settings.rates[name],
                schedule(schedules.get(name, f"fine_{name}")),
                # Steps of the same length everywhere would be noise where the pictures say nothing.
                uniform=name == "geometry",
            )
            for name, parameters in parts.items()
        },
        settings.iterations,
    )

    def regularize(rendered: RenderedSurface, iteration: int | Tensor) -> dict[str, Tensor]:
        terms = smoothness_terms(settings.smoothness, rendered, iteration)
        terms |= prior_terms(settings.priors, rendered)
        if scene.offsets.requires_grad:
            terms |= normal_terms(rendered.mesh, settings.normal_smoothness)
        return terms | light_terms(light, settings.light_grey)

    return Stage(
        "fine",
        settings.iterations,
        scene,
        optimizers,
        regularize,
        before_step=partial(_retrace, scene, setup),
        after_step=material.clamp_ if isinstance(material, TextureMaps) else lambda: None,
        pixels=settings.pixels,
        growth=settings.growth,
    )


def _retrace(scene: FineScene, setup: TrainingSetup, iteration: int) -> None:
    """Light that the object keeps from itself changes slowly, with its surface and material."""
    if iteration % _RETRACE_EVERY == 0:
        setup.trace_occlusion(scene)
