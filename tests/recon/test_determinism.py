"""Accumulating gradients gives the same bits every time."""

from __future__ import annotations

import torch

from recon.determinism import deterministic_on_cpu


def gradient(values: torch.Tensor, index: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
    leaf = values.clone().requires_grad_()
    leaf[index].backward(upstream)
    return leaf.grad


def test_indexed_gradients_repeat_with_several_threads():
    generator = torch.Generator().manual_seed(0)
    values = torch.zeros(50, 3)
    index = torch.randint(50, (200_000,), generator=generator)
    upstream = torch.randn(200_000, 3, generator=generator)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with deterministic_on_cpu(torch.device("cpu")):
            found = [gradient(values, index, upstream) for _ in range(8)]
            assert torch.are_deterministic_algorithms_enabled()
        free = [gradient(values, index, upstream) for _ in range(8)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found[1:])
    # What it is for: without it, the same sum comes out differently (close, but not to the bit).
    torch.testing.assert_close(free[0], found[0], rtol=1e-4, atol=1e-2)
    assert not torch.are_deterministic_algorithms_enabled()


def test_cuda_is_left_alone():
    with deterministic_on_cpu(torch.device("cuda")):
        assert not torch.are_deterministic_algorithms_enabled()
