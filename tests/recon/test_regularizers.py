import pytest
import torch

from recon import regularizers
from recon.material.channels import Channels


def linear_material(points, slopes):
    """Albedo, the logarithm of roughness, and metallic grow linearly along x."""
    x = points[:, :1]
    return Channels(
        albedo=(slopes["albedo"] * x).expand(-1, 3),
        normal=torch.zeros_like(points),
        roughness=0.1 * torch.exp(slopes["roughness"] * x) - 1e-3,
        metallic=slopes["metallic"] * x,
        occlusion=torch.ones_like(x),
    )


def slopes():
    values = {"albedo": 2.0, "roughness": 1.0, "metallic": 3.0}
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


def points(count=20000):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0))


def smoothness(p, s, **options):
    generator = torch.Generator().manual_seed(1)
    return regularizers.jittered_smoothness(
        lambda x, _: linear_material(x, s), p, linear_material(p, s), generator=generator, **options
    )


def test_expectation_of_a_linear_ramp():
    """E|slope * N(0, sigma)| = slope * sigma * sqrt(2 / pi); 5 % is three standard errors of 5000 samples."""
    result = smoothness(points(), slopes(), sigma=0.02, fraction=0.25)
    unit = 0.02 * (2 / torch.pi) ** 0.5
    assert result.albedo.item() == pytest.approx(2.0 * unit, rel=0.05)
    assert result.roughness.item() == pytest.approx(1.0 * unit, rel=0.05)
    assert result.metallic.item() == pytest.approx(3.0 * unit, rel=0.05)


def test_each_term_reaches_its_own_channels_only():
    s = slopes()
    result = smoothness(points(100), s)
    for name in s:
        term = getattr(result, name)
        gradients = torch.autograd.grad(term, list(s.values()), allow_unused=True, retain_graph=True)
        for other, gradient in zip(s, gradients):
            assert (gradient is not None and gradient > 0) if other == name else gradient is None


def test_rows_belong_to_the_jittered_points_and_coverage_scales():
    p, s, seen = points(200), slopes(), []

    def sample(x, rows):
        seen.append((x - p[rows]).abs().max().item())
        assert len(rows) == 50 and len(set(rows.tolist())) == 50
        return linear_material(x, s)

    def run(coverage):
        return regularizers.jittered_smoothness(
            sample,
            p,
            linear_material(p, s),
            sigma=1e-3,
            coverage=coverage,
            generator=torch.Generator().manual_seed(2),
        )

    whole, quarter = run(1.0), run(0.25)
    assert 0.0 < max(seen) < 1e-2
    torch.testing.assert_close(quarter.albedo, 0.25 * whole.albedo)
    torch.testing.assert_close(quarter.roughness, 0.25 * whole.roughness)
    torch.testing.assert_close(quarter.metallic, 0.25 * whole.metallic)


def test_no_covered_point_is_zero_and_differentiable():
    s = slopes()
    result = smoothness(points(0), s)
    total = result.albedo + result.roughness + result.metallic
    total.backward()
    assert total.item() == 0.0 and s["albedo"].grad.item() == 0.0


def test_grey_world_by_hand():
    # mean 2; deviations 1, 0, 1 and 0, 0, 0
    light = torch.tensor([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    value = regularizers.grey_world(light)
    assert value.item() == pytest.approx(2.0 / 6.0)
    value.backward()
    assert light.grad[0].abs().max() > 0.0


def test_ramp():
    assert [regularizers.ramp(step) for step in (0, 250, 500, 900)] == [0.0, 0.5, 1.0, 1.0]
    assert regularizers.ramp(0, length=0) == 1.0


def test_sdf_weight_falls_over_the_first_quarter():
    values = [regularizers.sdf_weight(step, 1000) for step in (0, 125, 250, 1000)]
    assert values == pytest.approx([0.2, 0.105, 0.01, 0.01])


def test_dark_metal_weighs_metal_by_its_darkness_and_leaves_the_albedo_alone():
    metallic = torch.tensor([[1.0], [0.5], [1.0]], requires_grad=True)
    albedo = torch.tensor([[0.0, 0.0, 0.0], [0.075, 0.075, 0.075], [0.2, 0.2, 0.2]], requires_grad=True)
    value = regularizers.dark_metal(metallic, albedo)
    assert value.item() == pytest.approx((1.0 + 0.5 * 0.5 + 0.0) / 3)
    value.backward()
    assert metallic.grad[:, 0].tolist() == pytest.approx([1 / 3, 0.5 / 3, 0.0]) and albedo.grad is None
