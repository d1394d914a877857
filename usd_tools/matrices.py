"""Matrices: pxr's row vectors become column vectors here and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def column_matrix(matrix: Any) -> Matrix:
    """A pxr GfMatrix (row vectors, `p @ M`) as an array for column vectors (`M @ p`)."""
    return np.array(matrix, np.float64).T


def row_matrix(matrix: Matrix) -> Any:
    """The inverse of `column_matrix`: a GfMatrix4d."""
    from pxr import Gf

    return Gf.Matrix4d(np.asarray(matrix, np.float64).T.tolist())


def transform_points(matrix: Matrix, points: npt.NDArray[np.floating]) -> Matrix:
    """Points (N, 3) under an affine column-vector matrix (4, 4)."""
    return np.asarray(points, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def transform_normals(matrix: Matrix, normals: npt.NDArray[np.floating]) -> Matrix:
    """Unit normals (N, 3) under an affine matrix: by its inverse transpose, so that they stay normal."""
    turned = np.asarray(normals, np.float64) @ np.linalg.inv(matrix[:3, :3])
    return unit(turned)


def unit(vectors: npt.NDArray[np.floating]) -> Matrix:
    """Vectors (..., 3) at length 1; zero vectors stay zero."""
    vectors = np.asarray(vectors, np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def nearest_rotation(matrix: Matrix) -> Matrix:
    """The orthonormal (3, 3) matrix closest to `matrix` (polar decomposition); mirrors stay mirrors."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    return left @ right
