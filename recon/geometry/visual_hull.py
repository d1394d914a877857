"""Signed distance to the visual hull: the largest shape that agrees with all masks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.geometry.grid_box import GridBox, fitted_box
from usd_tools.errors import UserError

# Longer side of the distance images. Half a pixel of it is well below a cell of any grid that trains.
_RESOLUTION = 256
# Largest number of pixels worked on at once.
_CHUNK = 1 << 22


def visual_hull_distance(
    points: Tensor,
    masks: Tensor,
    cameras: Cameras,
    *,
    limit: float,
    minimum_views: int | None = None,
) -> Tensor:
    """(P,) signed distance from `points` (P, 3) to the visual hull of the masks, negative inside.

    masks: (B, H, W) coverage in [0, 1] of the B `cameras`; a view without any covered pixel is ignored.
    limit: the result is clipped to [-limit, limit]; also the reach of the distance images.
    minimum_views: how many views must see a point before it may count as inside; default: 3, or all the
        views where there are fewer.

    A view's distance is that to its mask's outline in pixels, times depth over focal length; the hull's is
    the largest over the views. It is exact in sign, and close to the hull within a factor near one in size.
    A point outside a view's picture is outside the object if the mask keeps clear of the picture's border
    (then the object is wholly in the picture); otherwise, and for points behind the camera, the view says
    nothing. Not differentiable.

    Raises UserError if all masks are empty.
    """
    if masks.shape != (len(cameras), cameras.height, cameras.width):
        raise ValueError(
            f"masks: expected shape {(len(cameras), cameras.height, cameras.width)}, got {tuple(masks.shape)}"
        )
    if not limit > 0:
        raise ValueError(f"limit: expected a positive length, got {limit}")
    with torch.no_grad():
        used = (masks > 0.5).flatten(1).any(dim=1)
        if not used.any():
            raise UserError("masks: no view has a covered pixel; expected masks that show the object")
        masks, cameras = masks[used], cameras[used.to(points.device)]
        if minimum_views is None:
            minimum_views = min(3, len(masks))
        scale = _RESOLUTION / max(cameras.width, cameras.height)
        width, height = max(1, round(cameras.width * scale)), max(1, round(cameras.height * scale))
        small = cameras.resized(width, height)
        reach = _reach_in_pixels(points, small, limit)

        result = torch.full_like(points[:, 0], -limit)
        seen = torch.zeros(len(points), dtype=torch.int32, device=points.device)
        per_chunk = max(1, _CHUNK // (width * height))
        for first in range(0, len(masks), per_chunk):
            images = _distance_images(masks[first : first + per_chunk].to(points), width, height, reach)
            for view in range(first, min(first + per_chunk, len(masks))):
                distance, visible = _view_distance(points, images[view - first], small[view : view + 1])
                result = torch.maximum(result, distance.clamp(-limit, limit))
                seen += visible
        return torch.where(seen >= minimum_views, result, limit)


def fit_to_hull(cube: GridBox, masks: Tensor, cameras: Cameras) -> GridBox:
    """A box around the visual hull, within `cube` and with about as many cells, hence finer ones.

    masks, cameras: as for `visual_hull_distance`. Between hull and border lie two to three cells, or what
    room the cube leaves. No cell is smaller than a pixel is at the hull. Where no point of the cube is in
    the hull, the cube is returned.

    Here, one view is enough to see a point (unlike at the start of a surface, where three have to agree): a
    part that few views show may still grow.

    Raises UserError if all masks are empty.
    """
    box = cube
    # The second carving, in the box of the first, finds the bounds to within its own, finer cells.
    for _ in range(2):
        size, centers = box.cell_size, box.cell_centers()
        distance = visual_hull_distance(centers, masks, cameras, limit=2 * size, minimum_views=1)
        # A cell with a point of the hull has its center within 0.87 cells of it.
        near = centers[distance < size]
        if len(near) == 0:
            return cube
        bounds = torch.stack([near.amin(dim=0) - 0.5 * size, near.amax(dim=0) + 0.5 * size])
        pixel = float(cameras.pixel_sizes(bounds.mean(dim=0)).median())
        # The bounds themselves are wide by about a cell.
        box = fitted_box(cube, bounds, margin=1.5, finest=pixel)
    return box


def signed_distance_images(coverage: Tensor, reach: int, ramp: float = 1.0) -> Tensor:
    """(B, H, W) distance in pixels of every pixel center to the outline, negative where covered.

    coverage: (B, H, W) in [0, 1]; the outline is where it crosses one half. reach: pixels; distances are
    exact to half a pixel up to it, and saturate there. ramp: width in pixels over which an antialiased
    outline goes from 0 to 1 (1 for area coverage). In partly covered pixels the coverage itself gives the
    distance, to a fraction of a pixel.
    """
    covered = coverage >= 0.5
    outside = euclidean_distance(covered, reach)
    inside = euclidean_distance(~covered, reach)
    # Pixel centers on either side of an outline are one pixel apart, the outline half way between.
    distance = torch.where(covered, 0.5 - inside, outside - 0.5)
    partial = (coverage - 0.5).abs() < 0.48
    near = distance.abs() < 0.5 * ramp + 0.5
    return torch.where(partial & near, (0.5 - coverage) * ramp, distance)


def euclidean_distance(target: Tensor, reach: int) -> Tensor:
    """(B, H, W) distance in pixels from every pixel to the nearest one of `target` (B, H, W) bool.

    Exact where it is at most `reach`, and `reach` beyond it (or without any target pixel). Separable
    (Felzenszwalb and Huttenlocher 2012): distances along columns, then the minimum over shifts along rows.
    """
    height, width = target.shape[1:]
    rows = torch.arange(height, device=target.device, dtype=torch.float32)[:, None]
    far = torch.tensor(float(height + reach), device=target.device)
    above = torch.where(target, rows, -far).cummax(dim=1).values
    below = torch.where(target, rows, far + height).flip(1).cummin(dim=1).values.flip(1)
    column = torch.minimum(rows - above, below - rows).clamp(max=reach).square()
    nearest = column.clone()
    for shift in range(1, min(reach, width)):
        cost = column + float(shift * shift)
        torch.minimum(nearest[:, :, shift:], cost[:, :, :-shift], out=nearest[:, :, shift:])
        torch.minimum(nearest[:, :, :-shift], cost[:, :, shift:], out=nearest[:, :, :-shift])
    return nearest.sqrt().clamp(max=reach)


def _distance_images(masks: Tensor, width: int, height: int, reach: int) -> Tensor:
    """Signed distance images of masks brought to another size."""
    scale = width / masks.shape[2]
    if scale <= 1:
        resized = torch.nn.functional.interpolate(masks[:, None], (height, width), mode="area")
    else:
        resized = torch.nn.functional.interpolate(
            masks[:, None], (height, width), mode="bilinear", align_corners=False
        )
    return signed_distance_images(resized[:, 0], reach, ramp=max(1.0, scale))


def _reach_in_pixels(points: Tensor, cameras: Cameras, limit: float) -> int:
    """Pixels that `limit` spans at half the points' usual depth; nearer points get a shorter reach."""
    depth = cameras.project(points[:: max(1, len(points) // 1000)])[1]
    usual = depth[depth > 0].median() if bool((depth > 0).any()) else depth.new_tensor(1.0)
    pixels = limit * float(cameras.focal.max()) / (0.5 * float(usual))
    return min(max(4, math.ceil(pixels) + 1), max(cameras.width, cameras.height))


def _view_distance(points: Tensor, image: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """One view's distances (P,), and whether it sees each point; -inf where it says nothing."""
    height, width = image.shape
    positions, depths = camera.project(points)
    position, depth = positions[0], depths[0]
    in_front = depth > 0
    size = position.new_tensor([width, height])
    # Bilinear lookup at the nearest place between the outermost pixel centers.
    inner = torch.minimum(position.clamp(min=0.5), size - 0.5)
    grid = (2 * inner / size - 1).view(1, 1, -1, 2)
    pixels = torch.nn.functional.grid_sample(
        image[None, None], grid, mode="bilinear", padding_mode="border", align_corners=False
    ).view(-1)
    pixels = pixels + (position - inner).norm(dim=1)
    in_picture = in_front & ((position >= 0) & (position <= size)).all(dim=1)
    edge = torch.cat([image[0], image[-1], image[:, 0], image[:, -1]])
    wholly_inside = (edge > 0).all()
    speaks = in_picture | (in_front & wholly_inside)
    distance = pixels * depth / camera.focal.mean()
    return torch.where(speaks, distance, -torch.inf), in_picture
