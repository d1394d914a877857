"""Finds the rotation and the scale per channel that best map a recovered light probe onto a given one.

    python usd_tools/align_hdri.py runs/learnt/mesh/probe.exr studio.exr --out alignment.json

Both are lat-long pictures (EXR or HDR). Use it to compare a learnt light with the one on set, whose
heading and exposure nobody wrote down: light and base color can trade brightness, channel by channel.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file from a clone
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import numpy.typing as npt

from usd_tools.console import setup_logging
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_file
from usd_tools.matrices import Matrix, nearest_rotation
from usd_tools.resampling import resize_box, sample_latlong, turn_latlong
from usd_tools.rotations import (
    fibonacci_directions,
    rotate_xyz_degrees,
    rotation_angle,
    rotation_from_vector,
    rotation_grid,
)

Pixels = npt.NDArray[np.floating]

_COARSE_SPACING = math.radians(14)
_CANDIDATES = 12
"""How many of the coarse grid's best are refined: rooms with several lamps have several near fits."""

_LEVELS = ((16, 600), (32, 1500), (128, 8000))
"""Rows of the probes and directions compared: for the coarse search, the candidates, the winner."""

_FLOOR = 0.05
"""Of a probe's median radiance: differences far below it, in the dark, do not count."""


@dataclass(frozen=True)
class Alignment:
    """scale * recovered(rotation^T d) is the closest to reference(d).

    rotation: (3, 3), dataset frame. scale: red, green, blue. correlation: of log radiance after aligning, 1
        where they agree but for noise.
    """

    rotation: Matrix
    scale: tuple[float, float, float]
    correlation: float

    def apply(self, recovered: Pixels) -> Pixels:
        """The recovered lat-long probe (H, W, 3), turned and scaled onto the reference."""
        scale = np.array(self.scale, recovered.dtype)
        return turn_latlong(recovered, self.rotation.T) * scale

    def to_json(self) -> dict[str, Any]:
        return {
            "rotation": self.rotation.tolist(),
            "angle_degrees": math.degrees(rotation_angle(self.rotation)),
            "rotate_xyz_degrees": list(rotate_xyz_degrees(self.rotation)),
            "scale": list(self.scale),
            "correlation": self.correlation,
        }


def align_probes(recovered: Pixels, reference: Pixels, yaw_only: bool = False) -> Alignment:
    """The rotation and scale that best map `recovered` (H, W, 3) onto `reference`, both lat-long and linear.

    Compared is the log of radiance, each channel less its mean: that ignores the scale, and a sun counts by
    how many stops it is brighter, not by how many times. A grid over all rotations comes first, then
    Gauss-Newton steps on finer pictures. yaw_only: rotations around +Y, for probes that share their up axis.

    Raises:
        UserError: a probe is uniform, so that every rotation fits.
    """
    rows, count = _LEVELS[0]
    coarse = _Match(recovered, reference, rows, count)
    if yaw_only:
        turns = np.arange(0, 2 * math.pi, math.radians(3))
        grid = np.array([rotation_from_vector((0, turn, 0)) for turn in turns])
    else:
        grid = rotation_grid(_COARSE_SPACING)
    order = np.argsort([coarse.error(rotation) for rotation in grid])
    axes = np.eye(3)[1:2] if yaw_only else np.eye(3)
    middle = _Match(recovered, reference, *_LEVELS[1])
    candidates = [_refine(middle, grid[index], axes) for index in order[:_CANDIDATES]]
    finest = _Match(recovered, reference, *_LEVELS[2])
    rotation = _refine(finest, min(candidates, key=middle.error), axes)
    red, green, blue = finest.scale(rotation)
    return Alignment(rotation, (red, green, blue), finest.correlation(rotation))


class _Match:
    """Two probes at one resolution, compared in directions spread evenly over the sphere."""

    def __init__(self, recovered: Pixels, reference: Pixels, rows: int, directions: int) -> None:
        self._directions = fibonacci_directions(directions)
        self._recovered = _log_radiance(recovered, rows)
        target = sample_latlong(_log_radiance(reference, rows), self._directions)
        self._target = target
        if min(np.ptp(self._recovered), np.ptp(target)) < 1e-6:
            raise UserError("a probe is uniform: every rotation fits it; there is nothing to align")

    def _turned(self, rotation: Matrix) -> Pixels:
        return sample_latlong(self._recovered, self._directions @ rotation)  # R^T d, as rows

    def residuals(self, rotation: Matrix) -> Pixels:
        """(N, 3) differences of log radiance, their mean per channel taken out."""
        difference = self._turned(rotation) - self._target
        return difference - difference.mean(axis=0)

    def error(self, rotation: Matrix) -> float:
        return float(np.abs(self.residuals(rotation)).mean())

    def scale(self, rotation: Matrix) -> Pixels:
        """The median ratio per channel."""
        return np.exp(np.median(self._target - self._turned(rotation), axis=0))

    def correlation(self, rotation: Matrix) -> float:
        pair = np.stack([self._turned(rotation), self._target])
        a, b = pair - pair.mean(axis=1, keepdims=True)
        return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def _log_radiance(probe: Pixels, rows: int) -> Pixels:
    """(rows, 2 rows, 3) log of radiance above a floor, of a probe (H, W, 3)."""
    probe = np.maximum(np.asarray(probe, np.float64), 0)
    median, mean = np.median(probe, axis=(0, 1)), probe.mean(axis=(0, 1))
    floor = np.where(median > 0, _FLOOR * median, 1e-3 * mean + 1e-12)  # lamps in black have no median
    if probe.shape[0] > rows:
        probe = resize_box(probe, 2 * rows, rows)
    return np.log(probe + floor)


def _refine(match: _Match, rotation: Matrix, axes: Matrix, steps: int = 12) -> Matrix:
    """Gauss-Newton on the rotation around `axes` (K, 3), with Huber's weights, while it improves."""
    delta = math.radians(0.5)  # for central differences: a third of a pixel's size at 128 rows
    error = match.error(rotation)
    for _ in range(steps):
        residual = match.residuals(rotation).ravel()
        columns = []
        for axis in axes:
            ahead, behind = (rotation_from_vector(sign * delta * axis) @ rotation for sign in (1, -1))
            columns.append((match.residuals(ahead) - match.residuals(behind)).ravel() / (2 * delta))
        jacobian = np.stack(columns, axis=1)
        spread = 1.5 * np.median(np.abs(residual)) + 1e-9
        weight = spread / np.maximum(np.abs(residual), spread)
        normal = jacobian.T @ (weight[:, None] * jacobian) + 1e-9 * np.eye(len(axes))
        step = -np.linalg.solve(normal, jacobian.T @ (weight * residual)) @ axes
        for _ in range(6):
            trial = nearest_rotation(rotation_from_vector(step) @ rotation)
            trial_error = match.error(trial)
            if trial_error < error:
                break
            step = step / 2
        else:
            return rotation
        rotation, error = trial, trial_error
        if np.linalg.norm(step) < math.radians(0.005):
            return rotation
    return rotation


def read_probe(path: Path) -> Pixels:
    """(H, W, 3) linear Rec.709 of a lat-long EXR or HDR.

    Raises:
        UserError: it cannot be read, is of another shape, or holds NaN, infinite or no light.
    """
    from usd_tools.probe import bake_probe
    from usd_tools.probe_job import DomeJob, ProbeJob

    if path.suffix.lower() not in (".exr", ".hdr"):
        raise UserError(f"{path}: expected a light probe in high dynamic range (.exr or .hdr)")
    probe = bake_probe(ProbeJob((DomeJob(str(path), (1.0, 1.0, 1.0), np.eye(3)),)))
    if not probe.any():
        raise UserError(f"{path}: is black; expected a light probe")
    return probe


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="align_hdri.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recovered", metavar="RECOVERED.exr", type=Path, help="probe of a run")
    parser.add_argument("reference", metavar="REFERENCE.exr", type=Path, help="probe to compare it with")
    parser.add_argument("--out", metavar="FILE", type=Path, help="JSON to write (default: print it)")
    parser.add_argument("--aligned", metavar="FILE.exr", type=Path, help="also write the aligned probe")
    parser.add_argument("--yaw-only", action="store_true", help="turn around the up axis only")
    options = parser.parse_args(arguments)
    setup_logging()
    if options.aligned is not None and options.aligned.suffix.lower() != ".exr":
        raise UserError(f"--aligned {options.aligned}: expected a name that ends in .exr")
    recovered = read_probe(options.recovered)
    alignment = align_probes(recovered, read_probe(options.reference), options.yaw_only)
    if options.aligned is not None:
        from usd_tools.exr import write_exr

        write_exr(options.aligned, alignment.apply(recovered), half=False)
    text = json.dumps(alignment.to_json(), indent=2) + "\n"
    if options.out is None:
        sys.stdout.write(text)
        return
    with atomic_file(options.out) as file:
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
