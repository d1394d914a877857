"""Regularizing terms that both stages share: smooth material, smooth surface and grey light."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recon.geometry.laplacian import normal_consistency
from recon.geometry.mesh import Mesh
from recon.light.environment import EnvironmentLight
from recon.regularizers import dark_metal, grey_world, jittered_smoothness, ramp
from recon.render.edge_adjacency import mates_of
from recon.render.render_views import RenderedSurface


@dataclass(frozen=True)
class SmoothnessSettings:
    """Weights of the jittered-lookup terms, reached over `ramp` iterations.

    jitter: standard deviation, in the dataset frame's unit (coarse) or in uv (fine). subset: share of the
    covered pixels that are looked up again.
    """

    albedo: float
    roughness: float
    metallic: float
    ramp: int
    jitter: float
    subset: float

    @property
    def used(self) -> bool:
        return max(self.albedo, self.roughness, self.metallic) > 0.0


def smoothness_terms(
    settings: SmoothnessSettings, rendered: RenderedSurface, iteration: int | Tensor
) -> dict[str, Tensor]:
    """Weighted smoothness of albedo, roughness and metallic where `rendered` looked them up."""
    if not settings.used:
        return {}
    sample = rendered.sample
    smoothness = jittered_smoothness(
        sample.lookup,
        sample.coordinates,
        sample.channels,
        sigma=settings.jitter,
        fraction=settings.subset,
        coverage=rendered.covered_share,
    )
    weight = ramp(iteration, settings.ramp)
    return {
        "albedo_smoothness": settings.albedo * weight * smoothness.albedo,
        "roughness_smoothness": settings.roughness * weight * smoothness.roughness,
        "metallic_smoothness": settings.metallic * weight * smoothness.metallic,
    }


@dataclass(frozen=True)
class PriorSettings:
    """Weights of what is likely of any material.

    dark_metal: of the prior of that name. normal_offset: of the mean squared offset that a field adds to
    normals, since noise there costs little and blurs reflections.
    """

    dark_metal: float
    normal_offset: float


def prior_terms(settings: PriorSettings, rendered: RenderedSurface) -> dict[str, Tensor]:
    """Weighted priors of the material where `rendered` shows it."""
    sample, terms = rendered.sample, {}
    share = rendered.covered_share
    if settings.dark_metal > 0.0:
        black = dark_metal(sample.channels.metallic, sample.channels.albedo)
        terms["dark_metal"] = settings.dark_metal * share * black
    if settings.normal_offset > 0.0 and sample.tangent is None and sample.channels.normal.requires_grad:
        size = sample.channels.normal.square().sum(dim=1).mean()
        terms["normal_offset"] = settings.normal_offset * share * size
    return terms


def normal_terms(mesh: Mesh, weight: float) -> dict[str, Tensor]:
    """Weighted difference of the normals of adjacent faces.

    What noise leaves in the surface blurs reflections, and a blurred reflection reads as roughness.
    """
    if weight == 0.0:
        return {}
    consistency = normal_consistency(mesh.vertices, mesh.faces, mates_of(mesh.faces))
    return {"normal_smoothness": weight * consistency}


def light_terms(light: EnvironmentLight, grey_weight: float) -> dict[str, Tensor]:
    """The grey-world prior of a learnt light; nothing where the light is known."""
    if not light.is_trainable or grey_weight == 0.0:
        return {}
    return {"light_grey": grey_weight * grey_world(light.cubemap())}
