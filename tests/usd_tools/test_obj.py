"""OBJ files: round trip, the format's corners, and refusals that name file and line."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.shapes import uv_sphere
from usd_tools.errors import UserError
from usd_tools.obj import ObjMesh, read_obj, write_obj

_SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


def _read(tmp_path, text):
    path = tmp_path / "mesh.obj"
    path.write_text(text)
    return read_obj(path)


def test_round_trip_keeps_float32_bits(tmp_path):
    rng = np.random.default_rng(0)
    sphere = uv_sphere(6, 8)
    vertices = (sphere.vertices * rng.uniform(1e-3, 1e3, sphere.vertices.shape)).astype(np.float32)
    mesh = ObjMesh(
        vertices,
        sphere.faces,
        sphere.uvs.astype(np.float32),
        sphere.uv_faces,
        sphere.normals.astype(np.float32),
        sphere.normal_faces,
    )
    write_obj(tmp_path / "out.obj", mesh)
    back = read_obj(tmp_path / "out.obj")
    for name in ("vertices", "uvs", "normals"):
        assert np.array_equal(getattr(back, name).astype(np.float32), getattr(mesh, name)), name
    for name in ("faces", "uv_faces", "normal_faces"):
        assert np.array_equal(getattr(back, name), getattr(mesh, name)), name
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.obj"]


@pytest.mark.parametrize("channels", ["uvs", "normals", "neither"])
def test_round_trip_of_partial_meshes(tmp_path, channels):
    full = uv_sphere(4, 5)
    mesh = ObjMesh(
        full.vertices,
        full.faces,
        *((full.uvs, full.uv_faces) if channels == "uvs" else (None, None)),
        *((full.normals, full.normal_faces) if channels == "normals" else (None, None)),
    )
    write_obj(tmp_path / "out.obj", mesh)
    back = read_obj(tmp_path / "out.obj")
    assert np.array_equal(back.faces, mesh.faces)
    assert (back.uvs is None) == (mesh.uvs is None)
    assert (back.normals is None) == (mesh.normals is None)


def test_material_file_names_the_maps(tmp_path):
    maps = {"albedo": "albedo.png", "roughness": "r.png", "metallic": "m.png", "normal": "n.png"}
    write_obj(tmp_path / "a.obj", uv_sphere(4, 5), "painted", maps)
    text = (tmp_path / "a.mtl").read_text().splitlines()
    assert "newmtl painted" in text
    for statement in ("map_Kd albedo.png", "map_Pr r.png", "map_Pm m.png", "norm n.png"):
        assert statement in text
    obj = (tmp_path / "a.obj").read_text()
    assert obj.startswith("mtllib a.mtl\n") and "\nusemtl painted\nf " in obj
    with pytest.raises(ValueError, match="gloss"):
        write_obj(tmp_path / "a.obj", uv_sphere(4, 5), "painted", {"gloss": "g.png"})


def test_polygons_become_fans_and_negative_indices_count_back(tmp_path):
    mesh = _read(tmp_path, _SQUARE + "vt 0.5\nvt .25 .75\nf -4/-2 2/-1 -2/2 4/1 # a quad\nv 9 9 9\n")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv_faces.tolist() == [[0, 1, 1], [0, 1, 0]]
    assert mesh.uvs.tolist() == [[0.5, 0.0], [0.25, 0.75]]
    assert mesh.normals is None


def test_mixed_polygon_sizes_comments_and_continued_lines(tmp_path):
    text = (
        "# head\no name\n" + _SQUARE + "v 2 2 \\\n 2 0.5 0.5 0.5\nf 1 2 3\nf 1 2 3 4 5\nl 1 2\nf 1 3 \\\n5\n"
    )
    mesh = _read(tmp_path, text)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 2, 4]]
    assert mesh.vertices[4].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (_SQUARE + "f 1 2 9\n", 5, "out of range"),
        (_SQUARE + "f 1 2 0\n", 5, "out of range"),
        (_SQUARE + "f 1 2 -5\n", 5, "out of range"),
        (_SQUARE + "f 1 2\n", 5, "at least 3 corners"),
        (_SQUARE + "f 1 2 x\n", 5, "malformed"),
        (_SQUARE + "f 1 2 /3\n", 5, "names no vertex"),
        (_SQUARE + "vt 0 0\nf 1/1 2/1 3/1\nf 1 2 3\n", 7, "all or none"),
        (_SQUARE + "f 1/1 2/1 3/1\n", 5, "out of range"),
        ("v 0 0 0\nv 1 nan 0\nv 1 1 0\nf 1 2 3\n", 2, "finite"),
        ("v 0 0 0\nv 1 1e30 0\nv 1 1 0\nf 1 2 3\n", 2, "1e12"),
        ("v 0 0 0\nv 1 0\nv 1 1 0\nf 1 2 3\n", 2, "needs 3 numbers"),
        ("v 0 0 zero\n", 1, "malformed"),
    ],
)
def test_malformed_files_are_refused_by_line(tmp_path, text, line, words):
    with pytest.raises(UserError) as caught:
        _read(tmp_path, text)
    assert f"mesh.obj, line {line}:" in str(caught.value)
    assert words in str(caught.value)


def test_missing_and_empty_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_obj(tmp_path / "none.obj")
    with pytest.raises(UserError, match="no vertices or no faces"):
        _read(tmp_path, "# nothing\n")
    with pytest.raises(UserError, match="no vertices or no faces"):
        _read(tmp_path, _SQUARE)


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "taken.obj").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        write_obj(tmp_path / "taken.obj", uv_sphere(4, 5))
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken.obj"]


def test_a_large_mesh_reads_quickly(tmp_path):
    mesh = uv_sphere(160, 320)
    write_obj(tmp_path / "large.obj", mesh)
    start = time.perf_counter()
    back = read_obj(tmp_path / "large.obj")
    seconds = time.perf_counter() - start
    assert len(back.faces) == len(mesh.faces) > 100_000
    assert seconds < 6  # about 1 s on one idle core; the margin is for busy machines
