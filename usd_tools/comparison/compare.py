"""The comparison itself: two assets in one frame, in; figures and pictures, out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usd_tools.comparison.asset import Asset, Material
from usd_tools.comparison.bake import Place, bake, error_maps, write_pictures
from usd_tools.comparison.error_maps import ErrorMaps
from usd_tools.comparison.matching import match
from usd_tools.comparison.metrics import constant_material, geometry_metrics, material_metrics
from usd_tools.comparison.pixels import uv_layout, view_from
from usd_tools.comparison.sampling import sample_surface
from usd_tools.comparison.surface import SurfacePoints
from usd_tools.comparison.visibility import TrainingCameras, visible
from usd_tools.errors import UserError

DEFAULT_SAMPLES = 200_000


@dataclass(frozen=True)
class TrueSurface:
    """The true asset, sampled where it counts; shared by all that is compared with it.

    cameras: what they see counts; None: everything does. samples: how many points before what is unseen is
    left out. seed: of the sampling.
    """

    asset: Asset
    cameras: TrainingCameras | None
    samples: int = DEFAULT_SAMPLES
    seed: int = 0

    @cached_property
    def points(self) -> SurfacePoints:
        """The samples: uniform by area, seen by a training camera."""
        points = sample_surface(self.asset.surface, self.samples, self.seed)
        points = points[visible(self.asset.surface, points, self.cameras)]
        if not len(points):
            raise UserError(
                f"{self.asset.name}: no training camera sees the surface; expected the same dataset's cameras"
            )
        return points

    @cached_property
    def material(self) -> Material:
        return self.asset.material(self.points)

    @cached_property
    def constant(self) -> dict[str, Any]:
        """The figures of the best constant material, and the material itself."""
        constant, values = constant_material(self.material, self.asset.smooth_normals(self.points))
        figures = material_metrics(constant, self.material)
        # A constant is free to have the best color from the start: scaling has nothing to add.
        figures.update(albedo_scale=[1.0, 1.0, 1.0], albedo_mae_aligned=figures["albedo_mae"])
        return {**figures, "material": values}

    def places(self, resolution: int) -> list[Place]:
        """Two opposite views of the asset, and its texture layout at `resolution`."""
        views = [view_from(self.asset, position, min(resolution, 480)) for position in self._viewpoints()]
        layouts = {"front": views[0], "back": views[1], "texture": uv_layout(self.asset, resolution)}
        return [
            Place(name, pixels, visible(self.asset.surface, pixels.points, self.cameras), name == "texture")
            for name, pixels in layouts.items()
        ]

    def _viewpoints(self) -> list[NDArray[np.float64]]:
        """The most level camera and the one most opposed to it; three-quarter views without cameras."""
        if self.cameras is None:
            diagonal = 3 * self.asset.surface.half_extent * np.array([1.0, 0.8, 1.6])
            return [diagonal, diagonal * [-1, 1, -1]]
        positions = self.cameras.camera_to_world[:, :3, 3]
        directions = positions / np.linalg.norm(positions, axis=1, keepdims=True).clip(1e-12)
        level = int(np.argmin(np.round(np.abs(directions[:, 1]), 3)))
        return [positions[level], positions[np.argmin(directions @ directions[level])]]


def compare_assets(recovered: Asset, truth: TrueSurface) -> dict[str, Any]:
    """The figures of the contract's `metrics.json`.

    Material figures: over the samples of `truth` that have a match (see `matching`). `hole_penalized` holds
    the same with each unmatched sample at the largest error possible: comparing runs by it, holes cannot win.

    Geometry: from the true samples to the nearest recovered point, whatever its normal, and from as many
    recovered samples to the nearest true point; of the latter only those that a training camera sees on the
    recovered surface itself, because what lies hidden inside it disturbs nobody.
    """
    surface, half_extent = truth.asset.surface, truth.asset.surface.half_extent
    positions = surface.positions(truth.points)
    matches = match(recovered.surface, positions, surface.normals[truth.points.face], half_extent)
    found = matches.found
    material = recovered.material(matches[found])

    nearest = recovered.surface.closest(positions)
    forth = np.linalg.norm(recovered.surface.positions(nearest) - positions, axis=1)
    points = sample_surface(recovered.surface, truth.samples, truth.seed)
    points = points[visible(recovered.surface, points, truth.cameras)]
    back_positions = recovered.surface.positions(points)
    nearest = surface.closest(back_positions)
    back = np.linalg.norm(surface.positions(nearest) - back_positions, axis=1)
    return {
        **material_metrics(material, truth.material[found]),
        **geometry_metrics(forth / half_extent, back / half_extent),
        "coverage": float(found.mean()),
        "samples": len(truth.points),
        "seed": truth.seed,
        "constant": truth.constant,
        "hole_penalized": material_metrics(material, truth.material[found], truth.material[~found]),
    }


def write_all_pictures(
    folder: Path,
    name: str,
    recovered: Asset,
    truth: TrueSurface,
    places: list[Place],
    scale: NDArray,
    on_step: Callable[[str], None] = lambda what: None,
) -> tuple[list[str], ErrorMaps]:
    """Bakes every channel at every place into PNGs in `folder`.

    scale: (3,) factors on the recovered albedo for the aligned pictures. Returns the channels' names, and
    their errors in the texture layout, which has to be one of the places.
    """
    channels: list[str] = []
    errors: ErrorMaps | None = None
    for place in places:
        on_step(f"pictures: {place.name}")
        pictures = bake(recovered, truth.asset, place, scale)
        write_pictures(folder, place.name, name, pictures)
        channels = list(pictures)
        if place.is_texture:
            errors = error_maps(pictures, truth.asset)
    assert errors is not None, "one of the places is the texture layout"
    return channels, errors
