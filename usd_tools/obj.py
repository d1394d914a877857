"""Wavefront OBJ: reading and writing triangle meshes with texture coordinates and normals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usd_tools.errors import UserError
from usd_tools.files import atomic_file

# Beyond this a coordinate is a broken export, and float32 arithmetic on it (areas, squared distances)
# would no longer be finite.
_LARGEST_COORDINATE = 1e12

_LARGEST_ROW = 1 << 40  # beyond any mesh, and well within 64 bits

# Statement of the .mtl file that names each channel's image; Pr, Pm and norm are the PBR extension that
# Houdini, Blender and tinyobjloader read.
_MTL_STATEMENTS = {"albedo": "map_Kd", "roughness": "map_Pr", "metallic": "map_Pm", "normal": "norm"}


@dataclass(frozen=True)
class ObjMesh:
    """A triangle mesh whose corners index positions, texture coordinates and normals separately.

    vertices: (V, 3) positions. faces: (F, 3) rows of `vertices`, counter-clockwise seen from outside.
    uvs: (T, 2) with v up, or None. uv_faces: (F, 3) rows of `uvs`, None exactly when `uvs` is.
    normals: (K, 3) as the file has them (not necessarily of unit length), or None. normal_faces: (F, 3)
        rows of `normals`, None exactly when `normals` is.
    """

    vertices: NDArray[np.floating]
    faces: NDArray[np.integer]
    uvs: NDArray[np.floating] | None = None
    uv_faces: NDArray[np.integer] | None = None
    normals: NDArray[np.floating] | None = None
    normal_faces: NDArray[np.integer] | None = None


def read_obj(path: str | Path) -> ObjMesh:
    """Reads the surfaces of an OBJ file as one float64 mesh; polygons become triangle fans.

    Groups, materials, lines, points and free-form statements are passed over. Negative (relative) indices
    and continued lines are understood.

    Raises UserError, with file and line, for a malformed statement, an index out of range, a coordinate
    that is not finite or beyond 1e12, and faces of which only some carry texture coordinates or normals.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected an OBJ mesh") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; expected an OBJ mesh") from None
    return _Parser(path).parse(lines)


class _Parser:
    """Collects an OBJ's statements in flat lists, with the line of each for error messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Values per element: positions 3, texture coordinates 2, normals 3 (order of a corner's indices).
        self.widths = (3, 2, 3)
        self.names = ("vertex", "texture coordinate", "normal")
        self.values: tuple[list[float], list[float], list[float]] = ([], [], [])
        self.value_lines: tuple[list[int], list[int], list[int]] = ([], [], [])
        self.corners: tuple[list[int], list[int], list[int]] = ([], [], [])
        self.face_sizes: list[int] = []
        self.face_lines: list[int] = []

    def parse(self, lines: Sequence[str]) -> ObjMesh:
        slots = {"v": 0, "vt": 1, "vn": 2}
        number = 0
        pending: list[str] = []
        try:
            for number, raw in enumerate(lines, 1):
                if raw.endswith("\\"):
                    pending.append(raw[:-1])
                    continue
                line = " ".join([*pending, raw]) if pending else raw
                pending.clear()
                words = line.partition("#")[0].split()
                if not words:
                    continue
                if words[0] == "f":
                    self._face(words[1:], number)
                elif words[0] in slots:
                    self._element(slots[words[0]], words[1:], number)
        except ValueError as error:
            raise self._error(number, f"malformed statement ({error})") from None
        if not self.values[0] or not self.face_sizes:
            raise UserError(f"{self.path}: no vertices or no faces; expected an OBJ with a polygon mesh")
        return self._mesh()

    def _element(self, slot: int, words: list[str], number: int) -> None:
        width = self.widths[slot]
        values = [float(word) for word in words[:width]]
        if slot == 1 and len(values) == 1:  # the format's one-dimensional texture coordinate
            values.append(0.0)
        if len(values) != width:
            raise self._error(number, f"a {self.names[slot]} needs {width} numbers, found {len(values)}")
        self.values[slot].extend(values)
        self.value_lines[slot].append(number)

    def _face(self, words: list[str], number: int) -> None:
        if len(words) < 3:
            raise self._error(number, f"a face needs at least 3 corners, found {len(words)}")
        counts = [len(lines) for lines in self.value_lines]
        for word in words:
            parts = word.split("/")
            if len(parts) > 3:
                raise self._error(number, f"corner '{word}' has more than 3 indices")
            for slot in range(3):
                part = parts[slot] if slot < len(parts) else ""
                if not part:
                    if slot == 0:
                        raise self._error(number, f"corner '{word}' names no vertex")
                    continue
                index = int(part)
                # Indices count from 1; negative ones from the latest element backwards.
                row = index - 1 if index > 0 else counts[slot] + index
                if index == 0 or row < 0 or row > _LARGEST_ROW:
                    raise self._error(number, f"{self.names[slot]} index {index} is out of range")
                self.corners[slot].append(row)
        for slot in (1, 2):
            found = len(self.corners[slot])
            if found not in (0, len(self.corners[0])):
                raise self._error(
                    number, f"only some corners have a {self.names[slot]} index; expected all or none"
                )
        self.face_sizes.append(len(words))
        self.face_lines.append(number)

    def _mesh(self) -> ObjMesh:
        sizes = np.asarray(self.face_sizes, np.int64)
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        # Fan of a polygon with n corners: triangles (0, i, i + 1) for i = 1 .. n - 2.
        per_face = sizes - 2
        face = np.repeat(np.arange(len(sizes)), per_face)
        step = np.arange(len(face)) - np.repeat(np.cumsum(per_face) - per_face, per_face) + 1
        fan = first[face][:, None] + np.stack([np.zeros_like(step), step, step + 1], axis=1)

        elements: list[NDArray[np.float64] | None] = []
        indices: list[NDArray[np.int64] | None] = []
        for slot in range(3):
            if not self.corners[slot]:
                elements.append(None)
                indices.append(None)
                continue
            values = np.asarray(self.values[slot], np.float64).reshape(-1, self.widths[slot])
            bad = ~(np.abs(values) <= _LARGEST_COORDINATE).all(axis=1)
            if bad.any():
                row = int(np.argmax(bad))
                raise self._error(
                    self.value_lines[slot][row],
                    f"{self.names[slot]} {values[row].tolist()} is not finite or beyond 1e12",
                )
            corners = np.asarray(self.corners[slot], np.int64)
            outside = corners >= len(values)
            if outside.any():
                corner = int(np.argmax(outside))
                line = self.face_lines[int(np.searchsorted(first, corner, side="right")) - 1]
                raise self._error(
                    line,
                    f"{self.names[slot]} index {corners[corner] + 1} is out of range, "
                    f"the file has {len(values)}",
                )
            elements.append(values)
            indices.append(corners[fan])
        vertices, faces = elements[0], indices[0]
        assert vertices is not None and faces is not None  # a face always has vertex indices
        return ObjMesh(vertices, faces, elements[1], indices[1], elements[2], indices[2])

    def _error(self, line: int, what: str) -> UserError:
        return UserError(f"{self.path}, line {line}: {what}; export the mesh again")


def write_obj(
    path: str | Path,
    mesh: ObjMesh,
    material: str | None = None,
    mtl_maps: Mapping[str, str] | None = None,
) -> None:
    """Writes `mesh` as OBJ and, if `material` is given, an .mtl of the same stem beside it.

    Numbers have 9 significant digits, enough for float32 to come back bit by bit.

    material: the material's name. mtl_maps: image file name (relative to the OBJ) of each of the channels
    `albedo` (map_Kd), `roughness` (map_Pr), `metallic` (map_Pm) and `normal` (norm).
    """
    path = Path(path)
    maps = dict(mtl_maps or {})
    unknown = sorted(set(maps) - set(_MTL_STATEMENTS))
    if unknown:
        raise ValueError(f"mtl_maps: unknown channels {unknown}; expected some of {sorted(_MTL_STATEMENTS)}")
    if maps and material is None:
        raise ValueError("mtl_maps: images need a material to belong to; give its name")

    blocks = []
    if material is not None:
        blocks.append(f"mtllib {path.with_suffix('.mtl').name}\n")
    for keyword, values in (("v", mesh.vertices), ("vt", mesh.uvs), ("vn", mesh.normals)):
        if values is not None:
            pattern = keyword + " %.9g" * values.shape[1] + "\n"
            blocks.append((pattern * len(values)) % tuple(values.ravel().tolist()))
    if material is not None:
        blocks.append(f"usemtl {material}\n")
    blocks.append(_face_block(mesh))
    with atomic_file(path) as temporary:
        temporary.write_text("".join(blocks), encoding="utf-8", newline="\n")
        if material is not None:
            _write_mtl(path.with_suffix(".mtl"), material, maps)


def _write_mtl(path: Path, material: str, maps: Mapping[str, str]) -> None:
    # The neutral factors make viewers show the maps as they are.
    statements = [f"newmtl {material}", "Kd 1 1 1", "Pr 1", "Pm 1" if "metallic" in maps else "Pm 0"]
    statements += [f"{_MTL_STATEMENTS[channel]} {name}" for channel, name in maps.items()]
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(statements) + "\n", encoding="utf-8", newline="\n")


def _face_block(mesh: ObjMesh) -> str:
    columns = [mesh.faces]
    pattern = "%d"
    if mesh.uv_faces is not None:
        columns.append(mesh.uv_faces)
        pattern += "/%d"
    if mesh.normal_faces is not None:
        columns.append(mesh.normal_faces)
        pattern += "/%d" if mesh.uv_faces is not None else "//%d"
    corners = np.stack(columns, axis=-1) + 1
    line = "f " + " ".join([pattern] * 3) + "\n"
    return (line * len(corners)) % tuple(corners.ravel().tolist())
