import pytest
import torch

from recon.material.mlp import Mlp


def test_shape_and_no_biases():
    mlp = Mlp(8, 5, width=32, depth=2, generator=torch.Generator().manual_seed(0))
    assert [tuple(p.shape) for p in mlp.parameters()] == [(32, 8), (32, 32), (5, 32)]
    assert torch.equal(mlp(torch.zeros(3, 8)), torch.zeros(3, 5))


def test_value_by_hand():
    mlp = Mlp(2, 1, width=2, depth=1)
    with torch.no_grad():
        mlp.layers[0].weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 0.0]]))
        mlp.layers[1].weight.copy_(torch.tensor([[3.0, 5.0]]))
    # hidden: leaky (1 - 4) * 0.01 and 2; output 3 * -0.03 + 5 * 2
    assert mlp(torch.tensor([[1.0, 4.0]])).item() == pytest.approx(9.91)


def test_he_start_keeps_the_scale_of_activations():
    mlp = Mlp(512, 512, width=512, depth=4, generator=torch.Generator().manual_seed(0))
    x = torch.randn(256, 512, generator=torch.Generator().manual_seed(1))
    # The last layer is linear, so its He gain of 2 doubles the variance once.
    assert 1.5 < mlp(x).var() < 2.6
