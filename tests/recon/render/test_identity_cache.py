from __future__ import annotations

import torch
from torch import Tensor

from recon.render.identity_cache import IdentityCache


def test_derives_once_per_unchanged_tensor() -> None:
    seen: list[Tensor] = []
    cache: IdentityCache[int] = IdentityCache(lambda tensor: seen.append(tensor) or len(seen))
    first, second = torch.zeros(3), torch.zeros(3)
    assert [cache.get(first), cache.get(first)] == [1, 1]
    assert cache.holds(first) and not cache.holds(second)
    assert [cache.get(second), cache.get(second)] == [2, 2]
    second += 1
    assert not cache.holds(second) and cache.get(second) == 3


def test_a_new_tensor_at_a_dead_ones_address_is_not_mistaken_for_it() -> None:
    cache: IdentityCache[float] = IdentityCache(lambda tensor: float(tensor.sum()))
    for value in range(5):
        tensor = torch.full((1000,), float(value))
        assert cache.get(tensor) == 1000.0 * value
        del tensor


def test_inference_tensors_are_derived_anew() -> None:
    # They keep no version, so a change would go unseen.
    cache: IdentityCache[float] = IdentityCache(lambda tensor: float(tensor.sum()))
    with torch.inference_mode():
        tensor = torch.ones(2)
        assert cache.get(tensor) == 2.0
        tensor += 1
        assert cache.get(tensor) == 4.0
