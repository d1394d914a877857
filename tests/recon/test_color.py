import torch

from recon.color import linear_to_srgb, srgb_to_linear


def test_known_values():
    linear = torch.tensor([0.0, 0.001, 0.18, 0.5, 1.0], dtype=torch.float64)
    coded = torch.tensor([0.0, 0.01292, 0.461356, 0.735357, 1.0], dtype=torch.float64)
    torch.testing.assert_close(linear_to_srgb(linear), coded, atol=1e-6, rtol=0)


def test_round_trip_continues_outside_the_unit_interval():
    # 1e-7 at the knee: the standard's two constants are rounded, so the curve has a step of that size.
    linear = torch.linspace(-0.5, 20.0, 2000, dtype=torch.float64)
    torch.testing.assert_close(srgb_to_linear(linear_to_srgb(linear)), linear, atol=1e-6, rtol=1e-6)


def test_gradients_are_finite_and_not_zero_at_zero():
    for curve, slope in ((linear_to_srgb, 12.92), (srgb_to_linear, 1 / 12.92)):
        zero = torch.zeros(3, requires_grad=True)
        curve(zero).sum().backward()
        torch.testing.assert_close(zero.grad, torch.full((3,), slope))
