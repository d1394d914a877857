"""Errors as numbers beside a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from usd_tools.comparison.error_maps import ErrorMaps, load_error_maps, save_error_maps
from usd_tools.errors import UserError


def example() -> ErrorMaps:
    error = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    uvs = np.array([[0, 0], [1, 0], [0, 1 / 3]], np.float32)
    return ErrorMaps(
        {"roughness": error, "normal": 40 * error},
        {"roughness": 0.5, "normal": 30.0},
        error > 0.3,
        uvs,
        np.array([[0, 1, 2], [2, 1, 0]], np.int32),
    )


def test_maps_survive_the_file(tmp_path: Path) -> None:
    save_error_maps(tmp_path / "errors.npz", example())
    loaded = load_error_maps(tmp_path / "errors.npz")
    assert set(loaded.errors) == {"roughness", "normal"} and loaded.maximum == example().maximum
    np.testing.assert_allclose(loaded.errors["normal"], example().errors["normal"], rtol=1e-3)  # half floats
    assert np.array_equal(loaded.counted, example().counted)
    assert np.array_equal(loaded.uvs, example().uvs) and np.array_equal(loaded.uv_faces, example().uv_faces)


def test_unusable_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "errors.npz"
    with pytest.raises(UserError, match="compare again"):
        load_error_maps(path)
    for content in (b"", b"PK\x03\x04 cut short", b"no archive at all"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as error maps"):
            load_error_maps(path)
    layout = {"uvs": example().uvs, "uv_faces": example().uv_faces}
    maps = {"counted": np.ones((3, 3), bool), "roughness": np.zeros((3, 3)), "maximum_roughness": 0.5}
    np.savez(path, **maps)
    with pytest.raises(UserError, match="cannot be read"):
        load_error_maps(path)
    for damage in (
        {"counted": np.ones((2, 2), bool)},
        {"uv_faces": layout["uv_faces"] + 1},
        {"uv_faces": layout["uv_faces"][:0]},
        {"uvs": np.float32(1)},
        {"uvs": np.full((3, 2), np.nan)},
    ):
        np.savez(path, **{**maps, **layout, **damage})
        with pytest.raises(UserError, match="do not fit"):
            load_error_maps(path)
    np.savez(path, **maps, **layout)
    load_error_maps(path)
    np.savez(path, counted=np.array([{}], object))
    with pytest.raises(UserError, match="cannot be read"):
        load_error_maps(path)
