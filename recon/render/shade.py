"""Shading of surface points by an environment light: diffuse plus split-sum GGX specular."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from recon.light.cubemap import lookup
from recon.light.environment import PrefilteredLight
from recon.light.fg_table import lookup_fg
from recon.render.brdf import DIELECTRIC_F0, specular_f0

# Least cosine between the shading normal and the direction to the camera.
_GRAZING = 1e-2


def face_camera(normal: Tensor, to_camera: Tensor) -> tuple[Tensor, Tensor]:
    """Bends normals that face away to the horizon: unit normals (P, 3) and their n.v (P, 1), above zero.

    A perturbed or interpolated normal may face away from the camera near a silhouette although its surface
    does not. It is moved along the view direction just until it is seen edge-on, which is continuous, so
    that gradients survive; the others are returned unchanged. This also makes shading two-sided.
    """
    n_dot_v = (normal * to_camera).sum(-1, keepdim=True)
    lift = (_GRAZING - n_dot_v).clamp_min(0.0)
    bent = normalize(normal + lift * to_camera, dim=-1)
    return bent, (bent * to_camera).sum(-1, keepdim=True).clamp(0.5 * _GRAZING, 1.0)


def shade(
    albedo: Tensor,
    normal: Tensor,
    roughness: Tensor,
    metallic: Tensor,
    occlusion: Tensor,
    to_camera: Tensor,
    light: PrefilteredLight,
    fg: Tensor,
) -> Tensor:
    """(P, 3) scene-linear radiance toward the camera.

    albedo: (P, 3). normal: (P, 3) unit world-space shading normals; both sides are lit, see `face_camera`.
    roughness: (P, 1) perceptual. metallic, occlusion: (P, 1); occlusion scales all light, 1 = unoccluded.
    to_camera: (P, 3) unit. light: the prefiltered light. fg: `recon.light.fg_table.fg_table`'s table.

    UsdPreviewSurface's metallic workflow with F0 = 0.04 for dielectrics. Specular is the split sum (Karis
    2013): prefiltered radiance in the mirror direction times the environment BRDF. The diffuse lobe gets
    what the dielectric interface lets through (one minus its directional albedo), so no energy is made.
    Differentiable in everything but `fg`. No visibility, no interreflection.
    """
    normal, n_dot_v = face_camera(normal, to_camera)
    reflected = 2.0 * n_dot_v * normal - to_camera
    scale, bias = lookup_fg(fg, n_dot_v, roughness).split(1, dim=-1)
    specular = lookup(light.specular, reflected, light.level(roughness))
    specular = specular * (specular_f0(albedo, metallic) * scale + bias)
    through = (1.0 - metallic) * (1.0 - DIELECTRIC_F0 * scale - bias)
    diffuse = lookup((light.diffuse,), normal) * (albedo * through)
    return (diffuse + specular) * occlusion
