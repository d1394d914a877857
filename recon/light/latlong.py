"""Lat-long probes: orientation, and area-preserving resampling from and to cubemaps.

Dataset frame, USD/OpenEXR orientation: the centre column looks at +Z, the column at a quarter of the width
looks at +X, the top row at +Y. With u to the right and v down, both in [0, 1]:
u = 1/2 - atan2(x, z) / (2 pi), v = acos(y) / pi.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from recon.light.cubemap import add_border, face_axes, lookup

# Sub-samples per source texel, along one axis.
_SAMPLES_PER_TEXEL = 8


def directions_to_uv(directions: Tensor) -> Tensor:
    """(..., 3) directions of any length -> (..., 2) u to the right and v down, both in [0, 1]."""
    x, y, z = directions.unbind(-1)
    u = 0.5 - torch.atan2(x, z) / (2 * math.pi)
    v = torch.atan2(torch.hypot(x, z), y) / math.pi
    return torch.stack([u, v], dim=-1)


def uv_to_directions(uv: Tensor) -> Tensor:
    """(..., 2) u to the right and v down -> (..., 3) unit directions."""
    azimuth = (0.5 - uv[..., 0]) * (2 * math.pi)
    polar = uv[..., 1] * math.pi
    radius = torch.sin(polar)
    return torch.stack([radius * torch.sin(azimuth), torch.cos(polar), radius * torch.cos(azimuth)], dim=-1)


def pixel_directions(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """(height, width, 3): unit directions through the pixel centres."""
    u = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    v = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    return uv_to_directions(torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1))


def pixel_solid_angles(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """(height, 1): exact solid angle in steradians of a pixel in each row."""
    edge = torch.cos(torch.linspace(0.0, math.pi, height + 1, dtype=torch.float64))
    return ((edge[:-1] - edge[1:]) * (2 * math.pi / width))[:, None].to(device, torch.float32)


def sample_latlong(image: Tensor, directions: Tensor) -> Tensor:
    """(..., C) bilinear lookup of `image` (H, W, C): wraps around in u, is clamped at the poles."""
    return _sample(image, directions_to_uv(directions))


def _sample(image: Tensor, places: Tensor) -> Tensor:
    """(..., C) bilinear lookup at `places` (..., 2), u and v."""
    width, channels = image.shape[1:]
    around = torch.cat([image[:, -1:], image, image[:, :1]], dim=1).permute(2, 0, 1)[None]
    uv = places.reshape(1, 1, -1, 2)
    # From -1 to 1 between the outer edges, as grid_sample counts: the two columns more are outside of u.
    grid = torch.stack([(2 * uv[..., 0] - 1) * (width / (width + 2)), 2 * uv[..., 1] - 1], dim=-1)
    found = torch.nn.functional.grid_sample(around, grid, padding_mode="border", align_corners=False)
    return found[0, :, 0].T.reshape(*places.shape[:-1], channels)


def _face_samples(resolution: int, per_texel: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of whole texel rows, face by face: points (R, C, 3) and their solid angles (R, C)."""
    fine = resolution * per_texel
    coordinate = (torch.arange(fine, device=device, dtype=torch.float32) + 0.5) * (2.0 / fine) - 1.0
    rows_per_block = max(1, (1 << 18) // (fine * per_texel))
    for forward, right, down in face_axes(device):
        for t in coordinate.split(rows_per_block * per_texel):
            points = forward + coordinate[None, :, None] * right + t[:, None, None] * down
            yield points, (points * points).sum(-1) ** -1.5 * (2.0 / fine) ** 2


def _blur_poles(image: Tensor) -> Tensor:
    """Box-blurs each row along the azimuth to the width that a pixel has at the equator.

    Pixels near the poles are narrower than any sampling resolves. A row's pixels have equal solid angles, so
    its energy is kept; the equator is unchanged.
    """
    height, width = image.shape[:2]
    rows = []
    for i, row in enumerate(image):
        span = min(width // 2 * 2 - 1, 2 * math.floor(0.5 / math.sin(math.pi * (i + 0.5) / height) + 0.5) - 1)
        if span > 1:
            around = torch.cat([row[width - span // 2 :], row, row[: span // 2]]).T[None]
            row = torch.nn.functional.avg_pool1d(around, span, stride=1)[0].T
        rows.append(row)
    return torch.stack(rows)


def _area_keeping_uv(directions: Tensor, height: int) -> Tensor:
    """(..., 3) directions -> (..., 2): where a bilinear lookup gives every row its pixels' solid angle.

    Looked up at its polar angle, a row near a pole counts for more than its pixels. With b the polar angle of
    the border between two rows, the rows above it share the solid angle 2 pi (1 - cos(b)), but their bilinear
    weights, blurred by a row's height h, integrate to 2 pi (1 - s cos(b)) with s = sin(h / 2) / (h / 2): the
    first row gets 13 / 12 of its energy. Solid angle is even in y = cos(angle), so looking up at acos(s y)
    instead integrates to 2 pi (1 - cos(b)) at every border. Next to the poles, places move by part of a row.
    """
    half = math.pi / (2 * height)
    squash = math.sin(half) / half
    x, y, z = directions.unbind(-1)
    # The sine belonging to s y, without the cancellation of 1 - (s y)^2.
    sine = torch.sqrt(x * x + z * z + (1 - squash**2) * y * y)
    u = 0.5 - torch.atan2(x, z) / (2 * math.pi)
    return torch.stack([u, torch.atan2(sine, squash * y) / math.pi], dim=-1)


def to_cubemap(image: Tensor, resolution: int) -> Tensor:
    """Resamples a lat-long probe (H, W, 3) to a cubemap (6, N, N, 3) of mean radiance per texel.

    Every texel averages, by solid angle, enough bilinear samples to see each pixel of the probe several
    times: the probe's energy (radiance times solid angle) is kept even for a sun of one pixel.
    """
    image = _blur_poles(_blur_poles(image))  # twice: a tent, whose integral few samples get right
    per_texel = max(2, math.ceil(_SAMPLES_PER_TEXEL * image.shape[1] / (4 * resolution)))
    blocks = []
    for points, solid_angle in _face_samples(resolution, per_texel, image.device):
        shape = (len(points) // per_texel, per_texel, resolution, per_texel, -1)
        values = _sample(image, _area_keeping_uv(points, image.shape[0]))
        total = (values * solid_angle[..., None]).view(shape).sum(dim=(1, 3))
        blocks.append(total / solid_angle.view(shape).sum(dim=(1, 3)))
    return torch.cat(blocks).view(6, resolution, resolution, 3)


def to_latlong(cube: Tensor, height: int, width: int) -> Tensor:
    """Resamples a cubemap (6, N, N, 3) to a lat-long probe (height, width, 3) of mean radiance per pixel.

    Averages bilinear samples by solid angle, so that the energy is kept.
    """
    resolution = cube.shape[1]
    per_pixel = max(2, math.ceil(_SAMPLES_PER_TEXEL * 4 * resolution / width))
    levels = (add_border(cube),)
    u = (torch.arange(width * per_pixel, device=cube.device) + 0.5) / (width * per_pixel)
    v = (torch.arange(height * per_pixel, device=cube.device) + 0.5) / (height * per_pixel)
    rows_per_block = max(1, (1 << 20) // (width * per_pixel * per_pixel))
    blocks = []
    for rows in v.split(rows_per_block * per_pixel):
        directions = uv_to_directions(torch.stack(torch.meshgrid(u, rows, indexing="xy"), dim=-1))
        weight = torch.sin(rows * math.pi)[:, None, None]
        shape = (len(rows) // per_pixel, per_pixel, width, per_pixel, -1)
        values = lookup(levels, directions.reshape(-1, 3)).view(len(rows), len(u), 3) * weight
        normalizer = weight.view(-1, per_pixel).sum(dim=1)[:, None, None] * per_pixel
        blocks.append(values.view(shape).sum(dim=(1, 3)) / normalizer)
    return torch.cat(blocks)
