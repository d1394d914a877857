"""A learnt light against the true one."""

from __future__ import annotations

import numpy as np
import pytest

from recon.sweep.probe_error import probe_difference, probe_error
from usd_tools.align_hdri import align_probes
from usd_tools.demo.studio import studio_probe
from usd_tools.images import write_exr
from usd_tools.resampling import turn_latlong


def test_equal_probes_differ_by_nothing_and_doubled_ones_by_a_stop():
    probe = np.random.default_rng(0).uniform(10, 11, (16, 32, 3))
    assert probe_difference(probe, probe) == {"error": 0.0, "relative_l1": 0.0}
    doubled = probe_difference(2 * probe, probe)
    assert doubled["relative_l1"] == pytest.approx(1.0)
    assert doubled["error"] == pytest.approx(np.log2(2.05 / 1.05), abs=5e-3), "one stop, less the floor"


def test_poles_count_by_their_area():
    reference = np.ones((32, 64, 3))
    poles = reference.copy()
    poles[[0, -1]] = 2.0
    equator = reference.copy()
    equator[15:17] = 2.0
    assert probe_difference(poles, reference)["error"] < 0.1 * probe_difference(equator, reference)["error"]


def test_a_turned_and_tinted_probe_is_found_to_be_the_same(tmp_path):
    true = studio_probe(width=128)
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    learnt = (turn_latlong(true, turn) * [0.5, 0.6, 0.7]).astype(np.float32)
    write_exr(tmp_path / "true.exr", true, half=False)
    write_exr(tmp_path / "learnt.exr", learnt, half=False)
    alignment = align_probes(learnt, true, yaw_only=True).to_json()
    figures = probe_error(tmp_path / "learnt.exr", tmp_path / "true.exr", alignment)
    assert figures["error"] < 0.15, "turning a picture blurs its sharp lamps a little"
    assert figures["alignment"]["angle_degrees"] == pytest.approx(30, abs=1)
    assert probe_difference(learnt, true)["error"] > 3 * figures["error"]
