"""Compares a recovered asset with the true one under lights that training never saw.

    python usd_tools/relight.py RUN_OR_USD DATASET_OR_STAGE [--out FOLDER]

Both are path traced by Mitsuba under two procedural studio lights, from held-out cameras. Unlike pictures
under the training light, these cannot be matched by a wrong material. The folder holds `relighting.json` and
the pictures; by default it is RUN/relighting, where compare_textures.py finds it for its report.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file from a clone
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from numpy.typing import NDArray

from usd_tools.color import luminance
from usd_tools.comparison.asset import Asset
from usd_tools.comparison.heat_map import EMPTY, heat_color, with_color_bar
from usd_tools.comparison.metrics import albedo_scale
from usd_tools.comparison.sides import RELIGHTING, Side, in_frame_of, load_recovered, load_truth
from usd_tools.comparison.visibility import TrainingCameras
from usd_tools.console import positive_integer
from usd_tools.demo.studio import studio_probe
from usd_tools.errors import UserError, run_command
from usd_tools.files import atomic_folder
from usd_tools.image_metrics import display_coded, log_coded, psnr, ssim
from usd_tools.images import write_png
from usd_tools.mitsuba_scene import Material, MitsubaScene, PinholeCamera, Surface

MARKER = "relighting.json"
LIGHTS = (101, 102)
"""Seeds of the studio lights; the demo's own light is seed 0."""

DEFAULT_VIEWS = 3
DEFAULT_RESOLUTION = 256
DEFAULT_SAMPLES = 128
_HEAT_RANGE = 0.25  # difference of display values at which the error pictures are brightest
_MEAN_RADIANCE = 0.4  # of the lights, over the sphere
_COVERED = 0.99  # alpha from which a pixel shows nothing but the object


@dataclass(frozen=True)
class _Shot:
    """One light and camera: what both assets look like there, (H, W, 4) scene-linear, associated alpha."""

    name: str
    recovered: NDArray[np.float32]
    truth: NDArray[np.float32]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where both of them are: what a pixel is off at the silhouette says nothing of the material."""
        return np.minimum(self.recovered[..., 3], self.truth[..., 3]) >= _COVERED

    @property
    def mask_iou(self) -> float:
        """Intersection over union of the silhouettes, 1 where they agree."""
        alphas = self.recovered[..., 3], self.truth[..., 3]
        return float(np.minimum(*alphas).sum() / np.maximum(np.maximum(*alphas).sum(), 1e-9))


def relight(
    recovered: str | Path,
    truth: str | Path,
    out: str | Path | None = None,
    *,
    lights: Sequence[int] = LIGHTS,
    views: int = DEFAULT_VIEWS,
    resolution: int = DEFAULT_RESOLUTION,
    samples: int = DEFAULT_SAMPLES,
    on_step: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Renders both assets under each light from `views` cameras and writes the folder `out`.

    out: None for `RELIGHTING` in the run folder `recovered`. lights: seeds of `studio_probe`. resolution: of
    the longer side. samples: paths per pixel. on_step is told before each of the pictures what it is.

    Returns what stands in relighting.json: `mean` over the pictures and `views`, each with psnr (of display
    values), log_psnr (of tone-mapped ones) and ssim, over the pixels that show both objects; psnr is null
    where pictures are equal. mask_iou tells how far the silhouettes agree. `aligned` is the mean after one
    `scale` per color channel for all pictures, which forgives a learnt light its free brightness.

    Raises:
        UserError: unusable input, or Mitsuba is missing; `out` is then untouched.
    """
    if min(views, samples) < 1 or not lights:
        raise UserError("--views, --samples, --lights: expected at least 1 of each")
    if not 16 <= resolution <= 4096:
        raise UserError(f"--resolution: {resolution} is not usable; expected 16 to 4096")
    true_side = load_truth(Path(truth))
    side = load_recovered(Path(recovered))
    if out is None:
        if not Path(recovered).is_dir():
            raise UserError(
                "--out: expected a folder to write, since the recovered asset is not a run folder"
            )
        out = Path(recovered) / RELIGHTING
    cameras = _cameras(true_side, views, resolution)
    assets = in_frame_of(side, true_side), true_side.asset
    shots = []
    for seed in lights:
        probe = _light(seed)
        scenes = [MitsubaScene([_surface(asset)], probe, np.eye(3)) for asset in assets]
        for index, camera in enumerate(cameras):
            name = f"light_{seed}_view_{index + 1:02d}"
            on_step(name)
            # Equal seeds: noise that both have in common is no difference.
            shots.append(_Shot(name, *(scene.render(camera, samples, seed=index) for scene in scenes)))
    document = _figures(shots)
    document |= {
        "lights": list(lights),
        "cameras": "training" if true_side.held_out is None else "held out",
        "samples": samples,
        "resolution": [cameras[0].width, cameras[0].height],
    }
    with atomic_folder(out, MARKER) as folder:
        for shot in shots:
            _write_pictures(folder, shot)
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        (folder / MARKER).write_text(text, encoding="utf-8")
    return document


def _light(seed: int) -> NDArray[np.float32]:
    """A studio light (H, W, 3), exposed so that white is not clipped: there all materials look the same."""
    probe = studio_probe(seed)
    area = np.sin((np.arange(len(probe)) + 0.5) / len(probe) * np.pi)
    mean = np.average(luminance(probe).mean(axis=1), weights=area)
    return (probe * (_MEAN_RADIANCE / mean)).astype(np.float32)


def _figures(shots: Sequence[_Shot]) -> dict[str, Any]:
    visible = [(shot.recovered[shot.mask, :3], shot.truth[shot.mask, :3]) for shot in shots]
    recovered, truth = (np.concatenate([pair[k] for pair in visible]).clip(0, 1) for k in range(2))
    scale = albedo_scale(recovered.astype(np.float64), truth.astype(np.float64))
    plain = {shot.name: _shot_figures(shot, np.ones(3)) for shot in shots}
    aligned = [_shot_figures(shot, scale) for shot in shots]
    return {
        "mean": _mean(list(plain.values())),
        "aligned": _mean(aligned),
        "scale": scale.tolist(),
        "views": {name: _mean([figures]) for name, figures in plain.items()},
    }


def _shot_figures(shot: _Shot, scale: NDArray) -> dict[str, float]:
    recovered, truth = shot.recovered[..., :3] * scale, shot.truth[..., :3]
    if not shot.mask.any():  # nothing in common: as bad as can be
        return {"psnr": 0.0, "log_psnr": 0.0, "ssim": 0.0, "mask_iou": shot.mask_iou}
    shown, true = display_coded(recovered), display_coded(truth)
    return {
        "psnr": psnr(shown, true, shot.mask),
        "log_psnr": psnr(log_coded(recovered), log_coded(truth), shot.mask),
        "ssim": ssim(shown, true, shot.mask),
        "mask_iou": shot.mask_iou,
    }


def _mean(figures: Sequence[dict[str, float]]) -> dict[str, float | None]:
    return {key: _json_number(sum(f[key] for f in figures) / len(figures)) for key in figures[0]}


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _write_pictures(folder: Path, shot: _Shot) -> None:
    shown, true = display_coded(shot.recovered[..., :3]), display_coded(shot.truth[..., :3])
    heat = heat_color(np.abs(shown - true).mean(axis=-1) / _HEAT_RANGE)
    heat[~shot.mask] = EMPTY
    write_png(folder / f"{shot.name}_recovered.png", shown)
    write_png(folder / f"{shot.name}_true.png", true)
    write_png(folder / f"{shot.name}_error.png", with_color_bar(heat, _HEAT_RANGE, ""))


def _cameras(side: Side, count: int, resolution: int) -> list[PinholeCamera]:
    """`count` of the held-out cameras, evenly spread, or of the others where none is held out."""
    cameras = side.held_out or side.cameras
    if cameras is None:
        raise UserError(f"{side.asset.name}: has no cameras to render from; expected a dataset with poses")
    count = min(count, len(cameras))
    chosen = [(2 * i + 1) * len(cameras) // (2 * count) for i in range(count)]
    return [_pinhole(cameras, i, resolution, side.asset.surface.half_extent) for i in chosen]


def _pinhole(cameras: TrainingCameras, index: int, resolution: int, half_extent: float) -> PinholeCamera:
    width, height = cameras.sizes[index]
    scale = resolution / max(width, height)
    fx, fy, cx, cy = (float(value) * scale for value in cameras.intrinsics[index])
    return PinholeCamera(
        cameras.camera_to_world[index],
        (fx, fy),
        (cx, cy),
        max(1, round(width * scale)),
        max(1, round(height * scale)),
        near=1e-3 * half_extent,
        far=1e4 * half_extent,
    )


def _surface(asset: Asset) -> Surface:
    maps = asset.maps
    normal = maps["normal"] if np.abs(maps["normal"] - [0, 0, 1]).max() > 0.01 else None
    material = Material(maps["albedo"], maps["roughness"][..., 0], maps["metallic"][..., 0], normal)
    return Surface(
        asset.mesh.vertices[asset.mesh.faces],
        asset.normals[asset.normal_faces],
        asset.uvs[asset.uv_faces],
        material,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    from tqdm import tqdm

    parser = argparse.ArgumentParser(
        prog="relight.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recovered", metavar="RUN_OR_USD", help="output of recon.train, or a USD stage")
    parser.add_argument("truth", metavar="DATASET_OR_STAGE", help="dataset with ground_truth/, or a stage")
    parser.add_argument("--out", metavar="FOLDER", help="folder to write (default: relighting/ in the run)")
    parser.add_argument(
        "--lights", type=int, nargs="+", default=list(LIGHTS), metavar="SEED", help="of the studio lights"
    )
    parser.add_argument(
        "--views", type=positive_integer, default=DEFAULT_VIEWS, metavar="N", help="per light"
    )
    parser.add_argument("--resolution", type=positive_integer, default=DEFAULT_RESOLUTION, metavar="N")
    parser.add_argument(
        "--samples", type=positive_integer, default=DEFAULT_SAMPLES, metavar="N", help="paths per pixel"
    )
    options = parser.parse_args(arguments)
    if min(options.lights) < 0:
        raise UserError(f"--lights: {min(options.lights)} is negative; expected seeds from 0 on")
    with tqdm(desc="relight", unit="picture", disable=None) as bar:

        def on_step(what: str) -> None:
            bar.set_postfix_str(what)
            bar.update()

        document = relight(
            options.recovered,
            options.truth,
            options.out,
            lights=options.lights,
            views=options.views,
            resolution=options.resolution,
            samples=options.samples,
            on_step=on_step,
        )
    for name in ("mean", "aligned"):
        figures = document[name]
        shown = [f"{key} {'equal' if v is None else format(v, '.4g')}" for key, v in figures.items()]
        sys.stdout.write(f"{name}: {', '.join(shown)}\n")


if __name__ == "__main__":
    run_command(main)
