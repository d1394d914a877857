"""Regularizing terms that both stages share: smooth material, smooth surface and grey light."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recon.geometry.laplacian import normal_consistency
from recon.geometry.mesh import Mesh
from recon.light.environment import EnvironmentLight
from recon.regularizers import binary_prior, dark_metal, grey_world, jittered_smoothness, ramp
from recon.render.edge_adjacency import mates_of
from recon.render.render_views import RenderedSurface


@dataclass(frozen=True)
class SmoothnessSettings:
    """Weights of the jittered-lookup terms, reached over `ramp` iterations.

    jitter: standard deviation, in the dataset frame's unit (coarse) or in uv (fine). subset: share of the
    covered pixels that are looked up again.
    """

    albedo: float
    material: float
    ramp: int
    jitter: float
    subset: float

    @property
    def used(self) -> bool:
        return self.albedo > 0.0 or self.material > 0.0


def smoothness_terms(
    settings: SmoothnessSettings, rendered: RenderedSurface, iteration: int | Tensor
) -> dict[str, Tensor]:
    """Weighted smoothness of albedo and of roughness and metallic where `rendered` looked them up."""
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
        "material_smoothness": settings.material * weight * smoothness.roughness_metallic,
    }


@dataclass(frozen=True)
class PriorSettings:
    """Weights of what is likely of any material.

    dark_metal: of the prior of that name. metallic: of `binary_prior`; it may only decide what the pictures
    have left open, so it grows from `metallic_from` to its full weight over `metallic_ramp` iterations.
    normal_offset: of the mean squared offset that a field adds to normals, since noise there costs little and
    blurs reflections.
    """

    dark_metal: float
    metallic: float
    metallic_from: float
    metallic_ramp: float
    normal_offset: float


def prior_terms(
    settings: PriorSettings, rendered: RenderedSurface, iteration: int | Tensor
) -> dict[str, Tensor]:
    """Weighted priors of the material where `rendered` shows it.

    Where `iteration` is a tensor, terms whose weight is still zero are there as well.
    """
    sample, terms = rendered.sample, {}
    share = rendered.covered_share
    grown = ramp(iteration, max(settings.metallic_ramp, 1.0), settings.metallic_from)
    if settings.metallic > 0.0 and (isinstance(grown, Tensor) or grown > 0.0):
        terms["metallic_prior"] = settings.metallic * share * grown * binary_prior(sample.channels.metallic)
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
