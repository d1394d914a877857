"""Slow, obvious twins of the light's kernels, in float64."""

import math

import torch

from recon.light.cubemap import locate, texel_directions, texel_solid_angles
from recon.render.brdf import specular_brdf


def lookup(levels, directions, level):
    """Seamless bilinear lookup, linear between levels, in plain torch."""
    lower = level.detach().long().clamp(0, max(len(levels) - 2, 0))
    fraction = level.clamp(0, len(levels) - 1) - lower
    out = torch.zeros_like(directions)
    for k, texture in enumerate(levels):
        weight = torch.where(lower == k, 1 - fraction, 0.0) + torch.where(lower + 1 == k, fraction, 0.0)
        out = out + weight * _bilinear(texture, directions)
    return out


def _bilinear(texture, directions):
    n = texture.shape[1] - 2
    face, s, t = locate(directions)
    x, y = (s + 1) * n / 2 + 0.5, (t + 1) * n / 2 + 0.5
    i, j = y.detach().long().clamp(0, n), x.detach().long().clamp(0, n)
    fx, fy = (x - j)[:, None], (y - i)[:, None]
    top = texture[face, i, j] * (1 - fx) + texture[face, i, j + 1] * fx
    bottom = texture[face, i + 1, j] * (1 - fx) + texture[face, i + 1, j + 1] * fx
    return top * (1 - fy) + bottom * fy


def lobe_weights(normals, directions, roughness):
    """(R, S) D(n.h) n.l with view = normal; the cosine alone where roughness is None."""
    n_dot_l = (normals @ directions.T).clamp(-1, 1)
    cosine = n_dot_l.clamp_min(0)
    if roughness is None:
        return cosine
    alpha2 = roughness**4
    spread = 0.5 * (1 + n_dot_l) * (alpha2 - 1) + 1
    return cosine * alpha2 / (math.pi * spread**2)


def prefilter(cube, normals, roughness, subdivide=1):
    """(R, 3) weighted mean over every texel, each cut into `subdivide`^2 pieces of its own radiance."""
    n = cube.shape[1]
    fine = n * subdivide
    directions = texel_directions(fine, dtype=torch.float64).reshape(-1, 3)
    radiance = cube.double().repeat_interleave(subdivide, 1).repeat_interleave(subdivide, 2).reshape(-1, 3)
    solid_angles = texel_solid_angles(fine, dtype=torch.float64).repeat(6, 1, 1).reshape(-1)
    weights = lobe_weights(normals.double(), directions, roughness) * solid_angles
    return weights @ radiance / weights.sum(1, keepdim=True)


def hemisphere(count_polar, count_azimuth):
    """Midpoint directions (S, 3) around +Z and solid angles (S,) of the upper hemisphere."""
    edge = torch.linspace(0, math.pi / 2, count_polar + 1, dtype=torch.float64)
    polar = (edge[1:] + edge[:-1]) / 2
    azimuth = (torch.arange(count_azimuth, dtype=torch.float64) + 0.5) * (2 * math.pi / count_azimuth)
    band = (torch.cos(edge[:-1]) - torch.cos(edge[1:])) * (2 * math.pi / count_azimuth)
    theta, phi = torch.meshgrid(polar, azimuth, indexing="ij")
    sine = torch.sin(theta)
    directions = torch.stack([sine * torch.cos(phi), sine * torch.sin(phi), torch.cos(theta)], -1)
    return directions.reshape(-1, 3), band[:, None].expand(-1, count_azimuth).reshape(-1)


def reflect_radiance(radiance, normal, to_camera, roughness, f0, count=(512, 512)):
    """(3,) outgoing specular radiance: the rendering equation's integral over half-vectors.

    The half-vector's polar angle is warped so that the lobe is well sampled: dw_l = 4 v.h dw_h.
    """
    alpha = torch.tensor(roughness**2, dtype=torch.float64)
    a = (torch.arange(count[0], dtype=torch.float64) + 0.5) / count[0]
    phi = (torch.arange(count[1], dtype=torch.float64) + 0.5) * (2 * math.pi / count[1])
    a, phi = (x.reshape(-1) for x in torch.meshgrid(a, phi, indexing="ij"))
    # The lobe's cumulative distribution in closed form: a = P(angle < theta), density D n.h.
    cosine2 = (1 - a) / (1 + (alpha**2 - 1) * a)
    cosine, sine = cosine2.sqrt(), (1 - cosine2).sqrt()
    tangent, bitangent = _frame(normal)
    half = sine[:, None] * (torch.cos(phi)[:, None] * tangent + torch.sin(phi)[:, None] * bitangent)
    half = half + cosine[:, None] * normal
    v_dot_h = (half @ to_camera)[:, None]
    to_light = 2 * v_dot_h * half - to_camera
    spread = cosine2 * (alpha**2 - 1) + 1
    density = (alpha**2 / (math.pi * spread**2) * cosine)[:, None] / (4 * v_dot_h.clamp_min(1e-9))
    n_dot_l = (to_light @ normal)[:, None]
    valid = (n_dot_l > 0) & (v_dot_h > 0)
    brdf = specular_brdf(normal.expand_as(half), to_camera.expand_as(half), to_light, alpha, f0)
    return torch.where(valid, brdf * n_dot_l * radiance(to_light) / density, 0.0).mean(0)


def burley_lobe(roughness, n_dot_v, n_dot_l, l_dot_h):
    """Burley's diffuse lobe of a white surface, per steradian (2012, section 5.3)."""
    grazing = 0.5 + 2 * roughness * l_dot_h**2  # F_D90 of the paper
    return (1 + (grazing - 1) * (1 - n_dot_l) ** 5) * (1 + (grazing - 1) * (1 - n_dot_v) ** 5) / math.pi


def _frame(normal):
    helper = torch.tensor([1.0, 0, 0] if abs(normal[0]) < 0.7 else [0, 1.0, 0], dtype=normal.dtype)
    tangent = torch.nn.functional.normalize(torch.linalg.cross(helper, normal), dim=0)
    return tangent, torch.linalg.cross(normal, tangent)


def smooth_radiance(seed, bumps=6, sharpness=6.0):
    """A smooth random HDR radiance function of unit directions (..., 3) -> (..., 3)."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.nn.functional.normalize(
        torch.randn(bumps, 3, generator=generator, dtype=torch.float64), dim=-1
    )
    colors = torch.rand(bumps, 3, generator=generator, dtype=torch.float64) * 4

    def radiance(directions):
        lobes = torch.exp(sharpness * (directions @ centers.to(directions).T - 1))
        return 0.2 + lobes @ colors.to(directions)

    return radiance
