"""COLMAP's text models: cameras.txt, images.txt, points3D.txt.

Format: https://colmap.github.io/format.html. Poses there are world-to-camera, as quaternion (w, x, y, z) and
translation; the camera looks along +z with y down. Here poses are camera-to-world with OpenGL cameras (look
along -z, y up), as everywhere in this package. Pixel figures agree: from the picture's top-left edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from usd_tools.checked_values import Matrix
from usd_tools.errors import UserError
from usd_tools.files import atomic_file

_LARGEST_SIDE = 1 << 16


@dataclass(frozen=True)
class ColmapImage:
    """name: of the picture's file, relative to a folder of pictures. camera_to_world: (4, 4), OpenGL camera.

    intrinsics: fx, fy, cx, cy in pixels. size: width and height.
    """

    name: str
    camera_to_world: Matrix
    intrinsics: tuple[float, float, float, float]
    size: tuple[int, int]


_Camera = tuple[tuple[float, float, float, float], tuple[int, int]]
_GL_TO_CV = np.diag([1.0, -1.0, -1.0, 1.0])


def read_colmap(folder: str | Path) -> list[ColmapImage]:
    """The posed images of a text model, in the order of their names.

    Raises:
        UserError: a file is missing or malformed, or a camera has another model than (SIMPLE_)PINHOLE.
    """
    folder = Path(folder)
    if not (folder / "images.txt").is_file() and (folder / "images.bin").is_file():
        raise UserError(
            f"{folder}: is a binary model; convert it by: colmap model_converter --input_path {folder} "
            f"--output_path {folder} --output_type TXT"
        )
    cameras = _read_cameras(folder / "cameras.txt")
    path = folder / "images.txt"
    images = []
    lines = _lines(path)
    for number, line in lines:
        if not line:
            continue
        where = f"{path}, line {number}"
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise UserError(f"{where}: expected IMAGE_ID, QW QX QY QZ, TX TY TZ, CAMERA_ID and NAME")
        figures = _numbers(words[1:8], where)
        if words[8] not in cameras:
            raise UserError(f"{where}: camera {words[8]} is not in cameras.txt; export the model again")
        norm = np.linalg.norm(figures[:4])
        if not 0.5 < norm < 2:
            raise UserError(f"{where}: expected a rotation as a unit quaternion QW QX QY QZ")
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3] = _rotation_of_quaternion(figures[:4] / norm)
        world_to_camera[:3, 3] = figures[4:]
        pose: Matrix = np.linalg.inv(world_to_camera).astype(np.float64) @ _GL_TO_CV
        images.append(ColmapImage(words[9], pose, *cameras[words[8]]))
        next(lines, None)  # the image's points, which may be none
    if not images:
        raise UserError(f"{path}: holds no images; expected a finished reconstruction")
    return sorted(images, key=lambda image: image.name)


def _read_cameras(path: Path) -> dict[str, _Camera]:
    cameras: dict[str, _Camera] = {}
    for number, line in _lines(path):
        if not line:
            continue
        where = f"{path}, line {number}"
        words = line.split()
        if len(words) < 4:
            raise UserError(f"{where}: expected CAMERA_ID, MODEL, WIDTH, HEIGHT and parameters")
        model, expected = words[1], {"PINHOLE": 4, "SIMPLE_PINHOLE": 3}.get(words[1])
        if expected is None:
            raise UserError(
                f"{where}: camera model {model} has lens distortion; expected PINHOLE or SIMPLE_PINHOLE; run "
                "colmap image_undistorter first"
            )
        figures = _numbers(words[2:], where)
        if len(figures) != 2 + expected:
            raise UserError(f"{where}: {model} has {expected} parameters, found {len(figures) - 2}")
        width, height, *parameters = figures.tolist()
        fx, fy, cx, cy = parameters if expected == 4 else (parameters[0], *parameters)
        sides_fit = all(side == int(side) and 0 < side <= _LARGEST_SIDE for side in (width, height))
        if not sides_fit or min(fx, fy) <= 0:
            raise UserError(f"{where}: expected whole WIDTH and HEIGHT and focal lengths above 0")
        cameras[words[0]] = (fx, fy, cx, cy), (int(width), int(height))
    return cameras


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is no comment."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a COLMAP model in text form") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no text; expected a COLMAP model in text form") from None
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return ((number, line) for number, line in lines if not line.startswith("#"))


def _numbers(words: Sequence[str], where: str) -> npt.NDArray[np.float64]:
    try:
        figures = np.array([float(word) for word in words])
    except ValueError as error:
        raise UserError(f"{where}: expected numbers ({error})") from None
    if not (np.abs(figures) < 1e12).all():
        raise UserError(f"{where}: expected numbers within 1e12")
    return figures


def write_colmap(
    folder: str | Path, images: Sequence[ColmapImage], points: npt.NDArray[np.floating] | None = None
) -> None:
    """Writes a text model. points: (P, 3) on the surface, in the same world, for tools that start there."""
    folder = Path(folder)
    camera_ids: dict[_Camera, int] = {}
    for image in images:
        camera_ids.setdefault((image.intrinsics, image.size), len(camera_ids) + 1)
    cameras = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[] (fx, fy, cx, cy)"]
    for (intrinsics, size), number in camera_ids.items():
        cameras.append(f"{number} PINHOLE {size[0]} {size[1]} " + " ".join(f"{x:.17g}" for x in intrinsics))
    posed = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "# POINTS2D[] as (X, Y, POINT3D_ID)"]
    for number, image in enumerate(images, 1):
        world_to_camera: Matrix = np.linalg.inv(image.camera_to_world @ _GL_TO_CV).astype(np.float64)
        figures = [*_quaternion_of_rotation(world_to_camera[:3, :3]), *world_to_camera[:3, 3]]
        told = " ".join(f"{x + 0.0:.17g}" for x in figures)
        posed += [f"{number} {told} {camera_ids[image.intrinsics, image.size]} {image.name}", ""]
    cloud = ["# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)"]
    for number, point in enumerate([] if points is None else points, 1):
        cloud.append(f"{number} " + " ".join(f"{x:.9g}" for x in point) + " 128 128 128 0")
    for name, lines in (("cameras.txt", cameras), ("images.txt", posed), ("points3D.txt", cloud)):
        with atomic_file(folder / name) as path:
            path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _rotation_of_quaternion(quaternion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _quaternion_of_rotation(rotation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(w, x, y, z), w not negative: the dominant eigenvector of a symmetric 4x4 matrix, which is well
    conditioned for every rotation. Bar-Itzhack, "New Method for Extracting the Quaternion", 2000."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    matrix = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ]
    )
    _, vectors = np.linalg.eigh(matrix)
    quaternion = vectors[:, -1]
    return quaternion if quaternion[0] >= 0 else -quaternion
