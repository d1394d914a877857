"""The coarse stage: find the surface and a first material, with DMTet and material fields in 3D."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from recon.light.environment import EnvironmentLight
from recon.optimizers import LearntPart, ScheduledOptimizers
from recon.regularizers import sdf_weight
from recon.render.render_views import RenderedSurface
from recon.schedules import annealed, coarse_b, schedule
from recon.stages.coarse_scene import CoarseScene
from recon.stages.regularization import (
    PriorSettings,
    SmoothnessSettings,
    light_terms,
    normal_terms,
    prior_terms,
    smoothness_terms,
)
from recon.stages.run_stage import Stage


@dataclass(frozen=True)
class CoarseSettings:
    """rates: base learning rate per part ("geometry", "a", "b" or "joint", "light").

    sdf_weights: of the SDF sign entropy, at the start and at the end. normal_smoothness: weight against
    normals that differ across an edge. light_grey: of the grey-world prior. b_rise: share of the stage over
    which branch B's rate rises from 0. final_rate: share of its rate that every part ends with.
    """

    iterations: int
    rates: dict[str, float]
    sdf_weights: tuple[float, float]
    normal_smoothness: float
    smoothness: SmoothnessSettings
    priors: PriorSettings
    light_grey: float
    b_rise: float
    final_rate: float
    growth: tuple[float, float] = (0.0, 0.0)


def coarse_stage(scene: CoarseScene, light: EnvironmentLight, settings: CoarseSettings) -> Stage:
    """Assembles the stage that learns `scene` and, where it is trainable, `light`."""
    parts = {
        "geometry": list(scene.geometry.parameters()),
        **scene.field.parameter_groups(),
        "light": list(light.parameters()),
    }
    # The light follows the mesh's schedule: it has to settle as early as the surface.
    schedules = {name: schedule(f"coarse_{name}") for name in parts if name != "light"}
    schedules["light"] = schedule("coarse_geometry")
    schedules["b"] = partial(coarse_b, rise=settings.b_rise)
    optimizers = ScheduledOptimizers(
        {
            name: LearntPart(parameters, settings.rates[name], annealed(schedules[name], settings.final_rate))
            for name, parameters in parts.items()
        },
        settings.iterations,
    )
    start, end = settings.sdf_weights

    def regularize(rendered: RenderedSurface, iteration: int | Tensor) -> dict[str, Tensor]:
        assert isinstance(iteration, int)  # coarse steps are not captured: their sizes change
        weight = sdf_weight(iteration, settings.iterations, start, end)
        return {
            "sdf_sign": weight * scene.geometry.sign_regularizer(),
            **normal_terms(rendered.mesh, settings.normal_smoothness),
            **smoothness_terms(settings.smoothness, rendered, iteration),
            **prior_terms(settings.priors, rendered),
            **light_terms(light, settings.light_grey),
        }

    return Stage(
        "coarse",
        settings.iterations,
        scene,
        optimizers,
        regularize,
        after_step=lambda: None,
        growth=settings.growth,
    )
