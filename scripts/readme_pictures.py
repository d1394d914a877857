"""Composes the README's pictures from report folders of compare_textures.

    python scripts/readme_pictures.py REPORT --name NAME --out scripts/results
    python scripts/readme_pictures.py REPORT --name NAME --out scripts/results --compare split joint

Writes NAME_textures.png (recovered, true and error of albedo, roughness, metallic and normal, seen from a
camera) and NAME_renders.png (held-out views of the recovered asset above their references); or, with
--compare, NAME_compared.png: the true channels, and below them those of the report's columns by name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from usd_tools.errors import UserError, run_command
from usd_tools.images import read_png, write_png

CHANNELS = ("albedo", "roughness", "metallic", "normal")
_GAP = 6
_BACKGROUND = np.array([32, 36, 40]) / 255  # that of the report's pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="folder written by compare_textures.py")
    parser.add_argument("--name", required=True, help="first part of the files' names")
    parser.add_argument("--column", default="recovered", help="the report's column to show (%(default)s)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--compare", nargs="+", metavar="COLUMN", help="columns to show below the truth")
    options = parser.parse_args()
    pictures = options.report / "pictures"
    if not pictures.is_dir():
        raise UserError(f"{options.report}: expected a report of compare_textures.py with its pictures/")
    if options.compare:
        save(options.out / f"{options.name}_compared.png", compared(pictures, options.compare))
        return
    columns = [channel_column(pictures, channel, options.column) for channel in CHANNELS]
    save(options.out / f"{options.name}_textures.png", stack(columns, axis=1))
    save(options.out / f"{options.name}_renders.png", render_pairs(pictures, options.column))


def compared(pictures: Path, columns: list[str]) -> np.ndarray:
    """A row of channels for the truth, and one for each of the report's `columns`."""
    rows = [[rgb(pictures / f"{channel}_front_true.png") for channel in CHANNELS]]
    for column in columns:
        if not (pictures / f"{CHANNELS[0]}_front_{column}_recovered.png").is_file():
            raise UserError(f"{pictures}: has no column {column!r}; name those of the report's table")
        rows.append([rgb(pictures / f"{channel}_front_{column}_recovered.png") for channel in CHANNELS])
    return stack([stack(row, axis=1) for row in rows], axis=0)


def channel_column(pictures: Path, channel: str, column: str) -> np.ndarray:
    """Recovered, true and error map below each other."""
    names = (
        f"{channel}_front_{column}_recovered",
        f"{channel}_front_true",
        f"{channel}_front_{column}_error",
    )
    return stack([rgb(pictures / f"{name}.png") for name in names], axis=0)


def render_pairs(pictures: Path, column: str) -> np.ndarray:
    """Every held-out render above its reference."""
    renders = sorted(pictures.glob(f"{column}_*_render.png"))
    if not renders:
        raise UserError(f"{pictures}: holds no held-out renders of column {column!r}; give another --column")
    pairs = [
        stack([rgb(path), rgb(path.with_name(path.name.replace("_render", "_reference")))], axis=0)
        for path in renders
    ]
    return stack(pairs, axis=1)


def rgb(path: Path) -> np.ndarray:
    """(H, W, 3) of any picture, over the background where it is transparent."""
    pixels = read_png(path)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:]
        return pixels[..., :3] * alpha + _BACKGROUND * (1 - alpha)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)


def stack(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    """Pictures in a row (axis 1) or a column (axis 0), with a gap between them; smaller ones are padded."""
    across = 1 - axis
    size = max(picture.shape[across] for picture in pictures)
    placed = []
    for picture in pictures:
        shape = [*picture.shape]
        shape[across], shape[axis] = size, shape[axis] + _GAP
        canvas = np.broadcast_to(_BACKGROUND, shape).copy()
        canvas[: picture.shape[0], : picture.shape[1]] = picture
        placed.append(canvas)
    return np.concatenate(placed, axis=axis)


def save(path: Path, picture: np.ndarray) -> None:
    write_png(path, picture)
    print(path)


if __name__ == "__main__":
    run_command(main)
