"""Baking a stage's domes and distant lights into one lat-long probe. Pixels only: no pxr."""

from __future__ import annotations

import math

import numpy as np

from usd_tools.color import to_linear_rec709
from usd_tools.color_identification import guess_color_space
from usd_tools.errors import UserError
from usd_tools.images import Pixels, read_image
from usd_tools.probe_job import DistantJob, DomeJob, ProbeJob
from usd_tools.resampling import latlong_directions, turn_latlong

UNIFORM_HEIGHT = 32

DISTANT_HEIGHT = 512
"""Least rows of a probe with a distant light: a pixel is then about as large as the sun."""

_COVERAGE_SAMPLES = 4
"""Per pixel and axis, for the share of a pixel that a distant light covers."""

_COLOR_SPACES = {
    "lin_rec709": ("raw", "lin_rec709", "lin_rec709_scene", "lin_srgb", "linear", "identity", "data"),
    "srgb": ("srgb", "srgb_texture", "srgb_rec709_scene", "srgb_rec709_display"),
    "acescg": ("acescg", "lin_ap1", "lin_ap1_scene"),
}
"""Names by which stages call what `to_linear_rec709` reads."""


def bake_probe(job: ProbeJob) -> Pixels:
    """The lights' summed radiance as lat-long linear Rec.709 (H, W, 3), in the frame that `job` targets.

    As large as the largest dome's picture; a single unturned dome is copied exactly.

    Raises:
        UserError: a picture cannot be read, is not lat-long, or holds NaN or infinite values.
    """
    pictures = [_read_dome(dome) for dome in job.domes]
    height = max(
        UNIFORM_HEIGHT if not pictures else max(picture.shape[0] for picture in pictures),
        DISTANT_HEIGHT if job.distants else 1,
    )
    width = max((picture.shape[1] for picture in pictures if picture.shape[0] == height), default=2 * height)
    total = np.zeros((height, width, 3), np.float32)
    for dome, picture in zip(job.domes, pictures):
        total += turn_latlong(picture, dome.target_to_light, (height, width))
    for distant in job.distants:
        add_distant(total, distant)
    return total


def _read_dome(dome: DomeJob) -> Pixels:
    """Its radiance in its own frame; a uniform one is UNIFORM_HEIGHT rows."""
    color = np.array(dome.color, np.float32)
    if dome.texture is None:
        return np.broadcast_to(color, (UNIFORM_HEIGHT, 2 * UNIFORM_HEIGHT, 3)).astype(np.float32)
    picture = read_image(dome.texture)
    picture = picture[..., :3] if picture.shape[2] >= 3 else np.repeat(picture[..., :1], 3, axis=2)
    if not np.isfinite(picture).all():
        raise UserError(f"{dome.texture}: has NaN or infinite values; write the light probe again")
    height, width = picture.shape[:2]
    if not dome.any_shape and abs(width / height - 2) > 0.1:
        raise UserError(
            f"{dome.texture}: is {width}x{height}; expected a lat-long picture, twice as wide as high: "
            "resample it, or set the dome's texture:format to latlong if it is one"
        )
    return np.maximum(to_linear_rec709(picture, _color_space(dome)), 0) * color


def _color_space(dome: DomeJob) -> str:
    assert dome.texture is not None, "called for domes with pictures"
    name = (dome.color_space or "auto").lower().replace(" ", "_")
    if name == "auto":
        return guess_color_space(dome.texture)
    for space, names in _COLOR_SPACES.items():
        if name in names:
            return space
    raise UserError(
        f"{dome.texture}: its color space is authored as {dome.color_space}; expected one of "
        f"{', '.join(_COLOR_SPACES)}, raw or auto"
    )


def add_distant(probe: Pixels, light: DistantJob) -> None:
    """Adds a disc of constant radiance to a lat-long `probe` (H, W, 3) in place.

    The probe's own sum of radiance times cosine times solid angle over a plane that faces the light gives the
    light's irradiance. Discs smaller than a pixel are widened to one, at that irradiance.
    """
    height, width = probe.shape[:2]
    pixel = math.pi / min(height, width / 2)
    radius = min(max(light.half_angle, pixel), math.pi)
    polar = math.acos(float(np.clip(light.direction[1], -1, 1)))
    first = max(math.floor((polar - radius) / math.pi * height), 0)
    last = min(math.ceil((polar + radius) / math.pi * height), height)
    coverage = _coverage(light.direction, radius, height, width, range(first, last))
    facing = np.maximum(latlong_directions(width, height)[first:last] @ light.direction, 0)
    edges = np.cos(np.linspace(0, math.pi, height + 1))
    solid_angle = (edges[:-1] - edges[1:])[first:last, None] * (2 * math.pi / width)
    radiance = np.array(light.irradiance) / (coverage * facing * solid_angle).sum()
    probe[first:last] += (coverage[..., None] * radiance).astype(np.float32)


def _coverage(direction: np.ndarray, radius: float, height: int, width: int, rows: range) -> np.ndarray:
    """(rows, W): the share of each pixel inside the cone of `radius` around `direction`."""
    fine = _COVERAGE_SAMPLES
    coverage = np.empty((len(rows), width))
    for index, row in enumerate(rows):
        directions = latlong_directions(width * fine, height * fine, range(row * fine, (row + 1) * fine))
        inside = directions @ direction >= math.cos(radius)
        coverage[index] = inside.reshape(fine, width, fine).mean(axis=(0, 2))
    return coverage
