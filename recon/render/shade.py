"""Shading of surface points by an environment light: Burley's diffuse plus split-sum GGX specular."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.light.cubemap import lookup
from recon.light.environment import PrefilteredLight
from recon.light.fg_table import lookup_fg

# Least cosine between the shading normal and the direction to the camera.
GRAZING = 1e-2
# Light that reaches a point is at least this share of what would reach it unoccluded: estimates of what is
# blocked are noisy, and a point without any light could not learn.
LEAST_LIGHT = 0.02


@dataclass(frozen=True)
class OccludedLight:
    """What the prefiltered light has too much of at P points, for the object is in its own light; constants.

    irradiance: (P, 3), divided by pi. reflected: (P, 3), in the specular lobe. Both are the light that is
    blocked minus what the blocking surface sends instead, so they may be negative. trust: (P, 1), how much
    what is seen there tells of gloss: the share of what reaches the point from all sides, times that of its
    lobe, that nothing blocks, times how certain the surface's normal is.
    """

    irradiance: Tensor
    reflected: Tensor
    trust: Tensor


def world_normal(normal: Tensor, perturbation: Tensor, tangent: Tensor | None) -> Tensor:
    """(P, 3) unit world shading normal of a `SurfaceSample`'s parts."""
    if tangent is None:
        return normalize(normalize(normal, dim=-1) + perturbation, dim=-1)
    # MikkTSpace: interpolated frame as it is, without renormalizing or orthogonalizing.
    bitangent = tangent[:, 3:] * torch.linalg.cross(normal, tangent[:, :3])
    x, y, z = perturbation.unbind(-1)
    return normalize(x[:, None] * tangent[:, :3] + y[:, None] * bitangent + z[:, None] * normal, dim=-1)


def face_camera(normal: Tensor, to_camera: Tensor) -> tuple[Tensor, Tensor]:
    """Bends normals that face away to the horizon: unit normals (P, 3) and their n.v (P, 1), above zero.

    A perturbed or interpolated normal may face away from the camera near a silhouette although its surface
    does not. It is moved along the view direction just until it is seen edge-on, which is continuous, so
    that gradients survive; the others are returned unchanged. This also makes shading two-sided.
    """
    n_dot_v = (normal * to_camera).sum(-1, keepdim=True)
    lift = (GRAZING - n_dot_v).clamp_min(0.0)
    bent = normalize(normal + lift * to_camera, dim=-1)
    return bent, (bent * to_camera).sum(-1, keepdim=True).clamp(0.5 * GRAZING, 1.0)


def specular_albedo(albedo: Tensor, metallic: Tensor, response: Tensor) -> Tensor:
    """(P, 3) share of the light in its lobe that a surface reflects. response: of `recon.light.fg_table`."""
    scale, bias, dielectric = response[:, :3].split(1, dim=-1)
    return torch.lerp(dielectric.expand_as(albedo), albedo * scale + bias, metallic)


def blur_of_lobe(roughness: Tensor, width: Tensor, variance: Tensor | float) -> Tensor:
    """(P, 1) roughness of the prefiltered light that a lobe meets.

    width: what `recon.light.fg_table` multiplies alpha^2 with. variance: of the normals within the pixel.
    """
    # A mirror's fourth root would have no gradient.
    return ((roughness**4 + variance) * width).clamp(1e-28, 1.0) ** 0.25


def shade(
    albedo: Tensor,
    normal: Tensor,
    roughness: Tensor,
    metallic: Tensor,
    occlusion: Tensor,
    to_camera: Tensor,
    light: PrefilteredLight,
    fg: Tensor,
    *,
    variance: Tensor | None = None,
    occluded: OccludedLight | None = None,
) -> Tensor:
    """(P, 3) scene-linear radiance toward the camera.

    albedo: (P, 3). normal: (P, 3) unit world-space shading normals; both sides are lit, see `face_camera`.
    roughness: (P, 1) perceptual. metallic, occlusion: (P, 1); occlusion scales all light, 1 = unoccluded.
    to_camera: (P, 3) unit. light: the prefiltered light. fg: `recon.light.fg_table.fg_table`'s table.
    variance: (P, 1) of the normals within each pixel, see `recon.render.normal_variance`; constant. occluded:
    see there; without it nothing blocks the light.

    UsdPreviewSurface's metallic workflow with F0 = 0.04 for dielectrics. Specular is the split sum (Karis
    2013): prefiltered radiance of the lobe that stands best for the true one, times the environment BRDF,
    both of `recon.light.fg_table`. Diffuse is Burley's lobe.
    The normals of a pixel widen its lobe: alpha^2 grows by their variance (Kaplanyan et al. 2016, "Filtering
    Distributions of Normals for Shading Antialiasing"; Tokuyoshi and Kaplanyan 2019), so that what is learnt
    is the surface's roughness, and not the pixels'. Differentiable in everything but `fg` and the constants.
    """
    normal, n_dot_v = face_camera(normal, to_camera)
    reflected = 2.0 * n_dot_v * normal - to_camera
    response = lookup_fg(fg, n_dot_v, roughness)
    diffuse_albedo, lean, width = response[:, 3:].split(1, dim=-1)
    seen = blur_of_lobe(roughness, width, 0.0 if variance is None else variance)
    mirrored = lookup(light.specular, torch.lerp(normal, reflected, lean), light.level(seen))
    irradiance = lookup((light.diffuse,), normal)
    if occluded is not None:
        mirrored = torch.maximum(mirrored - occluded.reflected, LEAST_LIGHT * mirrored)
        irradiance = torch.maximum(irradiance - occluded.irradiance, LEAST_LIGHT * irradiance)
    specular = mirrored * specular_albedo(albedo, metallic, response)
    diffuse = irradiance * albedo * (1.0 - metallic) * diffuse_albedo
    return (diffuse + specular) * occlusion
