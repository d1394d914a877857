"""Trains, and follows how far normals and material are from the truth: do exact normals or exact gloss lead?

    python scripts/error_history.py DATASET --out DIR [--every 25] [--config FILE] [--set KEY=VALUE ...]

Writes the run to DIR/run, as `python -m recon.train` does, DIR/history.csv with a row of errors every so many
iterations, and DIR/history.svg: the roughness error against the normal error over the run. Errors are those
of compare_textures.py, taken from the networks before they are baked, at fewer points.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import normalize

from recon.backend import DEVICES, choose_device
from recon.checkpoints import Checkpoints
from recon.config import load_config, with_values
from recon.determinism import deterministic_on_cpu
from recon.render.shade import world_normal
from recon.run_folder import RunFolder
from recon.run_log import logging_to
from recon.stages.coarse_scene import CoarseScene
from recon.train import Training
from recon.workers import Workers
from usd_tools.comparison.asset import Material
from usd_tools.comparison.compare import TrueSurface
from usd_tools.comparison.matching import match
from usd_tools.comparison.metrics import material_metrics
from usd_tools.comparison.sides import load_truth
from usd_tools.comparison.surface import Surface
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_file

FIGURES = ("normal_deg", "roughness_mae", "metallic_mae", "albedo_mae", "dark_misclassified", "coverage")
_SAMPLES = 20_000


@dataclass(frozen=True)
class Row:
    """stage, and how many of its iterations are done; errors by `FIGURES`, None where there is none."""

    stage: str
    iteration: int
    errors: dict[str, float | None]


class ErrorHistory:
    """Measures a run's scene against `truth` after every `every` iterations; see `Training`'s `watch`."""

    def __init__(self, truth: TrueSurface, every: int) -> None:
        self.rows: list[Row] = []
        self._truth = truth
        self._every = every

    def __call__(self, stage: str, scene: nn.Module, iteration: int) -> None:
        if iteration % self._every == 0:
            self.rows.append(Row(stage, iteration, measure(scene, self._truth)))


@torch.no_grad()
def measure(scene: nn.Module, truth: TrueSurface) -> dict[str, float | None]:
    """Errors of a `CoarseScene`, or of a `FineScene` whose material is a field, by the names of `FIGURES`."""
    mesh = scene.mesh()
    field = scene.field if isinstance(scene, CoarseScene) else scene.material
    surface = Surface(mesh.vertices.cpu().numpy(), mesh.faces.cpu().numpy())
    own = truth.asset.surface
    matches = match(surface, own.positions(truth.points), own.normals[truth.points.face], own.half_extent)
    found = matches.found
    points = matches[found]

    device = mesh.vertices.device
    positions = torch.from_numpy(surface.positions(points)).float().to(device)
    smooth = points.interpolate(mesh.normals.cpu().numpy(), mesh.normal_faces.cpu().numpy())
    channels = field.sample(positions)
    normal = world_normal(
        normalize(torch.from_numpy(smooth).float().to(device), dim=-1), channels.normal, tangent=None
    )
    recovered = Material(
        channels.albedo.cpu().double().numpy(),
        channels.roughness[:, 0].cpu().double().numpy(),
        channels.metallic[:, 0].cpu().double().numpy(),
        normal.cpu().double().numpy(),
    )
    figures = material_metrics(recovered, truth.material[found]) | {"coverage": float(found.mean())}
    return {name: figures[name] for name in FIGURES}


def as_csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["stage", "iteration", *FIGURES])
    for row in rows:
        errors = (row.errors[name] for name in FIGURES)
        writer.writerow(
            [row.stage, row.iteration, *("" if error is None else f"{error:.6g}" for error in errors)]
        )
    return text.getvalue()


_WIDTH, _HEIGHT = 760, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 20, 60
_COLORS = {"coarse": "#3a76c4", "fine": "#d1582b"}
_BETWEEN_LABELS = 28  # pixels


def as_svg(rows: list[Row], title: str) -> str:
    """The path that a run takes through normal error (across) and roughness error (up)."""
    shown = [row for row in rows if row.errors["normal_deg"] is not None]
    across = _round_up(max((row.errors["normal_deg"] or 0.0 for row in shown), default=1.0))
    up = _round_up(max((row.errors["roughness_mae"] or 0.0 for row in shown), default=1.0))

    def place(row: Row) -> tuple[float, float]:
        x = (row.errors["normal_deg"] or 0.0) / across
        y = (row.errors["roughness_mae"] or 0.0) / up
        return _LEFT + x * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - y * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_axes(across, up, title)]
    labels: list[tuple[float, float]] = []
    for number, (stage, color) in enumerate(_COLORS.items()):
        path = [row for row in shown if row.stage == stage]
        if not path:
            continue
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, path))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in map(place, path)]
        for row in (path[0], path[-1], *path):  # the ends are told first
            x, y = place(row)
            if all(math.dist((x, y), label) > _BETWEEN_LABELS for label in labels):
                labels.append((x, y))
                parts.append(f'<text x="{x + 5:.1f}" y="{y - 5:.1f}" fill="{color}">{row.iteration}</text>')
        left, top = _LEFT + 16 + 90 * number, _TOP + 14
        parts.append(f'<circle cx="{left}" cy="{top - 4}" r="4" fill="{color}"/>')
        parts.append(f'<text x="{left + 8}" y="{top}">{stage}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _axes(across: float, up: float, title: str) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for step in range(6):
        x, y = _LEFT + step / 5 * (right - _LEFT), bottom - step / 5 * (bottom - _TOP)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{bottom}M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{step / 5 * across:.3g}</text>'
        )
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{step / 5 * up:.3g}</text>')
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{bottom + 42}" text-anchor="middle">normal error, degrees '
        f"({html.escape(title)}; figures at points: iterations of the stage)</text>"
    )
    parts.append(
        f'<text transform="translate(18 {(bottom + _TOP) / 2}) rotate(-90)" text-anchor="middle">'
        "roughness error (MAE)</text>"
    )
    return "\n".join(parts)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... thousandths, so that axes end at round figures."""
    scale = 1e-3
    while True:
        for step in (1.0, 2.0, 5.0):
            if value <= step * scale:
                return step * scale
        scale *= 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="dataset folder with its ground_truth/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not hold a run yet")
    parser.add_argument("--every", type=int, default=25, help="iterations between rows (%(default)s)")
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument("--set", dest="overrides", metavar="KEY=VALUE", nargs="+", default=[])
    parser.add_argument("--device", choices=DEVICES, default="auto")
    options = parser.parse_args()
    if options.every < 1:
        raise UserError(f"--every: expected 1 or more, got {options.every}")
    config = with_values(load_config(options.config, options.overrides), {"data.path": str(options.dataset)})
    if config.textures.learnt:
        raise UserError("textures.learnt: expected false, for texels are known where they are baked only")
    side = load_truth(options.dataset)
    history = ErrorHistory(TrueSurface(side.asset, side.cameras, _SAMPLES), options.every)

    device = choose_device(options.device)
    run = RunFolder.open(options.out / "run", resume=False)
    with logging_to(run.log), run.reporting_errors(), deterministic_on_cpu(device):
        run.save_config(config)
        checkpoints = Checkpoints(run.checkpoints)
        training = Training(config, run, checkpoints, device, "auto", Workers(), watch=history)
        training.execute(resume=False)
    name = f"{options.dataset.name}, {config.material.model}"
    for file, text in (("history.csv", as_csv(history.rows)), ("history.svg", as_svg(history.rows, name))):
        with atomic_file(options.out / file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"history: {options.out / 'history.svg'}")


if __name__ == "__main__":
    run_command(main)
