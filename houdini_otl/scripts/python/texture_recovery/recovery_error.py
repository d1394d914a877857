"""A comparison's errors shown on the object itself: as vertex or face colors, or as the report's own picture.

Needs pxr and numpy only: the colors come from the numbers that compare_textures leaves beside its report, and
pictures are referred to, never read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from usd_tools.color import srgb_to_linear
from usd_tools.comparison.error_maps import FILE_NAME, ErrorMaps, load_error_maps
from usd_tools.comparison.heat_map import UNSEEN, heat_color
from usd_tools.errors import UserError
from usd_tools.mesh_reading import find_uv_primvar
from usd_tools.stage import find_mesh

CHANNELS = ("albedo", "albedo_aligned", "roughness", "metallic", "normal", "occlusion")
DISPLAYS = ("vertex", "face", "texture")
ROOT = "/RecoveryError"
LOOK = f"{ROOT}/look"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RecoveryError:
    """What to show; each field is a parameter of the digital asset.

    report: folder of compare_textures, or a file in it. object_path: the true mesh; "" for the stage's only
    visible one. channel: one of CHANNELS. display: colors per `vertex` or `face`, or the report's `texture`.
    maximum: the error that is brightest, for colors; 0 for the report's own. column: whose errors, as in the
    names of the report's files; "" for the first one.
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
    from pxr import UsdGeom, UsdShade

    _check(shown)
    mesh = find_mesh(stage, shown.object_path or None, time)
    if mesh.GetPrim().IsInstanceProxy():
        raise UserError(f"{mesh.GetPath()}: lies inside an instance and cannot be colored; uninstance it")
    report = Path(shown.report)
    report = report.parent if report.is_file() else report
    if shown.display == "texture":
        name = str(find_uv_primvar(mesh).GetPrimvarName())
        material = _textured_look(stage, _picture(report, shown), name)
    else:
        maps = load_error_maps(report / (f"errors_{shown.column}.npz" if shown.column else FILE_NAME))
        if shown.channel not in maps.errors:
            raise UserError(f"{report}: has no {shown.channel}; it has {', '.join(sorted(maps.errors))}")
        corners = _Corners(mesh, time)
        values, known = corners.vertex_means(maps, shown.channel)
        interpolation = UsdGeom.Tokens.vertex
        if shown.display == "face":
            values, known = corners.face_means(maps, shown.channel)
            interpolation = UsdGeom.Tokens.uniform
        colors = error_colors(values, known, shown.maximum or maps.maximum[shown.channel])
        _set_colors(mesh, colors, interpolation)
        material = _colored_look(stage)
    binding = UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim())
    binding.Bind(material, UsdShade.Tokens.strongerThanDescendants)  # over the looks of GeomSubsets
    return [str(mesh.GetPath()), LOOK]


def error_colors(values: Array, known: npt.NDArray[np.bool_], maximum: float) -> Array:
    """(N, 3) linear colors: the reports' heat map from 0 to `maximum`, and gray where nothing is known."""
    display = np.where(known[:, None], heat_color(values / maximum), np.array(UNSEEN))
    return np.asarray(srgb_to_linear(display), np.float64)


def sample(maps: ErrorMaps, channel: str, uvs: Array) -> tuple[Array, Array]:
    """Bilinear error at `uvs` (N, 2) times its weight, and its weight: the share of texels that count."""
    height, width = maps.counted.shape
    column = np.clip(uvs[:, 0] * width - 0.5, 0, width - 1)
    row = np.clip((1 - uvs[:, 1]) * height - 0.5, 0, height - 1)
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    total, weight = np.zeros(len(uvs)), np.zeros(len(uvs))
    for down in (0, 1):
        for right in (0, 1):
            r, c = np.minimum(top + down, height - 1), np.minimum(left + right, width - 1)
            share = np.abs(1 - down - (row - top)) * np.abs(1 - right - (column - left))
            share = share * maps.counted[r, c]
            total += share * maps.errors[channel][r, c]
            weight += share
    return total, weight


class _Corners:
    """A mesh's face corners with their texture coordinates."""

    def __init__(self, mesh: Any, time: float) -> None:
        counts = np.array(mesh.GetFaceVertexCountsAttr().Get(time) or [], np.int64)
        self.points = np.array(mesh.GetFaceVertexIndicesAttr().Get(time) or [], np.int64)
        self.faces = np.repeat(np.arange(len(counts)), counts)
        self.face_count = len(counts)
        self.point_count = len(mesh.GetPointsAttr().Get(time) or [])
        primvar = find_uv_primvar(mesh)
        values = np.array(primvar.ComputeFlattened(time) or [], np.float64).reshape(-1, 2)
        if str(primvar.GetInterpolation()) in ("vertex", "varying") and len(values) == self.point_count:
            values = values[self.points]
        if len(values) != len(self.points) or not len(values):
            raise UserError(f"{mesh.GetPath()}: its UVs do not fit its faces; export the mesh again")
        if values.min() < -1e-3 or values.max() > 1 + 1e-3:
            raise UserError(
                f"{mesh.GetPath()}: has UVs outside of 0 to 1, which the report's layout does not show; "
                "open the report instead"
            )
        self.uvs = values

    def vertex_means(self, maps: ErrorMaps, channel: str) -> tuple[Array, npt.NDArray[np.bool_]]:
        """The error at each point, and where it is known."""
        total, weight = sample(maps, channel, self.uvs)
        return _means(self.points, total, weight, self.point_count)

    def face_means(self, maps: ErrorMaps, channel: str) -> tuple[Array, npt.NDArray[np.bool_]]:
        """The mean error over each face, from points between its center and its corners."""
        count = np.bincount(self.faces, minlength=self.face_count)
        center = np.stack(
            [np.bincount(self.faces, axis, self.face_count) / count.clip(1) for axis in self.uvs.T], axis=-1
        )[self.faces]
        total, weight = np.zeros(len(self.uvs)), np.zeros(len(self.uvs))
        for reach in (0.25, 0.5, 0.75, 0.95):
            more = sample(maps, channel, center + reach * (self.uvs - center))
            # A ring further out stands for more of the face.
            total, weight = total + reach * more[0], weight + reach * more[1]
        return _means(self.faces, total, weight, self.face_count)


def _means(
    groups: npt.NDArray[np.int64], total: Array, weight: Array, count: int
) -> tuple[Array, npt.NDArray[np.bool_]]:
    sums = np.bincount(groups, total, count)
    weights = np.bincount(groups, weight, count)
    return np.divide(sums, weights, out=np.zeros(count), where=weights > 0), weights > 0


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


def _picture(report: Path, shown: RecoveryError) -> Path:
    """The report's error picture in the texture layout."""
    pattern = f"{shown.channel}_texture_{shown.column or '*'}_error.png"
    found = sorted((report / "pictures").glob(pattern))
    if not found:
        raise UserError(f"{report / 'pictures' / pattern}: is missing; expected a report of compare_textures")
    if len(found) > 1:
        names = ", ".join(path.name.split("_texture_")[1][: -len("_error.png")] for path in found)
        raise UserError(f"{report}: has several columns ({names}); name one")
    return found[0]


def _bar_share(picture: Path) -> float:
    """The part of the picture's height that is the square layout, above its color bar."""
    with picture.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise UserError(f"{picture}: is no PNG; compare again")
    width, height = struct.unpack(">II", head[16:24])
    if not 0 < width <= height:
        raise UserError(f"{picture}: is {width}x{height}, not a layout with a color bar below; compare again")
    return float(width / height)


def _set_colors(mesh: Any, colors: Array, interpolation: str) -> None:
    from pxr import Vt

    primvar = mesh.CreateDisplayColorPrimvar(interpolation)
    primvar.Set(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(colors, np.float32)))
    primvar.BlockIndices()


def _colored_look(stage: Any) -> Any:
    """Shows displayColor as it is, whatever the light."""
    from pxr import Gf, Sdf

    reader = _shader(stage, "color", "UsdPrimvarReader_float3")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("displayColor")
    reader.CreateInput("fallback", Sdf.ValueTypeNames.Float3).Set(Gf.Vec3f(0))
    return _unlit(stage, reader.CreateOutput("result", Sdf.ValueTypeNames.Float3))


def _textured_look(stage: Any, picture: Path, uv_primvar: str) -> Any:
    """Shows the part of the report's picture above its color bar, whatever the light."""
    from pxr import Gf, Sdf

    kinds = Sdf.ValueTypeNames
    share = _bar_share(picture)
    reader = _shader(stage, "uv", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", kinds.String).Set(uv_primvar)
    fit = _shader(stage, "fit", "UsdTransform2d")
    fit.CreateInput("in", kinds.Float2).ConnectToSource(reader.CreateOutput("result", kinds.Float2))
    fit.CreateInput("scale", kinds.Float2).Set(Gf.Vec2f(1, share))
    fit.CreateInput("translation", kinds.Float2).Set(Gf.Vec2f(0, 1 - share))
    texture = _shader(stage, "picture", "UsdUVTexture")
    texture.CreateInput("file", kinds.Asset).Set(Sdf.AssetPath(picture.resolve().as_posix()))
    texture.CreateInput("sourceColorSpace", kinds.Token).Set("sRGB")
    texture.CreateInput("wrapS", kinds.Token).Set("clamp")
    texture.CreateInput("wrapT", kinds.Token).Set("clamp")
    texture.CreateInput("st", kinds.Float2).ConnectToSource(fit.CreateOutput("result", kinds.Float2))
    return _unlit(stage, texture.CreateOutput("rgb", kinds.Float3))


def _unlit(stage: Any, color: Any) -> Any:
    from pxr import Gf, Sdf, UsdGeom, UsdShade

    if not stage.GetPrimAtPath(ROOT):
        UsdGeom.Scope.Define(stage, ROOT)
    material = UsdShade.Material.Define(stage, LOOK)
    surface = _shader(stage, "surface", "UsdPreviewSurface")
    surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(0))
    surface.CreateInput("specularColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(0))
    surface.CreateInput("useSpecularWorkflow", Sdf.ValueTypeNames.Int).Set(1)
    surface.CreateInput("emissiveColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(color)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    return material


def _shader(stage: Any, name: str, identifier: str) -> Any:
    from pxr import UsdGeom, UsdShade

    if not stage.GetPrimAtPath(ROOT):
        UsdGeom.Scope.Define(stage, ROOT)
    shader = UsdShade.Shader.Define(stage, f"{LOOK}/{name}")
    shader.CreateIdAttr(identifier)
    return shader
