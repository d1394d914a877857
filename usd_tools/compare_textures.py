"""Compares recovered textures with the true ones, point by point in 3D, and writes a report.

    python usd_tools/compare_textures.py RUN_OR_USD DATASET_OR_STAGE --out REPORT

The report folder holds `metrics.json`, `index.html` and every channel baked into the true UV layout. With
`--also NAME=RUN` further runs stand beside the first one; their figures are in `metrics_NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file from a clone
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from usd_tools.comparison.compare import DEFAULT_SAMPLES, TrueSurface, compare_assets, write_all_pictures
from usd_tools.comparison.error_maps import FILE_NAME, save_error_maps
from usd_tools.comparison.metrics import format_table
from usd_tools.comparison.report import PICTURES, Column, write_report
from usd_tools.comparison.sides import in_frame_of, load_recovered, load_truth, read_json_object
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_folder

MARKER = "metrics.json"
"""The file by which a folder is known as an earlier report, that may be replaced."""

_MAX_RENDERS = 4


def compare(
    recovered: str | Path,
    truth: str | Path,
    out: str | Path,
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares one run folder (or stage) with a dataset (or stage) and writes the report folder `out`.

    Returns what stands in `metrics.json`. Raises UserError for unusable input; `out` is then untouched.
    """
    return compare_columns({"recovered": recovered}, truth, out, samples=samples, seed=seed)["recovered"]


def compare_columns(
    recovered: Mapping[str, str | Path],
    truth: str | Path,
    out: str | Path,
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    resolution: int | None = None,
    stage_object: str | None = None,
    variants: Sequence[str] = (),
    on_step: Callable[[str], None] = lambda what: None,
) -> dict[str, dict[str, Any]]:
    """Compares several named runs (or stages) with one truth; the report shows them side by side.

    `metrics.json` holds the first one's figures, `metrics_NAME.json` those of the others; `errors.npz` and
    `errors_NAME.npz` hold the errors in the true UV layout, see `comparison.error_maps`.

    samples: points on the true surface, before what no camera sees is left out. resolution: of the baked
    textures; None: that of the largest true map, at most 512. stage_object, variants: the object's prim and
    the `SET=CHOICE` variants of a true stage. on_step is told what is being done. Returns metrics by name.
    """
    if samples < 1:
        raise UserError(f"--samples: {samples} is not usable; expected at least 1")
    if resolution is not None and not 16 <= resolution <= 8192:
        raise UserError(f"--resolution: {resolution} is not usable; expected 16 to 8192")
    slugs = {name: re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-").lower() for name in recovered}
    if "" in slugs.values() or len(set(slugs.values())) < len(slugs):
        raise UserError(
            f"--name, --also: {', '.join(slugs)}: expected different names with letters or digits"
        )
    on_step("reading the true asset")
    true_side = load_truth(Path(truth), stage_object, variants)
    true = TrueSurface(true_side.asset, true_side.cameras, samples, seed)
    if resolution is None:
        resolution = min(512, max(max(image.shape[:2]) for image in true.asset.maps.values()))
        resolution = max(resolution, 256)

    results: dict[str, dict[str, Any]] = {}
    columns = []
    with atomic_folder(out, MARKER) as folder:
        (folder / PICTURES).mkdir()
        places = None
        for i, (name, path) in enumerate(recovered.items()):
            on_step(f"{name}: reading")
            side = load_recovered(Path(path))
            asset = in_frame_of(side, true_side)
            on_step(f"{name}: measuring")
            metrics = compare_assets(asset, true)
            if places is None:
                places = true.places(resolution)
            channels, errors = write_all_pictures(
                folder / PICTURES,
                slugs[name],
                asset,
                true,
                places,
                np.asarray(metrics["albedo_scale"] or [1.0, 1.0, 1.0]),
                on_step,
            )
            renders = _copy_renders(side.validation, folder, slugs[name])
            columns.append(
                Column(
                    name,
                    slugs[name],
                    metrics,
                    channels,
                    renders,
                    _mean_figures(side.validation, "metrics.json"),
                    _copy_relit(side.relighting, folder, slugs[name]),
                    _mean_figures(side.relighting, "relighting.json"),
                )
            )
            save_error_maps(folder / (FILE_NAME if i == 0 else f"errors_{slugs[name]}.npz"), errors)
            file = MARKER if i == 0 else f"metrics_{slugs[name]}.json"
            (folder / file).write_text(
                json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )
            results[name] = metrics
        on_step("writing the report")
        settings = {
            "truth": str(truth),
            **{name: str(path) for name, path in recovered.items()},
            "samples": f"{len(true.points):,} visible of {samples:,}, seed {seed}",
            "training cameras": str(len(true.cameras)) if true.cameras else "none: everything counts",
        }
        title = f"Texture comparison: {Path(truth).resolve().stem}"
        write_report(folder, title, settings, columns)
    return results


def _copy_renders(validation: Path | None, report: Path, slug: str) -> list[tuple[str, str]]:
    """Copies pairs of `NAME_render.png` and `NAME_reference.png` into the report; returns their new names."""
    if validation is None:
        return []
    pairs = []
    for render in sorted(validation.rglob("*_render.png"))[:_MAX_RENDERS]:
        reference = render.with_name(render.name.replace("_render.png", "_reference.png"))
        if not reference.is_file():
            continue
        names = (f"{PICTURES}/{slug}_{render.name}", f"{PICTURES}/{slug}_{reference.name}")
        shutil.copyfile(render, report / names[0])
        shutil.copyfile(reference, report / names[1])
        pairs.append(names)
    return pairs


def _copy_relit(relighting: Path | None, report: Path, slug: str) -> dict[str, tuple[str, str, str]]:
    """Copies what relight.py rendered into the report; returns (recovered, true, error) by new names."""
    shots: dict[str, tuple[str, str, str]] = {}
    if relighting is None:
        return shots
    for recovered in sorted(relighting.glob("light_*_recovered.png")):
        shot = recovered.name.removesuffix("_recovered.png")
        kinds = [f"{shot}_{kind}.png" for kind in ("recovered", "true", "error")]
        if not all((relighting / kind).is_file() for kind in kinds):
            continue
        names = [f"{PICTURES}/{slug}_{kind}" for kind in kinds]
        for kind, name in zip(kinds, names):
            shutil.copyfile(relighting / kind, report / name)
        shots[shot] = (names[0], names[1], names[2])
    return shots


def _mean_figures(folder: Path | None, file: str) -> dict[str, float]:
    """The means (`psnr`, ...) of `folder/file`, whatever is there of them."""
    if folder is None or not (folder / file).is_file():
        return {}
    mean = read_json_object(folder / file).get("mean")
    if not isinstance(mean, dict):
        return {}
    return {
        key: float(value)
        for key, value in mean.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compare_textures.py",
        description="Compare recovered textures with the true ones, point by point in 3D.",
    )
    parser.add_argument(
        "recovered", metavar="RUN_OR_USD", help="output folder of recon.train, or a USD stage"
    )
    parser.add_argument(
        "truth", metavar="DATASET_OR_STAGE", help="dataset with ground_truth/, or a USD stage"
    )
    parser.add_argument("--out", required=True, metavar="REPORT", help="report folder to write")
    parser.add_argument(
        "--name", default="recovered", help="heading of the first column (default: recovered)"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=RUN_OR_USD",
        help="a further asset to show beside it; may be repeated",
    )
    parser.add_argument(
        "--samples", type=int, default=DEFAULT_SAMPLES, metavar="N", help="points on the true surface"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sampling (default: 0)")
    parser.add_argument(
        "--resolution", type=int, metavar="N", help="of the baked maps (default: the true maps', up to 512)"
    )
    parser.add_argument("--object", metavar="PRIM", help="the object in the true stage, if it is a stage")
    parser.add_argument(
        "--variant",
        action="extend",
        nargs="+",
        default=[],
        metavar="SET=CHOICE",
        help="variants to choose in the true stage, if it is a stage",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    from tqdm import tqdm

    options = _parse(arguments)
    recovered = {options.name: options.recovered}
    for pair in options.also:
        name, separator, path = pair.partition("=")
        if not separator or not name or not path:
            raise UserError(f"--also {pair}: expected NAME=RUN_OR_USD")
        if name in recovered:
            raise UserError(f"--also {pair}: the name {name} is taken; give each asset its own")
        recovered[name] = path
    if options.seed < 0:
        raise UserError(f"--seed: {options.seed} is negative; expected 0 or more")

    # Per asset: read, measure, three sets of pictures; and the truth before, the page after.
    with tqdm(total=2 + 5 * len(recovered), unit="step", desc="compare") as bar:

        def on_step(what: str) -> None:
            bar.set_postfix_str(what)
            bar.update()

        results = compare_columns(
            recovered,
            options.truth,
            options.out,
            samples=options.samples,
            seed=options.seed,
            resolution=options.resolution,
            stage_object=options.object,
            variants=options.variant,
            on_step=on_step,
        )
    sys.stdout.write(format_table(results) + "\n")
    sys.stdout.write(f"report: {Path(options.out) / 'index.html'}\n")
    return 0


if __name__ == "__main__":
    run_command(main)
