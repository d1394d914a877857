"""Recovered, true and error pictures of every channel, in a UV layout or seen from a viewpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usd_tools.color import linear_to_srgb
from usd_tools.comparison.asset import Asset, Material
from usd_tools.comparison.error_maps import ErrorMaps
from usd_tools.comparison.heat_map import EMPTY, UNMATCHED, UNSEEN, heat_color, with_color_bar
from usd_tools.comparison.matching import match
from usd_tools.comparison.metrics import albedo_error, normal_error
from usd_tools.comparison.pixels import PixelPoints
from usd_tools.images import write_png
from usd_tools.texel_raster import nearest_covered

# The error at which a heat map is brightest, and its unit. Fixed, so that pictures of different runs compare.
HEAT_RANGES = {
    "albedo": (0.25, ""),
    "albedo_aligned": (0.25, ""),
    "roughness": (0.5, ""),
    "metallic": (0.5, ""),
    "normal": (30.0, "°"),
    "occlusion": (0.5, ""),
}

# Texels by which charts are widened in the pictures, so that zooming out shows no seams.
_GUTTER = 4


@dataclass(frozen=True)
class Place:
    """Where pictures are made: a view of the true surface, or its texture layout.

    name: part of file names. seen: (N,) which of the points of `pixels` a training camera sees.
    is_texture: shows normals in the *true* mesh's tangent space, as its normal map would hold them, instead
    of world space, and widens the charts.
    """

    name: str
    pixels: PixelPoints
    seen: NDArray[np.bool_]
    is_texture: bool


@dataclass(frozen=True)
class ChannelPictures:
    """One channel of a picture.

    recovered, true: (H, W, 3) display values in 0..1. error: (H, W), 0 where nothing is compared.
    counted: (H, W), where the error is compared: matched, and seen by a training camera.
    heat: (H, W, 3) the error in color, without the bar.
    """

    recovered: NDArray[np.float64]
    true: NDArray[np.float64]
    error: NDArray[np.float64]
    counted: NDArray[np.bool_]
    heat: NDArray[np.float64]


def bake(
    recovered: Asset,
    truth: Asset,
    place: Place,
    scale: NDArray,
) -> dict[str, ChannelPictures]:
    """Pictures of every channel at the points of `truth` that `place` shows.

    scale: (3,) factors on the recovered albedo for `albedo_aligned`.
    """
    surface, pixels, points = truth.surface, place.pixels, place.pixels.points
    matches = match(
        recovered.surface, surface.positions(points), surface.normals[points.face], surface.half_extent
    )
    matched, seen = matches.found, place.seen
    true = truth.material(points)
    # Points without a match look up face 0 and are painted over.
    face = np.where(matched, matches.face, 0)
    found = recovered.material(type(points)(face, matches.barycentrics))
    to_display = (
        np.linalg.inv(_safe_frames(truth.tangent_frames(points))) if place.is_texture else np.eye(3)[None]
    )

    shown = _displayed(found, true, scale, to_display)
    fill = nearest_covered(pixels.covered, _GUTTER).ravel() if place.is_texture else None
    pictures = {}
    for channel, (recovered_color, true_color, error) in shown.items():
        heat = heat_color(error / HEAT_RANGES[channel][0])
        heat[~seen] = UNSEEN
        heat[~matched] = UNMATCHED
        recovered_color[~matched] = UNMATCHED
        counted = matched & seen
        images = [_on_background(pixels, colors, fill) for colors in (recovered_color, true_color, heat)]
        pictures[channel] = ChannelPictures(
            images[0],
            images[1],
            pixels.image(np.where(counted, error, 0.0)),
            pixels.image(counted).astype(bool),
            images[2],
        )
    return pictures


def write_pictures(folder: Path, place: str, name: str, pictures: Mapping[str, ChannelPictures]) -> None:
    """Writes `CHANNEL_PLACE_true.png`, and `.._NAME_recovered.png` and `.._NAME_error.png`, into `folder`."""
    for channel, picture in pictures.items():
        maximum, unit = HEAT_RANGES[channel]
        write_png(folder / f"{channel}_{place}_true.png", picture.true)
        write_png(folder / f"{channel}_{place}_{name}_recovered.png", picture.recovered)
        write_png(folder / f"{channel}_{place}_{name}_error.png", with_color_bar(picture.heat, maximum, unit))


def error_maps(pictures: Mapping[str, ChannelPictures], truth: Asset) -> ErrorMaps:
    """The errors of the pictures of `truth`'s texture layout as numbers."""
    return ErrorMaps(
        {channel: picture.error.astype(np.float32) for channel, picture in pictures.items()},
        {channel: HEAT_RANGES[channel][0] for channel in pictures},
        next(iter(pictures.values())).counted,
        truth.uvs.astype(np.float32),
        truth.all_uv_faces.astype(np.int32),
    )


def _displayed(
    found: Material, true: Material, scale: NDArray, to_display: NDArray
) -> dict[str, tuple[NDArray, NDArray, NDArray]]:
    """Per channel: recovered and true colors (N, 3), and the error (N,)."""

    def gray(values: NDArray) -> NDArray:
        return np.repeat(values[:, None], 3, axis=1)

    def color(linear: NDArray) -> NDArray:
        return linear_to_srgb(np.clip(linear, 0, 1))

    def direction(normals: NDArray) -> NDArray:
        local = (to_display @ normals[..., None])[..., 0]
        return 0.5 + 0.5 * local / np.linalg.norm(local, axis=-1, keepdims=True).clip(1e-12)

    albedo, aligned = found.albedo, found.albedo * scale
    shown = {
        "albedo": (color(albedo), color(true.albedo), albedo_error(albedo, true.albedo).mean(axis=1)),
        "albedo_aligned": (
            color(aligned),
            color(true.albedo),
            albedo_error(aligned, true.albedo).mean(axis=1),
        ),
        "roughness": (
            gray(found.roughness),
            gray(true.roughness),
            np.abs(found.roughness - true.roughness),
        ),
        "metallic": (gray(found.metallic), gray(true.metallic), np.abs(found.metallic - true.metallic)),
        "normal": (direction(found.normal), direction(true.normal), normal_error(found.normal, true.normal)),
    }
    if found.occlusion is not None and true.occlusion is not None:
        error = np.abs(found.occlusion - true.occlusion)
        shown["occlusion"] = (gray(found.occlusion), gray(true.occlusion), error)
    return shown


def _safe_frames(frames: NDArray) -> NDArray:
    """`frames` (N, 3, 3), where they are singular (degenerate tangents) replaced by the identity."""
    singular = np.abs(np.linalg.det(frames)) < 1e-6
    return np.where(singular[:, None, None], np.eye(3), frames)


def _on_background(pixels: PixelPoints, colors: NDArray, fill: NDArray | None) -> NDArray[np.float64]:
    image = pixels.image(colors)
    image[~pixels.covered] = EMPTY
    if fill is not None:
        image = image.reshape(-1, 3)[fill].reshape(image.shape)
    return image
