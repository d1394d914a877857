"""Whether masks fit poses, which frames do not, and what would mend them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usd_tools.checking.projection import Cameras
from usd_tools.checking.silhouettes import (
    HULL_GRID,
    Array,
    Masks,
    hull_silhouette,
    mesh_silhouette,
    visual_hull,
)
from usd_tools.normalization import Y_UP_TO_Z_UP, Z_UP_TO_Y_UP

GOOD = 0.9
"""Intersection over union that a sound dataset exceeds in most of its views, at some hundred pixels."""

_SMALLEST_DEFICIT = 0.04
_DEVIATIONS = 6.0

_TRIED_VIEWS = 16
"""Views on which explanations are tried: enough to tell them apart, few enough to be quick."""

_TRIED_GRID = 40
"""Voxels per side of a visual hull on which explanations are tried."""

_SHARE_LEFT = 0.6
"""An explanation is told if it leaves less than this share of the disagreement."""


@dataclass(frozen=True)
class Mesh:
    """vertices: (V, 3) in the dataset frame. faces: (F, 3)."""

    vertices: Array
    faces: npt.NDArray[np.integer]


@dataclass(frozen=True)
class Fit:
    """silhouettes: (N, H, W) where the object should be. iou: (N,) with the masks; outliers: (N,) bool."""

    silhouettes: Masks
    iou: Array
    outliers: npt.NDArray[np.bool_]

    @property
    def usual(self) -> float:
        return float(np.median(self.iou))


def fit_masks(mesh: Mesh | None, cameras: Cameras, masks: Masks) -> Fit:
    """Compares masks (N, H, W) with the mesh's silhouettes, or with those of the masks' own visual hull."""
    silhouettes = expected_silhouettes(mesh, cameras, masks)
    iou = intersection_over_union(masks, silhouettes)
    median = np.median(iou)
    spread = 1.4826 * np.median(np.abs(iou - median))  # a standard deviation, by the median
    return Fit(silhouettes, iou, iou < median - max(_SMALLEST_DEFICIT, _DEVIATIONS * spread))


def expected_silhouettes(
    mesh: Mesh | None, cameras: Cameras, masks: Masks, hull_grid: int = HULL_GRID
) -> Masks:
    """(N, H, W) where the mesh, or the masks' visual hull, covers each picture."""
    if mesh is not None:
        drawn = [mesh_silhouette(mesh.vertices, mesh.faces, cameras, i) for i in range(len(cameras))]
    else:
        points, size = visual_hull(cameras, masks, hull_grid)
        drawn = [hull_silhouette(points, size, cameras, i) for i in range(len(cameras))]
    return np.stack(drawn)


def intersection_over_union(masks: Masks, silhouettes: Masks) -> Array:
    """(...,) of pictures (..., H, W); 1 where both are empty."""
    both = (masks & silhouettes).sum(axis=(-2, -1))
    either = (masks | silhouettes).sum(axis=(-2, -1))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def look_alike(fit: Fit, masks: Masks, index: int) -> int | None:
    """The other view whose mask is where the object should be in view `index`: pictures mixed up?"""
    found = intersection_over_union(masks, fit.silhouettes[index][None])
    best = int(np.argmax(found))
    convincing = found[best] > 0.5 * (fit.iou[index] + fit.usual)  # it mends most of what is wrong
    return best if best != index and convincing else None


Change = Callable[[Cameras, Masks], tuple[Cameras, Masks]]


def explain_misfit(mesh: Mesh | None, cameras: Cameras, masks: Masks) -> tuple[str, float] | None:
    """What systematic mistake would make the masks fit, and the median agreement without it; None if unknown.

    Tries mistakes that exporters and converters make; those that a visual hull cannot show need the mesh.
    """
    few = np.unique(np.linspace(0, len(cameras) - 1, _TRIED_VIEWS).round().astype(int))

    def agreement(cameras: Cameras, masks: Masks) -> float:
        chosen, their_masks = cameras.select(few), masks[few]
        silhouettes = expected_silhouettes(mesh, chosen, their_masks, _TRIED_GRID)
        return float(np.median(intersection_over_union(their_masks, silhouettes)))

    reached = {label: agreement(*change(cameras, masks)) for label, change in _EXPLANATIONS}
    best = max(reached, key=lambda label: reached[label])
    if 1 - reached[best] >= _SHARE_LEFT * (1 - agreement(cameras, masks)):
        return None
    return best, reached[best]


def _turned(before: Array | None = None, after: Array | None = None) -> Change:
    def change(cameras: Cameras, masks: Masks) -> tuple[Cameras, Masks]:
        poses = cameras.camera_to_world
        poses = poses if before is None else before @ poses
        poses = poses if after is None else poses @ after
        return Cameras(poses, cameras.intrinsics, cameras.size), masks

    return change


def _inverted(cameras: Cameras, masks: Masks) -> tuple[Cameras, Masks]:
    """Of the matrices as they stand in the file, in its Z-up world."""
    poses = Z_UP_TO_Y_UP @ np.linalg.inv(Y_UP_TO_Z_UP @ cameras.camera_to_world)
    return Cameras(poses.astype(np.float64), cameras.intrinsics, cameras.size), masks


def _zoomed(factor: Callable[[Cameras], float]) -> Change:
    def change(cameras: Cameras, masks: Masks) -> tuple[Cameras, Masks]:
        scale = np.array([factor(cameras), factor(cameras), 1.0, 1.0])
        return Cameras(cameras.camera_to_world, cameras.intrinsics * scale, cameras.size), masks

    return change


def _masks_only(change: Callable[[Masks], Masks]) -> Change:
    return lambda cameras, masks: (cameras, change(masks))


_EXPLANATIONS: tuple[tuple[str, Change], ...] = (
    (
        "the cameras look along +z with y down, as OpenCV has it; negate the y and z columns of the poses",
        _turned(after=np.diag([1.0, -1.0, -1.0, 1.0])),
    ),
    ("the poses are world-to-camera matrices; invert them", _inverted),
    ("the world of the poses is Z-up and was taken as Y-up", _turned(before=Z_UP_TO_Y_UP)),
    ("the world of the poses is Y-up and was taken as Z-up", _turned(before=Y_UP_TO_Z_UP)),
    ("the pictures are upside down", _masks_only(lambda masks: masks[:, ::-1])),
    ("the pictures are mirrored left to right", _masks_only(lambda masks: masks[:, :, ::-1])),
    ("the masks are inverted: white has to be the object", _masks_only(np.logical_not)),
    ("the pictures run backwards against the poses", _masks_only(lambda masks: masks[::-1])),
    *(
        (
            f"the pictures are {abs(k)} frame(s) {'late' if k > 0 else 'early'} against the poses; "
            "shift the frames",
            _masks_only(lambda masks, k=k: np.roll(masks, -k, axis=0)),  # type: ignore[misc]
        )
        for k in (1, -1, 2, -2, 3, -3)
    ),
    ("the focal length is half of what it should be", _zoomed(lambda cameras: 2.0)),
    ("the focal length is twice what it should be", _zoomed(lambda cameras: 0.5)),
    (
        "the field of view is meant for the other side of the picture (vertical, not horizontal)",
        _zoomed(lambda cameras: cameras.size[0] / cameras.size[1]),
    ),
    (
        "the field of view is meant for the other side of the picture (horizontal, not vertical)",
        _zoomed(lambda cameras: cameras.size[1] / cameras.size[0]),
    ),
)
