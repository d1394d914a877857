"""Probes turned, scaled, blurred and made noisy by known amounts, found again."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from usd_tools.align_hdri import align_probes, main
from usd_tools.demo.studio import studio_probe
from usd_tools.errors import UserError
from usd_tools.exr import read_exr, write_exr
from usd_tools.resampling import resize_box, turn_latlong
from usd_tools.rotations import rotation_angle, rotation_from_vector

ROOT = Path(__file__).resolve().parents[2]
SCALE = np.array([0.5, 1.2, 2.0])


def pair(seed, rotation, noise=0.2, rows=32):
    """A reference, and a probe that `rotation` and SCALE map onto it, blurred to `rows`, with noise."""
    reference = studio_probe(seed, 128)
    recovered = resize_box(turn_latlong(reference, rotation) / SCALE.astype(np.float32), 2 * rows, rows)
    return recovered * np.random.default_rng(seed).lognormal(0, noise, recovered.shape), reference


def degrees_off(alignment, rotation):
    return math.degrees(rotation_angle(alignment.rotation @ rotation.T))


@pytest.mark.parametrize(
    "seed, vector", [(0, (0.3, 2.9, 0.1)), (1, (-1.2, 0.4, 1.9)), (2, (0.02, 0.0, -0.05))]
)
def test_rotation_and_scale_are_found(seed, vector):
    rotation = rotation_from_vector(vector)
    alignment = align_probes(*pair(seed, rotation))
    assert degrees_off(alignment, rotation) < 0.5
    np.testing.assert_allclose(alignment.scale, SCALE, rtol=0.03)
    assert 0.9 < alignment.correlation < 0.99


def test_a_strong_blur_still_aligns():
    rotation = rotation_from_vector((1.0, -0.7, 0.2))
    alignment = align_probes(*pair(3, rotation, rows=16))
    assert degrees_off(alignment, rotation) < 1.0


def test_peaks_that_were_not_recovered_do_not_matter():
    """A sun thousands of times brighter than the room, which the recovered light misses altogether."""
    rotation = rotation_from_vector((0.5, 1.0, -0.5))
    recovered, reference = pair(4, rotation)
    reference = reference.copy()
    reference[30:33, 40:43] = 1e5
    alignment = align_probes(recovered, reference)
    assert degrees_off(alignment, rotation) < 0.5
    np.testing.assert_allclose(alignment.scale, SCALE, rtol=0.05)


def test_yaw_only():
    rotation = rotation_from_vector((0, -2.2, 0))
    alignment = align_probes(*pair(5, rotation), yaw_only=True)
    assert degrees_off(alignment, rotation) < 0.5
    np.testing.assert_allclose(alignment.rotation[1], [0, 1, 0], atol=1e-12)


def test_the_command_writes_json_and_the_aligned_probe(tmp_path):
    rotation = rotation_from_vector((0.4, 0.4, 0))
    recovered, reference = pair(6, rotation, noise=0.02, rows=64)
    write_exr(tmp_path / "recovered.exr", recovered, half=False)
    write_exr(tmp_path / "reference.exr", reference, half=False)
    names = ["recovered.exr", "reference.exr", "--out", "a.json", "--aligned", "aligned.exr"]
    command = [sys.executable, str(ROOT / "usd_tools" / "align_hdri.py"), *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "a.json").read_text())
    assert set(found) == {"rotation", "angle_degrees", "rotate_xyz_degrees", "scale", "correlation"}
    np.testing.assert_allclose(found["rotation"], rotation, atol=0.01)
    aligned = read_exr(tmp_path / "aligned.exr")[0]
    assert np.median(np.abs(aligned - reference) / reference) < 0.05


@pytest.mark.parametrize(
    "probe, options, message",
    [
        (np.ones((8, 16, 3)), (), "uniform"),
        (np.zeros((8, 16, 3)), (), "is black"),
        (np.full((8, 16, 3), np.nan), (), "NaN"),
        (np.ones((8, 8, 3)), (), "lat-long"),
        (np.ones((8, 16, 3)), ("--aligned", "a.png"), r"ends in \.exr"),
    ],
)
def test_bad_input(tmp_path, probe, options, message):
    write_exr(tmp_path / "probe.exr", probe, half=False)
    with pytest.raises(UserError, match=message):
        main([str(tmp_path / "probe.exr"), str(tmp_path / "probe.exr"), *options])


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"probe\.png.*high dynamic range"):
        main([str(tmp_path / "probe.png"), str(tmp_path / "probe.png")])
