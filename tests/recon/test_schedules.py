from itertools import pairwise

import pytest

from recon import schedules
from usd_tools.errors import UserError


@pytest.mark.parametrize(
    ("name", "total", "expected"),
    [
        # 1 -> 0.68 until 500, then n = step - 500
        ("coarse_a", 1000, {0: 1.0, 250: 0.84, 500: 0.68, 1000: 0.68 * 10**-0.05}),
        ("coarse_b", 1000, {0: 0.0, 250: 0.5, 500: 1.0, 750: 10**-0.05, 1000: 10**-0.1}),
        ("coarse_geometry", 1000, {0: 1.0, 500: 10**-0.1, 1000: 10**-0.2}),
        ("coarse_joint", 1000, {0: 1.0, 500: 10**-0.1, 1000: 10**-0.2}),
        # warm-up over 100, then n = step - 100
        ("fine_a", 1000, {0: 0.0, 50: 0.5, 100: 1.0, 600: 10**-0.1, 1000: 10**-0.18}),
        # 0.01 -> 1 until 200, hold until 400, then 1 -> 0.1 at 1000
        ("fine_b", 1000, {0: 0.01, 100: 0.505, 200: 1.0, 300: 1.0, 400: 1.0, 700: 0.55, 1000: 0.1}),
        ("fine_geometry", 1000, {0: 0.0, 50: 0.5, 100: 1.0, 600: 10**-0.1}),
        ("fine_joint", 1000, {0: 0.0, 50: 0.5, 100: 1.0, 600: 10**-0.1}),
    ],
)
def test_values_by_hand(name, total, expected):
    for step, value in expected.items():
        assert schedules.schedule(name)(step, total) == pytest.approx(value, abs=1e-12), step


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 3, 7, 401, 5000])
def test_multipliers_stay_between_zero_and_one_without_jumps(name, total):
    values = [schedules.schedule(name)(step, total) for step in range(total + 1)]
    assert all(0.0 <= value <= 1.0 for value in values)
    if total > 400:
        assert max(abs(a - b) for a, b in pairwise(values)) <= 0.02 + 1e-9


def test_every_stage_and_group_has_a_schedule():
    groups = ("a", "b", "geometry", "joint")
    named = {f"{stage}_{group}" for stage in ("coarse", "fine") for group in groups}
    assert set(schedules.SCHEDULES) == named | {"fine_field"}


def test_annealed_falls_exponentially_from_the_middle():
    fall = schedules.annealed(lambda step, total: 0.5, 0.01)
    assert [fall(step, 100) for step in (0, 50, 75, 100)] == pytest.approx([0.5, 0.5, 0.05, 0.005])
    assert schedules.annealed(schedules.fine_a, 1.0)(700, 1000) == schedules.fine_a(700, 1000)


def test_branch_b_may_rise_over_another_share():
    assert [schedules.coarse_b(step, 100, 0.2) for step in (0, 10, 20)] == pytest.approx([0.0, 0.5, 1.0])
    assert schedules.coarse_b(0, 100, 0.0) == 1.0


def test_unknown_name_is_refused():
    with pytest.raises(UserError, match="coarse_a"):
        schedules.schedule("coarse_c")
