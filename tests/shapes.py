"""Analytic surfaces as meshes, for tests."""

from __future__ import annotations

import numpy as np

from usd_tools.obj import ObjMesh


def uv_sphere(rows: int = 32, columns: int = 64, mirrored: bool = False) -> ObjMesh:
    """A unit sphere, y up, u running eastwards (counter-clockwise seen from +y), v from south to north.

    The seam and the poles have uvs of their own; the faces at the poles are single triangles. `mirrored`
    lets u run the other way.
    """
    v, u = np.meshgrid(np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1), indexing="ij")
    polar, azimuth = np.pi * v, 2 * np.pi * u
    points = np.stack(
        [np.sin(polar) * np.sin(azimuth), -np.cos(polar), np.sin(polar) * np.cos(azimuth)], axis=-1
    ).reshape(-1, 3)
    ids = np.arange(len(points)).reshape(rows + 1, columns + 1)
    a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]
    lower = np.stack([a, b, c], axis=-1)[1:].reshape(-1, 3)
    upper = np.stack([a, c, d], axis=-1)[:-1].reshape(-1, 3)
    uv_faces = np.concatenate([lower, upper])
    uvs = np.stack([1 - u if mirrored else u, v], axis=-1).reshape(-1, 2)

    # Weld the seam and the poles in space.
    welded = ids.copy()
    welded[:, -1] = welded[:, 0]
    welded[0], welded[-1] = welded[0, 0], welded[-1, 0]
    used, inverse = np.unique(welded.ravel(), return_inverse=True)
    faces = inverse.reshape(-1)[uv_faces]
    vertices = points[used]
    return ObjMesh(vertices, faces, uvs, uv_faces, vertices.copy(), faces)


def area_and_volume(vertices: np.ndarray, faces: np.ndarray) -> tuple[float, float]:
    """Area, and the volume enclosed by counter-clockwise faces."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    return float(area), float((a * np.cross(b, c)).sum() / 6)


def assert_watertight(faces: np.ndarray) -> None:
    """Every directed edge occurs once, and its opposite once."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed, counts = np.unique(edges, axis=0, return_counts=True)
    assert counts.max() == 1, "an edge is used twice in one direction"
    opposite = np.unique(edges[:, ::-1], axis=0)
    assert np.array_equal(directed, opposite), "an edge has a face on one side only"


def euler_characteristic(vertices: np.ndarray, faces: np.ndarray) -> int:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return len(np.unique(faces)) - len(np.unique(edges, axis=0)) + len(faces)
