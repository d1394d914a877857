"""Errors on the object: the right color in the right place, and nothing where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade
from texture_recovery.error_look import LOOK
from texture_recovery.recovery_error import RecoveryError, error_colors, write_error
from texture_recovery.surface_errors import sample

from tests.usd_tools.stages import define_material, define_sphere
from usd_tools.color import linear_to_srgb
from usd_tools.comparison.error_maps import ErrorMaps, save_error_maps
from usd_tools.comparison.heat_map import UNSEEN, heat_color
from usd_tools.errors import UserError
from usd_tools.images import write_png
from usd_tools.mesh_reading import read_mesh
from usd_tools.stage import find_mesh, find_object
from usd_tools.texel_raster import rasterize_texels
from usd_tools.texture_baking import bake_object
from usd_tools.textured_object import read_object

SIZE = 64


def ramp_maps(stage: Usd.Stage, path: str | None = None) -> ErrorMaps:
    """Roughness errors that grow with u, normal errors with v; the right tenth was not compared."""
    mesh = read_mesh(find_mesh(stage, path, 1), 1)
    assert mesh.uvs is not None and mesh.uv_faces is not None
    u = (np.arange(SIZE) + 0.5) / SIZE
    counted = np.repeat((u < 0.9)[None], SIZE, axis=0)
    roughness = np.repeat(u[None], SIZE, axis=0).astype(np.float32) * counted
    normal = np.repeat(30 * u[::-1, None], SIZE, axis=1).astype(np.float32) * counted
    return ErrorMaps(
        {"roughness": roughness, "normal": normal},
        {"roughness": 1.0, "normal": 30.0},
        counted,
        mesh.uvs.astype(np.float32),
        mesh.uv_faces.astype(np.int32),
    )


def position_maps(stage: Usd.Stage, path: str, side: int = 256) -> ErrorMaps:
    """Errors that tell where on the object they are: 0.5 + the height, in the layout of its ground truth."""
    mesh = bake_object(read_object(find_object(stage, path, 1)[1], 1)).mesh
    assert mesh.uvs is not None and mesh.uv_faces is not None
    texels = rasterize_texels(mesh.uvs, mesh.uv_faces, side)
    heights = np.zeros((side, side), np.float32)
    heights[texels.covered] = 0.5 + texels.interpolate(mesh.vertices, mesh.faces)[:, 1]
    return ErrorMaps(
        {"roughness": heights},
        {"roughness": 1.0},
        texels.covered,
        mesh.uvs.astype(np.float32),
        mesh.uv_faces.astype(np.int32),
    )


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    save_error_maps(folder / "errors.npz", ramp_maps(grid_stage()))
    (folder / "metrics.json").write_text("{}")
    write_png(folder / "pictures" / "roughness_texture_recovered_error.png", np.zeros((80, 64, 3)))
    return folder


def grid_stage() -> Usd.Stage:
    """2 x 2 quads over the unit square of UVs, as vertex UVs, with a material."""
    stage = Usd.Stage.CreateInMemory()
    mesh = UsdGeom.Mesh.Define(stage, "/World/grid")
    uvs = [(x / 2, y / 2) for y in range(3) for x in range(3)]
    mesh.CreatePointsAttr([Gf.Vec3f(u, v, 0) for u, v in uvs])
    mesh.CreateFaceVertexCountsAttr([4] * 4)
    mesh.CreateSubdivisionSchemeAttr("none")
    corners = [(0, 1, 4, 3), (1, 2, 5, 4), (3, 4, 7, 6), (4, 5, 8, 7)]
    mesh.CreateFaceVertexIndicesAttr([i for face in corners for i in face])
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "vertex")
    st.Set([Gf.Vec2f(*uv) for uv in uvs])
    define_material(stage, "/World/look", "/World/grid")
    return stage


def colors(stage: Usd.Stage, path: str = "/World/grid") -> np.ndarray:
    return np.array(UsdGeom.Mesh(stage.GetPrimAtPath(path)).GetDisplayColorAttr().Get())


def test_vertices_take_the_color_of_their_place(report: Path) -> None:
    stage = grid_stage()
    assert write_error(stage, RecoveryError(str(report)), 1) == ["/World/grid", LOOK]
    shown = linear_to_srgb(colors(stage))
    assert (
        UsdGeom.Mesh(stage.GetPrimAtPath("/World/grid")).GetDisplayColorPrimvar().GetInterpolation()
        == "vertex"
    )
    half_texel = 0.5 / SIZE
    for column, value in ((0, half_texel), (1, 0.5)):
        np.testing.assert_allclose(shown[column::3], np.tile(heat_color(np.array(value)), (3, 1)), atol=2e-3)
    np.testing.assert_allclose(shown[2::3], np.tile(UNSEEN, (3, 1)), atol=1e-3)


def test_top_of_the_map_is_the_top_of_the_uvs(report: Path) -> None:
    stage = grid_stage()
    write_error(stage, RecoveryError(str(report), channel="normal"), 1)
    shown = linear_to_srgb(colors(stage))
    np.testing.assert_allclose(shown[3], heat_color(np.array(0.5)), atol=2e-3)
    assert shown[6].sum() > shown[3].sum() > shown[0].sum(), "the heat map grows brighter upwards"


def test_faces_take_the_mean_over_their_area(report: Path) -> None:
    stage = grid_stage()
    write_error(stage, RecoveryError(str(report), display="face"), 1)
    primvar = UsdGeom.Mesh(stage.GetPrimAtPath("/World/grid")).GetDisplayColorPrimvar()
    assert (primvar.GetInterpolation(), len(primvar.Get())) == ("uniform", 4)
    shown = linear_to_srgb(colors(stage))
    np.testing.assert_allclose(shown[0], heat_color(np.array(0.25)), atol=3e-3)
    assert shown[1].sum() > shown[0].sum()
    assert not np.allclose(shown[1], UNSEEN), "most of it was compared"


def test_maximum_scales_the_colors(report: Path) -> None:
    stage = grid_stage()
    write_error(stage, RecoveryError(str(report), maximum=0.5), 1)
    np.testing.assert_allclose(linear_to_srgb(colors(stage))[1], heat_color(np.array(1.0)), atol=2e-3)
    known = np.array([True, False])
    np.testing.assert_allclose(linear_to_srgb(error_colors(np.zeros(2), known, 1.0))[1], UNSEEN, atol=1e-6)


def test_sampling_is_bilinear_and_ignores_what_was_not_compared() -> None:
    error = np.array([[0.0, 1.0], [2.0, 100.0]], np.float32)
    counted = np.array([[True, True], [True, False]])
    layout = np.zeros((1, 2), np.float32), np.zeros((1, 3), np.int32)
    maps = ErrorMaps({"roughness": error}, {"roughness": 1.0}, counted, *layout)
    uvs = np.array([[0.25, 0.75], [0.5, 0.75], [0.5, 0.5], [0.75, 0.25], [-1.0, 2.0]])
    total, weight = sample(maps, "roughness", uvs)
    np.testing.assert_allclose(weight, [1, 1, 0.75, 0, 1])
    np.testing.assert_allclose(total[[0, 1, 2, 4]] / weight[[0, 1, 2, 4]], [0, 0.5, 1, 0])


def test_indexed_face_varying_uvs_and_seams(report: Path) -> None:
    stage = Usd.Stage.CreateInMemory()
    define_sphere(stage, "/World/sphere")
    save_error_maps(report / "errors.npz", ramp_maps(stage))
    write_error(stage, RecoveryError(str(report), channel="normal"), 1)
    shown = linear_to_srgb(colors(stage, "/World/sphere"))
    heights = np.array(UsdGeom.Mesh(stage.GetPrimAtPath("/World/sphere")).GetPointsAttr().Get())[:, 1]
    v = 1 - np.arccos(np.clip(heights / 0.5, -1, 1)) / np.pi
    column = (np.arange(len(v)) - 1) % 16
    column[[0, -1]] = -1  # the poles
    compared = (column >= 0) & (column < 15)  # the first column has u = 0 and u = 1: one of them counts
    np.testing.assert_allclose(shown[compared], heat_color(v[compared]), atol=6e-3)
    np.testing.assert_allclose(shown[column == 15], np.tile(UNSEEN, (7, 1)), atol=1e-3)


def test_look_is_unlit_and_overrules_the_objects(report: Path) -> None:
    for display, source in (("vertex", "UsdPrimvarReader_float3"), ("texture", "UsdUVTexture")):
        stage = grid_stage()
        write_error(stage, RecoveryError(str(report / "metrics.json"), display=display), 1)
        bound, _ = UsdShade.MaterialBindingAPI(stage.GetPrimAtPath("/World/grid")).ComputeBoundMaterial()
        assert str(bound.GetPath()) == LOOK
        surface, _, _ = bound.ComputeSurfaceSource()
        assert surface.GetInput("diffuseColor").Get() == Gf.Vec3f(0)
        (connected,) = surface.GetInput("emissiveColor").GetConnectedSources()[0]
        assert UsdShade.Shader(connected.source.GetPrim()).GetIdAttr().Get() == source


def test_texture_shows_the_layout_without_the_color_bar(report: Path) -> None:
    """The picture is 64 wide and 80 high: UVs cover its upper 64 rows."""
    stage = grid_stage()
    write_error(stage, RecoveryError(str(report), display="texture"), 1)
    fit = UsdShade.Shader(stage.GetPrimAtPath(f"{LOOK}/fit"))
    scale, offset = fit.GetInput("scale").Get(), fit.GetInput("translation").Get()
    np.testing.assert_allclose([scale[1] * v + offset[1] for v in (0, 1)], [16 / 80, 1], rtol=1e-6)
    file = UsdShade.Shader(stage.GetPrimAtPath(f"{LOOK}/picture")).GetInput("file").Get()
    assert Path(file.path) == (report / "pictures" / "roughness_texture_recovered_error.png").resolve()


@pytest.mark.parametrize("display", ["vertex", "face", "texture"])
def test_cooking_again_changes_nothing(report: Path, display: str) -> None:
    stage = grid_stage()
    shown = RecoveryError(str(report), display=display)
    write_error(stage, shown, 1)
    once = stage.ExportToString()
    write_error(stage, shown, 1)
    assert stage.ExportToString() == once


def shown_picture(stage: Usd.Stage, shown: RecoveryError) -> str:
    write_error(stage, replace(shown, display="texture"), 1)
    file = UsdShade.Shader(stage.GetPrimAtPath(f"{LOOK}/picture")).GetInput("file").Get()
    return Path(file.path).name


def shown_colors(shown: RecoveryError) -> np.ndarray:
    stage = grid_stage()
    write_error(stage, shown, 1)
    return np.array(UsdGeom.Mesh(stage.GetPrimAtPath("/World/grid")).GetDisplayColorAttr().Get())


def test_columns_are_told_apart(report: Path) -> None:
    shown = RecoveryError(str(report))
    joint = replace(shown, column="joint")
    with pytest.raises(UserError, match=r"column joint: .* has recovered"):
        write_error(grid_stage(), joint, 1)
    maps = ramp_maps(grid_stage())
    halved = {name: error / 2 for name, error in maps.errors.items()}
    save_error_maps(report / "errors_joint.npz", replace(maps, errors=halved))
    write_png(report / "pictures" / "roughness_texture_joint_error.png", np.zeros((80, 64, 3)))
    first = replace(shown, column="recovered")
    np.testing.assert_array_equal(shown_colors(first), shown_colors(shown), "the first column by its name")
    assert not np.allclose(shown_colors(joint), shown_colors(shown))
    for column in (shown, first):
        assert shown_picture(grid_stage(), column) == "roughness_texture_recovered_error.png"
    assert shown_picture(grid_stage(), joint) == "roughness_texture_joint_error.png"


def test_report_is_found_in_the_recoverys_folder(report: Path) -> None:
    for place in (report.parent, report / "metrics.json"):
        np.testing.assert_array_equal(
            shown_colors(RecoveryError(str(place))), shown_colors(RecoveryError(str(report)))
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report": ""}, "report: is not set"),
        ({"report": "/nowhere"}, "is missing"),
        ({"channel": "color"}, "channel color"),
        ({"channel": "occlusion"}, "has no occlusion"),
        ({"display": "points"}, "display points"),
        ({"maximum": -1.0}, "maximum -1"),
        ({"column": "../x"}, "column"),
        ({"object_path": "/World/none"}, "no such active prim"),
        ({"display": "texture", "channel": "normal"}, "is missing"),
    ],
)
def test_bad_parameters_are_told(report: Path, change: dict[str, object], message: str) -> None:
    stage = grid_stage()
    before = stage.ExportToString()
    with pytest.raises(UserError, match=message):
        write_error(stage, replace(RecoveryError(str(report)), **change), 1)  # type: ignore[arg-type]
    assert stage.ExportToString() == before


def test_uvs_beyond_the_layout_are_refused(report: Path) -> None:
    stage = grid_stage()
    primvar = UsdGeom.PrimvarsAPI(stage.GetPrimAtPath("/World/grid")).GetPrimvar("st")
    primvar.Set([Gf.Vec2f(uv[0] + 1, uv[1]) for uv in primvar.Get()])
    save_error_maps(report / "errors.npz", ramp_maps(stage))
    with pytest.raises(UserError, match="outside of 0 to 1"):
        write_error(stage, RecoveryError(str(report)), 1)


def subdivided_cube(stage: Usd.Stage) -> UsdGeom.Mesh:
    """A cage whose limit surface lies well within it, each side with a place of its own in the layout."""
    mesh = UsdGeom.Mesh.Define(stage, "/World/cube")
    mesh.CreatePointsAttr([Gf.Vec3f(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    mesh.CreateFaceVertexCountsAttr([4] * 6)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.CreateFaceVertexIndicesAttr([i for side in sides for i in side])
    mesh.CreateSubdivisionSchemeAttr("catmullClark")
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "faceVarying")
    places = [(0.05 + 0.33 * (i % 3), 0.05 + 0.33 * (i // 3)) for i in range(6)]
    square = ((0, 0), (0.25, 0), (0.25, 0.25), (0, 0.25))
    st.Set([Gf.Vec2f(u + du, v + dv) for u, v in places for du, dv in square])
    plain_look(stage, "/World/look", mesh, 0.5)
    return mesh


def plain_look(stage: Usd.Stage, path: str, mesh: UsdGeom.Mesh, roughness: float) -> None:
    material = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(roughness)
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)


def test_subdivision_surfaces_show_the_error_of_their_limit(tmp_path: Path) -> None:
    """Its corners lie at 1/4 instead of 1/2, by the limit mask of valence three (Halstead et al., 1993)."""
    stage = Usd.Stage.CreateInMemory()
    mesh = subdivided_cube(stage)
    save_error_maps(tmp_path / "errors.npz", position_maps(stage, "/World/cube"))
    write_error(stage, RecoveryError(str(tmp_path)), 1)
    primvar = mesh.GetDisplayColorPrimvar()
    assert primvar.GetInterpolation() == "varying", "vertex colors would be smoothed with the surface"
    heights = np.array(mesh.GetPointsAttr().Get())[:, 1] / 2
    shown = linear_to_srgb(colors(stage, "/World/cube"))
    np.testing.assert_allclose(shown, heat_color(0.5 + heights), atol=0.02)
    write_error(stage, RecoveryError(str(tmp_path), display="face"), 1)
    shown = linear_to_srgb(colors(stage, "/World/cube"))
    assert len(shown) == 6, "one color for each face of the cage"
    np.testing.assert_allclose(shown[[0, 1, 4, 5]], np.tile(heat_color(np.array(0.5)), (4, 1)), atol=0.02)
    scale = np.linspace(0, 1, 201)
    low, high = (scale[np.abs(heat_color(scale) - shown[face]).sum(axis=1).argmin()] - 0.5 for face in (2, 3))
    top = read_mesh(mesh, 1).vertices[:, 1].max()
    assert -top < low < -0.25 and 0.25 < high < top, "between the corners' height and the middle's"


def test_objects_whose_texture_coordinates_were_laid_out_anew(tmp_path: Path) -> None:
    """Two meshes with looks of their own share the unit square, so their ground truth has an atlas."""
    stage = Usd.Stage.CreateInMemory()
    for name, columns, roughness in (("a", 24, 0.2), ("b", 16, 0.7)):
        mesh = define_sphere(stage, f"/World/pair/{name}", columns, 12)
        plain_look(stage, f"/World/look_{name}", mesh, roughness)
    UsdGeom.Xformable(stage.GetPrimAtPath("/World/pair/b")).AddTranslateOp().Set(Gf.Vec3d(2, 0.2, 0))
    maps = position_maps(stage, "/World/pair")
    save_error_maps(tmp_path / "errors.npz", maps)
    shown = RecoveryError(str(tmp_path), "/World/pair")
    assert write_error(stage, shown, 1) == ["/World/pair/a", "/World/pair/b", LOOK]
    for name, offset in (("a", 0.0), ("b", 0.2)):
        path = f"/World/pair/{name}"
        heights = np.array(UsdGeom.Mesh(stage.GetPrimAtPath(path)).GetPointsAttr().Get())[:, 1] + offset
        np.testing.assert_allclose(
            linear_to_srgb(colors(stage, path)), heat_color(np.clip(0.5 + heights, 0, 1)), atol=0.05
        )
        bound, _ = UsdShade.MaterialBindingAPI(stage.GetPrimAtPath(path)).ComputeBoundMaterial()
        assert str(bound.GetPath()) == LOOK
    write_png(tmp_path / "pictures" / "roughness_texture_recovered_error.png", np.zeros((80, 64, 3)))
    with pytest.raises(UserError, match=r"/World/pair/a: its UVs .* laid out anew"):
        write_error(stage, replace(shown, display="texture"), 1)


def test_another_object_than_the_compared_one_is_refused(report: Path) -> None:
    stage = grid_stage()
    define_sphere(stage, "/World/sphere")
    with pytest.raises(UserError, match=r"/World/sphere: has 224 triangles, .* has 8"):
        write_error(stage, RecoveryError(str(report), "/World/sphere"), 1)
