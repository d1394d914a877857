import math

import pytest
import torch

from recon.light.fg_table import fg_table, lookup_fg
from recon.render.brdf import specular_brdf
from tests.recon.light.reference_light import burley_lobe, hemisphere, lobe_weights


@pytest.mark.parametrize("roughness", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("n_dot_v", [1.0, 0.7, 0.3])
@pytest.mark.parametrize("f0", [0.3, 1.0, None])
def test_table_equals_the_brute_force_hemisphere_integral(roughness, n_dot_v, f0):
    """f0: of a metal; None is paint."""
    directions, solid_angles = hemisphere(600, 600)
    view = torch.tensor([math.sqrt(1 - n_dot_v**2), 0.0, n_dot_v], dtype=torch.float64).expand_as(directions)
    normal = torch.tensor([0.0, 0, 1], dtype=torch.float64).expand_as(directions)
    reflectance = torch.full((1,), 1.0 if f0 is None else f0, dtype=torch.float64)
    brdf = specular_brdf(normal, view, directions, torch.tensor([roughness**2]).double(), reflectance)[:, 0]
    if f0 is None:  # what reflects everything, times what paint reflects of it
        half = torch.nn.functional.normalize(directions + view, dim=-1)
        brdf = brdf * refracting((view * half).sum(-1))
    expected = (brdf * directions[:, 2] * solid_angles).sum().item()
    found = lookup_fg(fg_table(), torch.tensor([[n_dot_v]]), torch.tensor([[roughness]]))[0]
    scale, bias, dielectric = found[:3].tolist()
    assert (dielectric if f0 is None else f0 * scale + bias) == pytest.approx(expected, rel=0.01, abs=1e-3)


def refracting(cosine: torch.Tensor) -> torch.Tensor:
    """Fresnel's equations from the angles: sin(i) = 1.5 sin(t)."""
    incoming = torch.acos(cosine.clamp(-1, 1))
    refracted = torch.asin(torch.sin(incoming) / 1.5)
    across = torch.sin(incoming - refracted) / torch.sin(incoming + refracted)
    along = torch.tan(incoming - refracted) / torch.tan(incoming + refracted)
    return torch.where(incoming < 1e-4, 0.04, 0.5 * (across**2 + along**2))


def test_a_mirror_reflects_by_fresnel_alone():
    table = fg_table()
    n_dot_v = torch.linspace(0.05, 1, 20)[:, None]
    scale, bias, dielectric, _, lean, _ = lookup_fg(table, n_dot_v, torch.zeros(20, 1)).split(1, dim=-1)
    torch.testing.assert_close(lean, torch.ones(20, 1), atol=1e-3, rtol=0)
    torch.testing.assert_close(bias, (1 - n_dot_v) ** 5, atol=2e-3, rtol=0)
    torch.testing.assert_close(dielectric, refracting(n_dot_v), atol=2e-3, rtol=0)
    torch.testing.assert_close(scale + bias, torch.ones(20, 1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("roughness", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("n_dot_v", [0.85, 0.5, 0.2])
def test_no_other_prefiltered_lobe_is_nearer_to_what_is_reflected(roughness, n_dot_v):
    directions, solid_angles = hemisphere(800, 800)
    view = torch.tensor([math.sqrt(1 - n_dot_v**2), 0.0, n_dot_v], dtype=torch.float64)
    normal = torch.tensor([0.0, 0, 1], dtype=torch.float64)
    white, alpha = torch.ones(1, dtype=torch.float64), torch.tensor([roughness**2]).double()
    brdf = specular_brdf(normal.expand_as(directions), view.expand_as(directions), directions, alpha, white)
    true = brdf[:, 0] * directions[:, 2]
    true = true / (true * solid_angles).sum()

    def difference(lean: float, width: float) -> float:
        axis = torch.nn.functional.normalize(torch.lerp(normal, 2 * n_dot_v * normal - view, lean), dim=0)
        both = lobe_weights(torch.stack([axis, normal]), directions, min(roughness * width**0.25, 1.0))
        lobe, whole = both / (both[1] @ solid_angles)  # what lies below the horizon is prefiltered, too
        below = ((whole**2 - lobe**2) * solid_angles).sum()
        return float(((lobe - true) ** 2 * solid_angles).sum() + below)

    found = lookup_fg(fg_table(), torch.tensor([[n_dot_v]]), torch.tensor([[roughness]]))[0]
    lean, width = found[4:].double()
    least = difference(lean, float(width))
    for other in (0.0, 0.5, 0.9, 1.0):
        assert least <= 1.03 * difference(torch.tensor(other).double(), float(width))
    for factor in (0.5, 0.7, 1.4, 2.0):
        assert least <= 1.03 * difference(lean, factor * float(width))


def test_a_glossy_lobe_seen_from_aside_is_narrower():
    n_dot_v = torch.tensor([[1.0], [0.7], [0.5], [0.4]])
    width = lookup_fg(fg_table(), n_dot_v, torch.full((4, 1), 0.1))[:, 5:]
    torch.testing.assert_close(width, n_dot_v, atol=0.05, rtol=0)


def test_no_energy_is_made():
    table = fg_table()
    assert table[..., :2].sum(-1).max() <= 1 + 1e-5
    assert table.min() >= 0


@pytest.mark.parametrize("roughness", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("n_dot_v", [1.0, 0.6, 0.2])
def test_diffuse_albedo_equals_the_hemisphere_integral_of_burleys_lobe(roughness, n_dot_v):
    light, solid_angles = hemisphere(400, 400)
    view = torch.tensor([math.sqrt(1 - n_dot_v**2), 0.0, n_dot_v], dtype=torch.float64)
    half = torch.nn.functional.normalize(light + view, dim=-1)
    lobe = burley_lobe(roughness, n_dot_v, light[:, 2], (light * half).sum(-1))
    expected = (lobe * light[:, 2] * solid_angles).sum().item()
    found = lookup_fg(fg_table(), torch.tensor([[n_dot_v]]), torch.tensor([[roughness]]))[0, 3].item()
    assert found == pytest.approx(expected, abs=3e-3)


def test_lookup_gradients():
    table = fg_table().double()
    generator = torch.Generator().manual_seed(0)
    # Away from the table's knots, where the bilinear function has kinks.
    knot = torch.randint(0, 62, (20, 2), generator=generator)
    inside = (knot + 0.2 + 0.6 * torch.rand(20, 2, generator=generator)) / 63
    coordinates = [x[:, None].double().requires_grad_() for x in inside.T]
    assert torch.autograd.gradcheck(lambda a, b: lookup_fg(table, a, b), coordinates, eps=1e-5)
    gradients = torch.autograd.grad(lookup_fg(table, *coordinates).sum(), coordinates)
    assert all(g.abs().max() > 1e-3 for g in gradients)


def test_coordinates_outside_are_clamped():
    table = fg_table()
    found = lookup_fg(table, torch.tensor([[2.0], [-1.0]]), torch.tensor([[-1.0], [2.0]]))
    torch.testing.assert_close(found, torch.stack([table[-1, 0], table[0, -1]]))
