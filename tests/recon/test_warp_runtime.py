from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


@wp.kernel(enable_backward=False)
def _sum_rows(
    start: int,
    points: wp.array[wp.vec3],
    table: wp.array2d[float],
    scale: float,
    sums: wp.array[float],
) -> None:
    i = start + wp.tid()
    total = points[i][0] + 10.0 * points[i][1] + 100.0 * points[i][2]
    for column in range(table.shape[1]):
        total += 1000.0 * table[i, column]
    sums[i] = scale * total


def _expected_sums(points: torch.Tensor, table: torch.Tensor, scale: float) -> torch.Tensor:
    return scale * (points @ torch.tensor([1.0, 10.0, 100.0]) + 1000.0 * table.sum(dim=1))


def test_replayed_launches_see_other_sizes_values_and_threads() -> None:
    """A launch is recorded once: addresses, shapes and numbers must all be those of the call."""

    def check(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for count, columns, scale in ((5, 2, 1.0), (7, 3, 2.0), (5, 3, 2.0), (1, 1, 0.5), (6000, 4, 1.0)):
            points = torch.rand(count, 3, generator=generator)
            table = torch.rand(count, columns, generator=generator)
            sums = torch.full((count,), torch.nan)
            warp_runtime.launch(_sum_rows, count, (points, table, scale, sums), "cpu")
            torch.testing.assert_close(sums, _expected_sums(points, table, scale), rtol=1e-5, atol=1e-3)

    check(0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(8)))


def test_strided_tensors_are_read_as_they_lie() -> None:
    packed = torch.rand(9, 8, generator=torch.Generator().manual_seed(0))
    points, table, sums = packed[::2, 1:4], packed[::2, 5:7], torch.zeros(9, 2)
    warp_runtime.launch(_sum_rows, 5, (points, table, 1.0, sums[::2, 1]), "cpu")
    torch.testing.assert_close(sums[::2, 1], _expected_sums(points, table, 1.0), rtol=1e-5, atol=1e-3)
    assert (sums[:, 0] == 0).all() and (sums[1::2] == 0).all()


@pytest.mark.parametrize(
    ("points", "table"),
    [
        (torch.zeros(3, 4), torch.zeros(3, 2)),
        (torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, 2)),
        (torch.zeros(3, 4).T[:, :3].contiguous().T, torch.zeros(3, 2)),
        (torch.zeros(3, 3), torch.zeros(3)),
    ],
)
def test_tensors_that_do_not_fit_are_refused(points: torch.Tensor, table: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"_sum_rows: (points|table): expected"):
        warp_runtime.launch(_sum_rows, 3, (points, table, 1.0, torch.zeros(3)), "cpu")
    with pytest.raises(ValueError):
        warp_runtime.launch(_sum_rows, 3, (torch.zeros(3, 3),), "cpu")


@pytest.mark.parametrize("groups", [1, 5, 16])
def test_indices_that_belong_together_stay_on_one_thread(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices = []
    monkeypatch.setattr(
        warp_runtime, "launch_command", lambda kernel, first, count, *rest: slices.append((first, count))
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    values, total = torch.zeros(groups * 3001), torch.zeros(1)
    warp_runtime.launch(_add_index, len(values), [values, total], "cpu", together=3001)
    assert len(slices) == min(4, groups)
    assert all(first % 3001 == 0 and count % 3001 == 0 for first, count in slices)
    assert sum(count for _, count in slices) == len(values)


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


LOOKUP = """
from recon.light.cubemap import add_border, lookup
lookup((add_border(torch.rand(6, 4, 4, 3)),), torch.randn(100000, 3))
"""
ENCODING = """
from recon.material.hash_grid import HashGrid
grid = HashGrid(4, 2, 10, base=4, finest=60)
grid(torch.rand(100000, 3)).sum().backward()
"""


@pytest.mark.parametrize("work", [LOOKUP, ENCODING])
def test_kernels_are_linked_before_other_threads_look_them_up(work: str) -> None:
    """Warp links a CPU kernel at its first lookup; two at once crashed the process, in four of ten starts."""
    code = f"""
import sys, torch
sys.path.insert(0, {str(REPOSITORY)!r})
torch.set_num_threads(2)
from recon import warp_runtime
import recon.light.cubemap
lookups = []
executable = type(warp_runtime.wp.get_module("recon.light.cubemap").load(warp_runtime.wp.get_device("cpu")))
original = executable.get_kernel_hooks
def watched(self, kernel):
    import threading
    if self.kernel_hooks.get(self.get_kernel_mangled_name(kernel)) is None:
        lookups.append(threading.current_thread() is threading.main_thread())
    return original(self, kernel)
executable.get_kernel_hooks = watched
{work}
assert lookups and all(lookups), lookups
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
