"""A comparison's errors shown on the object itself: as vertex or face colors, or as the report's own picture.

Needs pxr and numpy only: the colors come from the numbers that compare_textures leaves beside its report, and
pictures are referred to, never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from texture_recovery.error_look import LOOK, colored_look, textured_look
from texture_recovery.surface_errors import MeasuredMesh, measured_meshes
from usd_tools.color import srgb_to_linear
from usd_tools.comparison.error_maps import FILE_NAME, ErrorMaps, load_error_maps
from usd_tools.comparison.heat_map import UNSEEN, heat_color
from usd_tools.errors import UserError
from usd_tools.mesh_reading import find_uv_primvar
from usd_tools.stage import find_object

CHANNELS = ("albedo", "albedo_aligned", "roughness", "metallic", "normal", "occlusion")
DISPLAYS = ("vertex", "face", "texture")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RecoveryError:
    """What to show; each field is a parameter of the digital asset.

    report: folder of compare_textures, a file in it, or the folder above one called report. object_path: the
    true object, a mesh or a prim with meshes below it; "" for the stage's only visible mesh. channel: one of
    CHANNELS. display: colors per `vertex` or `face`, or the report's `texture`. maximum: the error that is
    brightest, for colors; 0 for the report's own. column: whose errors, as in the names of the report's
    files; "" for the first one.
    """

    report: str = ""
    object_path: str = ""
    channel: str = "roughness"
    display: str = "vertex"
    maximum: float = 0.0
    column: str = ""


def write_error(stage: Any, shown: RecoveryError, time: float) -> list[str]:
    """Authors colors (or a texture) and a look that shows them unlit; returns the paths of the changed prims.

    Raises:
        UserError: the report or the object is missing, or they do not fit together.
    """
    from pxr import UsdShade

    _check(shown)
    _, meshes = find_object(stage, shown.object_path or None, time)
    for mesh in meshes:
        if mesh.GetPrim().IsInstanceProxy():
            raise UserError(f"{mesh.GetPath()}: lies inside an instance and cannot be colored; uninstance it")
    report = _report_folder(Path(shown.report))
    column = _column(report, shown)
    maps = load_error_maps(_maps_file(report, column))
    if shown.channel not in maps.errors:
        raise UserError(f"{report}: has no {shown.channel}; it has {', '.join(sorted(maps.errors))}")
    measured = measured_meshes(meshes, maps, time)
    if shown.display == "texture":
        material = textured_look(
            stage, _picture(report, shown.channel, column), _layout_primvar(measured, maps, time)
        )
    else:
        for part in measured:
            _set_colors(part, maps, shown)
        material = colored_look(stage)
    for mesh in meshes:
        binding = UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim())
        binding.Bind(material, UsdShade.Tokens.strongerThanDescendants)  # over the looks of GeomSubsets
    return [*(str(mesh.GetPath()) for mesh in meshes), LOOK]


def error_colors(values: Array, known: npt.NDArray[np.bool_], maximum: float) -> Array:
    """(N, 3) linear colors: the reports' heat map from 0 to `maximum`, and gray where nothing is known."""
    display = np.where(known[:, None], heat_color(values / maximum), np.array(UNSEEN))
    return np.asarray(srgb_to_linear(display), np.float64)


def _set_colors(part: MeasuredMesh, maps: ErrorMaps, shown: RecoveryError) -> None:
    from pxr import UsdGeom, Vt

    if shown.display == "face":
        interpolation, (values, known) = UsdGeom.Tokens.uniform, part.face_means(maps, shown.channel)
    else:
        # Vertex values of a subdivision surface would be smoothed with it.
        interpolation = UsdGeom.Tokens.varying if part.is_subdivided else UsdGeom.Tokens.vertex
        values, known = part.vertex_means(maps, shown.channel)
    colors = error_colors(values, known, shown.maximum or maps.maximum[shown.channel])
    primvar = part.mesh.CreateDisplayColorPrimvar(interpolation)
    primvar.Set(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(colors, np.float32)))
    primvar.BlockIndices()


def _layout_primvar(measured: list[MeasuredMesh], maps: ErrorMaps, time: float) -> str:
    """The texture coordinates by which the meshes show the report's picture.

    Raises:
        UserError: they have none in common that are the picture's.
    """
    name = str(find_uv_primvar(measured[0].mesh).GetPrimvarName())
    for part in measured:
        own = str(find_uv_primvar(part.mesh, name).GetPrimvarName())
        if own != name or not part.has_layout(maps, name, time):
            raise UserError(
                f"{part.mesh.GetPath()}: its UVs ({own}) are not those of the report, which are another set "
                "or were laid out anew (several materials, UDIMs); show the errors per vertex or face"
            )
    return name


def _check(shown: RecoveryError) -> None:
    if not shown.report:
        raise UserError("report: is not set; choose the folder that compare_textures wrote")
    if shown.channel not in CHANNELS:
        raise UserError(f"channel {shown.channel}: expected {', '.join(CHANNELS)}")
    if shown.display not in DISPLAYS:
        raise UserError(f"display {shown.display}: expected {', '.join(DISPLAYS)}")
    if shown.maximum < 0:
        raise UserError(f"maximum {shown.maximum:g}: expected 0 (the report's own) or more")
    if not all(letter.isalnum() or letter in "-_" for letter in shown.column):
        raise UserError(f"column {shown.column}: expected a name as in the report's files")


def _report_folder(path: Path) -> Path:
    """The report that `path` is, has as a folder `report` in it, or lies in as a file."""
    folder = path.parent if path.is_file() else path
    inner = folder / "report"
    return inner if (inner / FILE_NAME).is_file() and not (folder / FILE_NAME).is_file() else folder


def _column(report: Path, shown: RecoveryError) -> str:
    """The name of the column that is meant, as in the names of pictures; "" where there are no pictures.

    Raises:
        UserError: the report has no such column.
    """
    before, after = f"{shown.channel}_texture_", "_error.png"
    found = sorted((report / "pictures").glob(f"{before}*{after}"))
    names = [path.name.removeprefix(before).removesuffix(after) for path in found]
    if shown.column and shown.column not in names and not _own_maps(report, shown.column).is_file():
        raise UserError(f"column {shown.column}: {report} has {', '.join(names) or 'no columns'}")
    return shown.column or next((name for name in names if not _own_maps(report, name).is_file()), "")


def _own_maps(report: Path, column: str) -> Path:
    """Where the errors of all columns but the first are."""
    return report / f"errors_{column}.npz"


def _maps_file(report: Path, column: str) -> Path:
    own = _own_maps(report, column)
    return own if column and own.is_file() else report / FILE_NAME


def _picture(report: Path, channel: str, column: str) -> Path:
    """The report's error picture in the texture layout."""
    picture = report / "pictures" / f"{channel}_texture_{column or '*'}_error.png"
    if not picture.is_file():
        raise UserError(f"{picture}: is missing; expected a report of compare_textures, compare again")
    return picture
