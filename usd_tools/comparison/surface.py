"""A triangle surface that can be searched: points on it, nearest points, rays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SurfacePoints:
    """N points on a surface.

    face: (N,) int64, the triangle of each; -1 where a search found none.
    barycentrics: (N, 3) float64 weights of the triangle's corners; meaningless where face is -1.
    """

    face: NDArray[np.int64]
    barycentrics: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.face)

    def __getitem__(self, index: NDArray) -> SurfacePoints:
        return SurfacePoints(self.face[index], self.barycentrics[index])

    @property
    def found(self) -> NDArray[np.bool_]:
        return self.face >= 0

    def interpolate(self, values: NDArray, value_faces: NDArray) -> NDArray[np.float64]:
        """(N, C) of per-corner `values` (K, C) indexed by `value_faces` (F, 3)."""
        return np.einsum("nk,nkc->nc", self.barycentrics, values[value_faces[self.face]])


class Surface:
    """Triangles with a bounding volume hierarchy (NVIDIA Warp) over them.

    vertices (V, 3), faces (F, 3); counter-clockwise faces are seen from outside. Searches run in float32 on
    Warp's default device.
    """

    def __init__(self, vertices: NDArray, faces: NDArray) -> None:
        import warp as wp

        from usd_tools.comparison import kernels

        self.vertices = np.asarray(vertices, np.float64)
        self.faces = np.asarray(faces, np.int64)
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        cross = np.cross(b - a, c - a)
        length = np.linalg.norm(cross, axis=1)
        self.areas = 0.5 * length
        self.normals = cross / np.where(length > 0, length, 1.0)[:, None]
        self._kernels = kernels
        self._device = wp.get_device()
        self._mesh = wp.Mesh(
            points=wp.array(self.vertices.astype(np.float32), dtype=wp.vec3, device=self._device),
            indices=wp.array(self.faces.astype(np.int32).ravel(), dtype=int, device=self._device),
        )

    @property
    def half_extent(self) -> float:
        """Half of the bounding box's longest side."""
        used = self.vertices[self.faces].reshape(-1, 3)
        return float((used.max(axis=0) - used.min(axis=0)).max() / 2)

    def positions(self, points: SurfacePoints) -> NDArray[np.float64]:
        return points.interpolate(self.vertices, self.faces)

    def closest(self, positions: NDArray, reach: float = 1e8) -> SurfacePoints:
        """The point of the surface nearest to each of `positions` (N, 3), if within `reach`."""
        found, outputs = self._outputs(len(positions))
        self._launch("closest_point", len(positions), [self._vectors(positions), reach, *outputs])
        return found()

    def closest_agreeing(
        self, positions: NDArray, normals: NDArray, reach: float, min_cosine: float
    ) -> SurfacePoints:
        """The nearest point within `reach` whose face normal has a cosine > `min_cosine` with `normals`."""
        found, outputs = self._outputs(len(positions))
        queries = [self._vectors(self.normals), self._vectors(positions), self._vectors(normals)]
        self._launch("closest_agreeing_point", len(positions), [*queries, reach, min_cosine, *outputs])
        return found()

    def first_hit(self, origins: NDArray, directions: NDArray) -> SurfacePoints:
        """Where rays from `origins` along unit `directions`, each (N, 3), meet the surface first."""
        found, outputs = self._outputs(len(origins))
        rays = [self._vectors(origins), self._vectors(directions)]
        self._launch("first_hit", len(origins), [*rays, *outputs])
        return found()

    def seen(
        self,
        points: SurfacePoints,
        world_to_camera: NDArray,
        origins: NDArray,
        intrinsics: NDArray,
        sizes: NDArray,
    ) -> NDArray[np.bool_]:
        """(N,) whether at least one pinhole camera sees each of the surface's own `points`.

        That is: inside the image, on the side its face turns outwards, and unoccluded.

        world_to_camera: (B, 4, 4), column vectors, OpenGL camera. origins: (B, 3). intrinsics: (B, 4) fx, fy,
        cx, cy in pixels from the image's top-left edge. sizes: (B, 2) width and height in pixels.
        """
        import warp as wp

        seen = wp.zeros(len(points), dtype=wp.uint8, device=self._device)
        inputs = [
            self._vectors(self.positions(points)),
            self._vectors(self.normals[points.face]),
            wp.array(world_to_camera.astype(np.float32), dtype=wp.mat44, device=self._device),
            self._vectors(origins),
            wp.array(intrinsics.astype(np.float32), dtype=wp.vec4, device=self._device),
            wp.array(sizes.astype(np.float32), dtype=wp.vec2, device=self._device),
            # Rays start a little off the surface, lest rounding makes a face hide itself.
            1e-4 * self.half_extent,
            seen,
        ]
        self._launch("seen_by_cameras", len(points), inputs)
        return seen.numpy().astype(bool)

    def _vectors(self, values: NDArray) -> Any:
        import warp as wp

        return wp.array(np.ascontiguousarray(values, np.float32), dtype=wp.vec3, device=self._device)

    def _outputs(self, count: int) -> tuple[Any, list[Any]]:
        """Arrays for a search's faces and weights, and a function that reads them once it has run."""
        import warp as wp

        face = wp.empty(count, dtype=int, device=self._device)
        weights = wp.zeros(count, dtype=wp.vec2, device=self._device)

        def found() -> SurfacePoints:
            uv = weights.numpy().astype(np.float64).reshape(-1, 2)
            barycentrics = np.concatenate([uv, 1 - uv.sum(axis=1, keepdims=True)], axis=1)
            return SurfacePoints(face.numpy().astype(np.int64), barycentrics)

        return found, [face, weights]

    def _launch(self, kernel: str, count: int, inputs: list[Any]) -> None:
        if count:
            self._kernels.launch(
                getattr(self._kernels, kernel), count, [self._mesh.id, *inputs], self._device
            )
