"""The errors of a comparison as numbers in the true UV layout, for tools that color the surface themselves.

Needs numpy only: Houdini's Python can read no pictures.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usd_tools.errors import UserError

FILE_NAME = "errors.npz"
_COUNTED, _MAXIMUM, _UVS, _UV_FACES = "counted", "maximum_", "uvs", "uv_faces"


@dataclass(frozen=True)
class ErrorMaps:
    """errors: (H, W) by channel, row 0 at v = 1. maximum: of each channel, where its heat map is brightest.

    counted: (H, W), which texels were compared; errors are 0 elsewhere.
    uvs: (T, 2), uv_faces: (F, 3): that layout, for every triangle of the true mesh in its order. It need not
    be the stage's own one, see `uv_atlas`.
    """

    errors: Mapping[str, NDArray[np.float32]]
    maximum: Mapping[str, float]
    counted: NDArray[np.bool_]
    uvs: NDArray[np.float32]
    uv_faces: NDArray[np.int32]


def save_error_maps(path: Path, maps: ErrorMaps) -> None:
    arrays: dict[str, NDArray] = {name: error.astype(np.float16) for name, error in maps.errors.items()}
    arrays.update({f"{_MAXIMUM}{name}": np.asarray(maps.maximum[name]) for name in maps.errors})
    arrays[_COUNTED] = maps.counted
    arrays[_UVS], arrays[_UV_FACES] = maps.uvs.astype(np.float32), maps.uv_faces.astype(np.int32)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def load_error_maps(path: Path) -> ErrorMaps:
    """Reads what `save_error_maps` wrote.

    Raises:
        UserError: the file is missing or holds something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: is missing; expected a report folder of compare_textures, compare again")
    try:
        with np.load(path, allow_pickle=False) as content:
            counted = np.array(content[_COUNTED], bool)
            names = [name[len(_MAXIMUM) :] for name in content.files if name.startswith(_MAXIMUM)]
            errors = {name: np.array(content[name], np.float32) for name in names}
            maximum = {name: float(content[f"{_MAXIMUM}{name}"]) for name in names}
            uvs, uv_faces = np.array(content[_UVS], np.float32), np.array(content[_UV_FACES], np.int32)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as error maps ({error}); compare again") from None
    usable = counted.ndim == 2 and all(
        error.shape == counted.shape and np.isfinite(error).all() and maximum[name] > 0
        for name, error in errors.items()
    )
    fits = (
        uvs.shape[1:] == (2,)
        and uv_faces.shape[1:] == (3,)
        and uv_faces.size > 0
        and np.isfinite(uvs).all()
        and 0 <= uv_faces.min() <= uv_faces.max() < len(uvs)
    )
    if not (usable and fits and errors):
        raise UserError(f"{path}: its error maps do not fit together; compare again")
    return ErrorMaps(errors, maximum, counted, uvs, uv_faces)
