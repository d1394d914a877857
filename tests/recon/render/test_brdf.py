import math

import pytest
import torch

from recon.render import brdf
from tests.recon.light.reference_light import burley_lobe, hemisphere
from usd_tools.mitsuba_scene import import_mitsuba


@pytest.mark.parametrize("alpha", [0.09, 0.36, 1.0])
def test_projected_microfacet_area_is_one(alpha):
    directions, solid_angles = hemisphere(4000, 4)
    cosine = directions[:, 2]
    total = (brdf.ggx_distribution(cosine, torch.tensor(alpha).double()) * cosine * solid_angles).sum()
    assert total.item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_masking_conserves_visible_area(alpha):
    """Heitz 2014, equation 4: the microfacets seen from v have the projected area of the flat surface."""
    directions, solid_angles = hemisphere(1000, 256)
    cosine, width = torch.tensor(0.6).double(), torch.tensor(alpha).double()
    view = torch.tensor([0.8, 0.0, 0.6]).double()
    density = brdf.ggx_distribution(directions[:, 2], width) * (directions @ view).clamp_min(0)
    area = (brdf.smith_masking(cosine, width) * density * solid_angles).sum().item()
    assert area == pytest.approx(0.6, rel=1e-2)


def test_distribution_keeps_precision_for_narrow_lobes():
    n_dot_h, alpha = torch.tensor(1.0), torch.tensor(1e-3)
    assert brdf.ggx_distribution(n_dot_h, alpha).item() == pytest.approx(1 / (math.pi * 1e-6), rel=1e-4)


def test_fresnel():
    assert brdf.schlick_fresnel(torch.tensor(0.3), torch.tensor(0.0)) == 1
    assert brdf.schlick_fresnel(torch.tensor(0.3), torch.tensor(1.0)) == pytest.approx(0.3)
    found = brdf.dielectric_fresnel(torch.tensor([1.0, math.cos(math.radians(60)), 0.0])).tolist()
    assert found == pytest.approx([brdf.DIELECTRIC_F0, 0.0892, 1.0], abs=1e-4)


def test_brdf_is_reciprocal_and_zero_below_the_horizon():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.nn.functional.normalize(torch.randn(2, 50, 3, generator=generator), dim=-1).abs()
    normal = torch.tensor([0.0, 0, 1]).expand_as(a)
    alpha, f0 = torch.full((50, 1), 0.2), torch.full((50, 3), 0.04)
    torch.testing.assert_close(
        brdf.specular_brdf(normal, a, b, alpha, f0), brdf.specular_brdf(normal, b, a, alpha, f0)
    )
    below = b * torch.tensor([1.0, 1, -1])
    assert brdf.specular_brdf(normal, a, below, alpha, f0).abs().max() == 0


def test_visible_normals_have_their_density():
    """The mean of a function over samples equals its integral against G1 D max(0, v.h) / n.v."""
    uniform = torch.rand(200000, 2, generator=torch.Generator().manual_seed(0)).double()
    alpha, cosine = torch.tensor(0.5).double(), torch.tensor(0.6).double()
    samples = brdf.sample_visible_normals(cosine, alpha, uniform)
    directions, solid_angles = hemisphere(800, 256)
    view = torch.tensor([0.8, 0.0, 0.6]).double()
    density = brdf.smith_masking(cosine, alpha) * brdf.ggx_distribution(directions[:, 2], alpha)
    density = density * (directions @ view).clamp_min(0) / cosine * solid_angles
    torch.testing.assert_close(samples.mean(0), density @ directions, atol=5e-3, rtol=0)


@pytest.mark.parametrize("roughness", [0.1, 0.5, 0.8, 1.0])
def test_it_is_the_surface_that_mitsuba_path_traces(roughness):
    """Mitsuba's principled shader renders the turntables: metal, paint and mixtures are the same.

    With height-correlated shadowing rough metal came out too bright, and training explained it as paint.
    """
    pytest.importorskip("mitsuba", reason="Mitsuba is not installed (extra `render`)")
    directions = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions[..., 2] = directions[..., 2].abs()
    views, lights = torch.nn.functional.normalize(directions, dim=-1)
    normals = torch.tensor([0.0, 0.0, 1.0]).double().expand_as(views)
    n_dot_v, n_dot_l = views[:, 2:], lights[:, 2:]
    v_dot_h = (views * torch.nn.functional.normalize(views + lights, dim=-1)).sum(-1, keepdim=True)

    def specular(f0: float) -> torch.Tensor:
        alpha = torch.tensor([roughness**2]).double()
        return brdf.specular_brdf(normals, views, lights, alpha, torch.tensor([f0]).double())

    gloss = specular(1.0) * brdf.dielectric_fresnel(v_dot_h)
    diffuse = burley_lobe(roughness, n_dot_v, n_dot_l, v_dot_h)  # v.h is l.h
    for base_color in (0.0, 0.5):
        paint, metal = base_color * diffuse + gloss, specular(base_color)
        for metallic in (0.0, 0.5, 1.0):
            found = _principled(base_color, roughness, metallic, views, lights)
            expected = torch.lerp(paint, metal, metallic) * n_dot_l
            torch.testing.assert_close(expected[:, 0], found, rtol=2e-6, atol=1e-7)


def _principled(base_color: float, roughness: float, metallic: float, views, lights) -> torch.Tensor:
    """(P,) BSDF times the cosine to the light."""
    mitsuba = import_mitsuba("scalar_rgb")
    color = {"type": "rgb", "value": [base_color] * 3}
    surface = {"base_color": color, "roughness": roughness, "metallic": metallic, "specular": 0.5}
    bsdf = mitsuba.load_dict({"type": "principled", **surface})
    interaction = mitsuba.SurfaceInteraction3f()
    interaction.sh_frame = mitsuba.Frame3f([0, 0, 1])
    values = []
    for view, light in zip(views.tolist(), lights.tolist(), strict=True):
        interaction.wi = mitsuba.Vector3f(*view)
        values.append(bsdf.eval(mitsuba.BSDFContext(), interaction, mitsuba.Vector3f(*light))[0])
    return torch.tensor(values, dtype=torch.float64)
