"""Marks of the tests that need a GPU, and what its packages bring."""

from __future__ import annotations

import pytest
import torch
import warp as wp
from torch import Tensor

from recon.backend import obstacle

CUDA = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cuda")


def _needs(package: str) -> pytest.MarkDecorator:
    reason = obstacle(package, CUDA) if torch.cuda.is_available() else "needs a CUDA device"
    return pytest.mark.skipif(reason is not None, reason=str(reason))


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
needs_cpu_kernels = pytest.mark.skipif(
    not wp.is_cpu_available(), reason="this build of Warp compiles nothing for the CPU"
)
needs_nvdiffrast = _needs("nvdiffrast")
needs_tinycudann = _needs("tinycudann")
needs_two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


def assert_aligned(name: str, found: Tensor, expected: Tensor, cosine: float, ratio: float) -> None:
    """Two gradients point the same way (cosine at least `cosine`) and are as long (within `ratio`)."""
    found, expected = found.detach().double().flatten(), expected.detach().double().flatten()
    lengths = float(found.norm()), float(expected.norm())
    assert min(lengths) > 0, f"{name}: a gradient is zero: lengths {lengths}"
    measured = float(found @ expected) / (lengths[0] * lengths[1])
    assert measured >= cosine, f"{name}: cosine {measured:.6f}, expected {cosine} or more"
    assert abs(lengths[0] / lengths[1] - 1) <= ratio, f"{name}: lengths {lengths}, expected within {ratio}"
