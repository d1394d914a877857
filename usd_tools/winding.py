"""Whether a point lies inside a triangle mesh."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def winding_number(
    point: npt.NDArray[np.floating], vertices: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]
) -> float:
    """Generalized winding number of `point` (3,): 1 inside a closed mesh, 0 outside, between for open ones.

    The sum of signed solid angles (Van Oosterom and Strackee 1983; Jacobson et al. 2013).
    """
    a, b, c = (vertices[faces[:, corner]] - point for corner in range(3))
    la, lb, lc = (np.linalg.norm(edge, axis=1) for edge in (a, b, c))
    numerator = np.einsum("ij,ij->i", a, np.cross(b, c))
    denominator = (
        la * lb * lc
        + np.einsum("ij,ij->i", a, b) * lc
        + np.einsum("ij,ij->i", b, c) * la
        + np.einsum("ij,ij->i", c, a) * lb
    )
    return float(np.arctan2(numerator, denominator).sum() / (2 * np.pi))


def is_inside(
    point: npt.NDArray[np.floating], vertices: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]
) -> bool:
    """Whether a mesh with outward faces encloses `point`."""
    used = vertices[np.unique(faces)]
    if (point < used.min(axis=0)).any() or (point > used.max(axis=0)).any():
        return False
    return winding_number(point, vertices, faces) > 0.5
