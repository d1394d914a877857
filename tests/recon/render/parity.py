"""What holds two rasterizers together: visibility up to rounding, and whole images with their gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.data.cameras import Cameras
from recon.light.fg_table import fg_table
from recon.render.interface import Raster, Rasterizer
from recon.render.loss_routes import LossRoutes
from recon.render.render_views import render_views
from recon.stages.coarse_scene import CoarseScene
from recon.stages.fine_scene import FineScene
from tests.recon.cuda import assert_aligned
from tests.recon.render.reference_raster import as_double
from tests.recon.render.scenes import orbit_cameras, random_like
from tests.recon.stages.scenes import known_light

# nvdiffrast rounds vertices to the nearest sixteenth of a pixel along each axis, in order to decide what
# covers a pixel's centre: they move by half that at most, and what is rendered is the moved triangle.
MOVED = math.sqrt(2) / 32
_ROUNDING = 1e-3


def triangle_map(raster: Raster) -> Tensor:
    """(B * H * W,) triangle of every pixel, -1 for none."""
    size = len(raster.cameras) * raster.cameras.height * raster.cameras.width
    shown = torch.full((size,), -1, device=raster.pixels.device)
    return shown.index_put((raster.pixels,), raster.triangles)


def same_triangle(one: Raster, other: Raster) -> Tensor:
    """(B * H * W,) bool: covered, and by the same triangle, in both."""
    first, second = triangle_map(one), triangle_map(other)
    return (first == second) & (first >= 0)


def assert_same_visibility(one: Raster, other: Raster, moved: float = MOVED) -> int:
    """Where the two show different triangles, moving vertices by `moved` pixels can be the reason.

    Either one triangle has an edge as near to the pixel's centre (so it covers it or not, and what lies
    behind may be deep inside another triangle), or the two lie equally deep as near to it. Returns how many
    pixels differ.
    """
    first, second = triangle_map(one).cpu(), triangle_map(other).cpu()
    pixels = torch.nonzero(first != second)[:, 0]
    first, second = first[pixels], second[pixels]
    edge_1, depth_1, slope_1 = _look(one, pixels, first)
    edge_2, depth_2, slope_2 = _look(one, pixels, second)
    edge = torch.minimum(edge_1, edge_2)
    # Inverse depth is affine in the image: how far the two are apart, in pixels along their slopes.
    gap = (depth_1 - depth_2).abs() / (slope_1 + slope_2)
    wrong = torch.minimum(edge, gap.where((first >= 0) & (second >= 0), torch.inf)) > moved + _ROUNDING
    if bool(wrong.any()):
        width, height = one.cameras.width, one.cameras.height
        lines = [f"{int(wrong.sum())} of {len(pixels)} differing pixels, {len(one.pixels)} covered:"]
        for i in torch.nonzero(wrong)[:12, 0].tolist():
            pixel = int(pixels[i])
            view, row, column = pixel // (height * width), pixel // width % height, pixel % width
            lines.append(
                f"view {view} row {row} column {column}: triangles {int(first[i])} and {int(second[i])}, "
                f"nearest edge {float(edge[i]):.3f} pixels, equal depth {float(gap[i]):.3f} pixels away"
            )
        raise AssertionError("\n".join(lines))
    return len(pixels)


def _look(raster: Raster, pixels: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of `triangles` (P,), -1 for none, as seen at the centres of `pixels`, in double precision on the CPU:
    distance in pixels to the nearest edge's line, inverse depth, and the length of its slope per pixel."""
    cameras = as_double(raster.cameras.to("cpu"))
    faces = raster.faces.cpu()[triangles.clamp(min=0)]
    view = pixels // (cameras.height * cameras.width)
    center = torch.stack([pixels % cameras.width, pixels // cameras.width % cameras.height], dim=1) + 0.5
    points, depths = cameras.project(raster.vertices.detach().double().cpu())
    corners = points[view[:, None], faces] - center[:, None]
    following = corners.roll(-1, dims=1)
    along = following - corners
    edge = (_cross(corners, following) / along.norm(dim=2).clamp(min=1e-12)).abs().amin(dim=1)
    # The plane through the corners: inverse depth = a x + b y + c, with the centre at the origin.
    homogeneous = torch.cat([corners, torch.ones(len(corners), 3, 1, dtype=corners.dtype)], dim=2)
    plane = torch.linalg.lstsq(homogeneous, 1.0 / depths[view[:, None], faces][..., None]).solution[..., 0]
    edge = edge.where(triangles >= 0, torch.inf)
    return edge, plane[:, 2], plane[:, :2].norm(dim=1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def whole_image(
    scene: CoarseScene | FineScene, rasterizer: Rasterizer, cameras: Cameras
) -> tuple[Tensor, dict[str, Tensor]]:
    """An image of `scene` with alpha, and the gradients of a loss on it, by parameter."""
    scene.zero_grad()
    device = cameras.focal.device
    light = known_light().to(device).prefilter()
    shown = render_views(scene, light, fg_table(device=device), cameras, rasterizer, routes=LossRoutes())
    images = torch.stack([shown.image_a, shown.image_b])
    rows, columns = -(-cameras.height // 8), -(-cameras.width // 8)
    target = random_like((1, 1, rows, columns, 3), 10).repeat_interleave(8, 2).repeat_interleave(8, 3)
    target = target[:, :, : cameras.height, : cameras.width].to(device)
    ((images - target).square().mean() + (shown.alpha - 0.5).square().mean()).backward()
    gradients = {name: p.grad.clone() for name, p in scene.named_parameters() if p.grad is not None}
    return torch.cat([shown.image_a, shown.alpha[..., None]], dim=-1).detach(), gradients


def assert_same_rendering(
    scene: CoarseScene | FineScene,
    expected: Rasterizer,
    found: Rasterizer,
    size: tuple[int, int],
    cosines: dict[str, float],
    ratio: float,
    isolated: float,
) -> None:
    """The same image but for a share `isolated` of its pixels, and gradients that `assert_aligned` accepts.

    size: width, height. cosines: the least one for parameters whose name contains the key.
    """
    cameras = orbit_cameras(3, *size).to(next(scene.parameters()).device)
    expected_image, expected_gradients = whole_image(scene, expected, cameras)
    found_image, gradients = whole_image(scene, found, cameras)
    assert_same_image(found_image, expected_image, isolated)
    assert gradients.keys() == expected_gradients.keys() and gradients
    for name, expected_gradient in expected_gradients.items():
        bound = next(value for part, value in cosines.items() if part in name)
        assert_aligned(name, gradients[name], expected_gradient, bound, ratio)


def assert_same_image(found: Tensor, expected: Tensor, isolated: float, tolerance: float = 0.02) -> None:
    """(B, H, W, C) images that differ by more than `tolerance` in a share `isolated` of their pixels at most,
    and elsewhere by a hundredth of it on average."""
    error = (found - expected).abs().amax(dim=-1)
    wrong = error > tolerance
    share, mean = float(wrong.float().mean()), float(error[~wrong].mean())
    if share <= isolated and mean < 0.01 * tolerance:
        return
    lines = [
        f"{int(wrong.sum())} pixels ({share:.3%}) differ by more than {tolerance}, others by {mean:.1e}:"
    ]
    for at in torch.nonzero(wrong)[:12].tolist():
        here = tuple(at)
        values = ([round(v, 3) for v in image[here].tolist()] for image in (found, expected))
        lines.append("view {} row {} column {}: ".format(*here) + "{}, expected {}".format(*values))
    raise AssertionError("\n".join(lines))
