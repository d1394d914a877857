from __future__ import annotations

from pathlib import Path

import pytest
import torch
import warp as wp

from recon import warp_runtime

REPOSITORY = Path(__file__).resolve().parents[2]


@wp.kernel(enable_backward=False)
def _add_index(start: int, values: wp.array[float], total: wp.array[float]) -> None:
    i = start + wp.tid()
    values[i] = values[i] + float(i)
    wp.atomic_add(total, 0, 1.0)


@pytest.mark.parametrize("parallel", [True, False])
def test_launch_visits_every_index_once(parallel: bool) -> None:
    values, total = torch.zeros(10007), torch.zeros(1)
    warp_runtime.launch(_add_index, 10007, (values, total), "cpu", parallel=parallel)
    assert torch.equal(values, torch.arange(10007.0))
    if not parallel:
        assert total.item() == 10007


def test_launching_over_nothing_is_allowed() -> None:
    warp_runtime.launch(_add_index, 0, (torch.zeros(0), torch.zeros(1)), "cpu")


def test_all_kernel_modules_are_listed() -> None:
    with_kernels = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in (REPOSITORY / "recon").rglob("*.py")
        if "\n@wp.kernel" in path.read_text(encoding="utf-8")
    }
    assert with_kernels == set(warp_runtime.KERNEL_MODULES)


def test_compiling_ahead_leaves_nothing_to_compile() -> None:
    warp_runtime.compile_kernels("cpu", [_add_index])
    for name in warp_runtime.KERNEL_MODULES:
        assert wp.get_module(name).kernels, f"{name} registers no kernel with Warp"
    assert warp_runtime.compile_kernels("cpu", [_add_index]) < 0.5
