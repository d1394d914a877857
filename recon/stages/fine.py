"""The fine stage: refine texture maps and vertices on a mesh of fixed topology."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recon.geometry.laplacian import UniformLaplacian, laplacian_difference
from recon.light.environment import EnvironmentLight
from recon.optimizers import LearntPart, ScheduledOptimizers
from recon.render.render_views import Rendered
from recon.schedules import schedule
from recon.stages.fine_scene import FineScene
from recon.stages.regularization import SmoothnessSettings, light_terms, normal_terms, smoothness_terms
from recon.stages.run_stage import Stage


@dataclass(frozen=True)
class FineSettings:
    """rates: base learning rate per part ("geometry", "a", "b", "light").

    joint: all maps follow the baseline's schedule. laplacian: weight of the change of the mesh's Laplacian.
    normal_smoothness: weight against normals that differ across an edge. light_grey: of the grey-world prior.
    """

    iterations: int
    rates: dict[str, float]
    joint: bool
    laplacian: float
    normal_smoothness: float
    smoothness: SmoothnessSettings
    light_grey: float


def fine_stage(scene: FineScene, light: EnvironmentLight, settings: FineSettings) -> Stage:
    """Assembles the stage that learns `scene`'s maps, vertices that may move, and a trainable light."""
    parts = {
        "geometry": [scene.offsets] if scene.offsets.requires_grad else [],
        **scene.maps.parameter_groups(),
        "light": list(light.parameters()),
    }
    schedules = {"light": "fine_geometry"}
    if settings.joint:
        schedules |= {"a": "fine_joint", "b": "fine_joint"}
    optimizers = ScheduledOptimizers(
        {
            name: LearntPart(parameters, settings.rates[name], schedule(schedules.get(name, f"fine_{name}")))
            for name, parameters in parts.items()
        },
        settings.iterations,
    )
    start = scene.start.vertices
    laplacian = UniformLaplacian(scene.start.faces, len(start))

    def regularize(rendered: Rendered, iteration: int) -> dict[str, Tensor]:
        terms = smoothness_terms(settings.smoothness, rendered, iteration)
        if scene.offsets.requires_grad:
            change = laplacian_difference(laplacian, rendered.mesh.vertices, start)
            terms["laplacian"] = settings.laplacian * change
            terms |= normal_terms(rendered.mesh, settings.normal_smoothness)
        return terms | light_terms(light, settings.light_grey)

    return Stage("fine", settings.iterations, scene, optimizers, regularize, after_step=scene.maps.clamp_)
