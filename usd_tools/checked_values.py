"""What files say, checked: JSON objects, finite numbers, rigid poses.

`where` names file and place in the error that is raised for anything else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.errors import UserError

Matrix = npt.NDArray[np.float64]

_LARGEST = 1e12


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; the dataset is incomplete") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON ({error}); write the dataset again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def checked_pose(values: object, where: str) -> Matrix:
    """`values` as a rigid (4, 4) camera-to-world matrix; a (3, 4) one gets its last row."""
    matrix = numbers(values, where)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    if matrix.shape != (4, 4) or not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        raise UserError(f"{where}: expected a 4x4 camera-to-world matrix that ends in 0 0 0 1")
    return _with_checked_rotation(matrix, where)


def checked_rotation(values: object, where: str) -> Matrix:
    """`values` as a (3, 3) rotation."""
    matrix = numbers(values, where)
    if matrix.shape != (3, 3):
        raise UserError(f"{where}: expected a 3x3 rotation matrix, got shape {matrix.shape}")
    return _with_checked_rotation(matrix, where)


def numbers(values: object, where: str) -> Matrix:
    """`values` as an array of float64, finite and within 1e12, so that sums and products of them are, too."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            raise TypeError("complex numbers")
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: expected numbers, got {str(values)[:60]!r}") from error
    if not (np.abs(array) <= _LARGEST).all():
        raise UserError(f"{where}: holds NaN, Inf or numbers beyond {_LARGEST:g}; write finite numbers")
    return array


def positive(value: object, where: str) -> float:
    """`value` as one finite number above 0."""
    number = one_number(value, where)
    if number <= 0:
        raise UserError(f"{where}: expected one number above 0, got {value!r}")
    return number


def one_number(value: object, where: str) -> float:
    """`value` as one finite number."""
    array = numbers(value, where)
    if array.shape != ():
        raise UserError(f"{where}: expected one number, got {str(value)[:60]!r}")
    return float(array)


def _with_checked_rotation(matrix: Matrix, where: str) -> Matrix:
    rotation = matrix[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if not error <= 1e-3 or np.linalg.det(rotation) < 0:
        raise UserError(f"{where}: expected a rotation (orthonormal, not mirrored); remove scale and shear")
    return matrix
