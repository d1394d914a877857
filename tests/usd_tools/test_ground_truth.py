"""Looks and lights: what UsdPreviewSurface and DomeLight say, in files; what is not supported, by name."""

import json

import numpy as np
import pytest
from pxr import Gf, Sdf, UsdGeom, UsdLux, UsdShade

from tests.usd_tools.stages import AXIS_COLORS, write_scene
from usd_tools.errors import UserError
from usd_tools.images import read_exr, read_image
from usd_tools.obj import read_obj
from usd_tools.stage import find_mesh, open_stage
from usd_tools.usd_to_llff import main


def convert(scene, out, *options):
    assert main([str(scene.stage), "--ground-truth-only", "--out", str(out), *options]) == 0
    return out / "ground_truth"


def test_maps_equal_their_textures(tmp_path):
    scene = write_scene(tmp_path / "scene")
    truth = convert(scene, tmp_path / "out")
    for name in ("albedo", "roughness", "metallic"):
        np.testing.assert_array_equal(
            read_image(truth / f"{name}.png"), read_image(scene.textures / f"{name}.png")
        )
    difference = read_image(truth / "normal.png") - read_image(scene.textures / "normal.png")
    assert np.abs(difference).max() < 1.5 / 255  # lengths of stored normals are not exactly 1
    assert (read_image(truth / "occlusion.png") == 1).all()
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert description["object"] == "/World/sphere" and description["light_probe"] == "ground_truth/probe.exr"
    assert not (tmp_path / "out" / "images").exists()


def test_mesh_keeps_uvs_and_normals(tmp_path):
    mesh = read_obj(convert(write_scene(tmp_path / "scene"), tmp_path / "out") / "mesh.obj")
    assert np.abs(mesh.vertices).max() == pytest.approx(0.9)
    assert mesh.uvs is not None and mesh.uvs.min() == 0 and mesh.uvs.max() == 1
    radial = mesh.vertices[mesh.faces] / 0.9
    np.testing.assert_allclose(mesh.normals[mesh.normal_faces], radial, atol=1e-5)
    # u runs around y from +z by way of +x, v = 1 at the top.
    u = mesh.uvs[mesh.uv_faces][..., 0]
    equator = np.abs(radial[..., 1]) < 1e-6
    angle = np.arctan2(radial[..., 0], radial[..., 2])[equator] / (2 * np.pi)
    np.testing.assert_allclose((u[equator] - angle + 0.5) % 1, 0.5, atol=1e-5)


def test_no_normalize_keeps_the_stage(tmp_path):
    scene = write_scene(tmp_path / "scene", up_axis="Z")
    mesh = read_obj(convert(scene, tmp_path / "out", "--no-normalize") / "mesh.obj")
    stage = open_stage(scene.stage)
    points = np.array(find_mesh(stage).GetPointsAttr().Get())
    np.testing.assert_allclose(
        mesh.vertices, points @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]), atol=1e-6
    )


def probe_colors(truth):
    """What the written probe shows along each axis of the dataset frame, at the places the contract names."""
    probe = read_exr(truth / "probe.exr")[0]
    height, width = probe.shape[:2]
    middle = height // 2
    return {
        "+z": probe[middle, width // 2],
        "+x": probe[middle, width // 4],
        "-x": probe[middle, 3 * width // 4],
        "-z": probe[middle, 0],
        "+y": probe[0, 0],
        "-y": probe[-1, 0],
    }


@pytest.mark.parametrize(
    "up_axis, turn, shown",
    [
        ("Y", None, {"+x": "+x", "+y": "+y", "+z": "+z"}),
        # The light's +z is turned to world +x, its +x to world -z.
        ("Y", ((0, 1, 0), 90), {"+x": "+z", "+y": "+y", "-z": "+x"}),
        # The light's +y is turned to world +z.
        ("Y", ((1, 0, 0), 90), {"+z": "+y", "-y": "+z", "+x": "+x"}),
        # Z-up stages: dataset +y is stage +z, dataset +z is stage -y.
        ("Z", None, {"+x": "+x", "+y": "+z", "+z": "-y"}),
        # ... with the dome stood up as OrientToStageUpAxis does: its +y is stage +z, its +z stage -y.
        ("Z", ((1, 0, 0), 90), {"+x": "+x", "+y": "+y", "+z": "+z"}),
    ],
)
def test_probe_orientation(tmp_path, up_axis, turn, shown):
    def edit(stage):
        if turn:
            matrix = Gf.Matrix4d().SetRotate(Gf.Rotation(Gf.Vec3d(*turn[0]), turn[1]))
            dome = UsdGeom.Xformable(stage.GetPrimAtPath("/World/dome"))
            dome.AddScaleOp().Set(Gf.Vec3f(100))  # a dome's size means nothing
            dome.AddTransformOp().Set(matrix)

    colors = probe_colors(
        convert(write_scene(tmp_path / "scene", up_axis=up_axis, edit=edit), tmp_path / "out")
    )
    for axis, source in shown.items():
        np.testing.assert_allclose(colors[axis], AXIS_COLORS[source], atol=1e-5, err_msg=axis)
        opposite = ("-" if axis[0] == "+" else "+") + axis[1]
        source = ("-" if source[0] == "+" else "+") + source[1]
        np.testing.assert_allclose(colors[opposite], AXIS_COLORS[source], atol=1e-5, err_msg=opposite)


def test_dome_intensity_exposure_color(tmp_path):
    def edit(stage):
        dome = UsdLux.DomeLight(stage.GetPrimAtPath("/World/dome"))
        dome.CreateIntensityAttr(3.0)
        dome.CreateExposureAttr(2.0)
        dome.CreateColorAttr(Gf.Vec3f(1, 0.5, 0.25))

    scene = write_scene(tmp_path / "scene", edit=edit)
    probe = read_exr(convert(scene, tmp_path / "out") / "probe.exr")[0]
    np.testing.assert_allclose(probe, read_image(scene.textures / "probe.exr") * [12, 6, 3], rtol=1e-6)


def test_dome_without_texture(tmp_path):
    scene = write_scene(
        tmp_path / "scene",
        edit=lambda stage: stage.GetPrimAtPath("/World/dome").RemoveProperty("inputs:texture:file"),
    )
    assert (read_exr(convert(scene, tmp_path / "out") / "probe.exr")[0] == 1).all()


LOOK = "/World/materials/look"


def shader(stage, name):
    return UsdShade.Shader(stage.GetPrimAtPath(f"{LOOK}/{name}"))


def set_file(path):
    return lambda stage: shader(stage, "albedo").GetInput("file").Set(Sdf.AssetPath(path))


def test_a_stage_without_light_has_a_ground_truth_without_probe(tmp_path, capsys):
    scene = write_scene(tmp_path / "scene", edit=lambda stage: stage.RemovePrim("/World/dome"))
    truth = convert(scene, tmp_path / "out")
    assert not (truth / "probe.exr").exists() and (truth / "albedo.png").exists()
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["light_probe"] is None
    assert "no light" in capsys.readouterr().err


def subset_without_rest(stage):
    subset = UsdGeom.Subset.CreateGeomSubset(
        UsdGeom.Mesh(stage.GetPrimAtPath("/World/sphere")), "left", "face", [0, 1, 2], "materialBind"
    )
    look = UsdShade.Material(stage.GetPrimAtPath(LOOK))
    unbound(stage)
    UsdShade.MaterialBindingAPI.Apply(subset.GetPrim()).Bind(look)


def unknown_surface(stage):
    shader(stage, "surface").CreateIdAttr("PxrDisneyBsdf")


def sphere_light(stage):
    UsdLux.SphereLight.Define(stage, "/World/bulb")


def angular(stage):
    UsdLux.DomeLight(stage.GetPrimAtPath("/World/dome")).CreateTextureFormatAttr("angular")


def unbound(stage):
    UsdShade.MaterialBindingAPI(stage.GetPrimAtPath("/World/sphere")).UnbindAllBindings()


@pytest.mark.parametrize(
    "edit, message",
    [
        (subset_without_rest, "faces without material"),
        (unknown_surface, "PxrDisneyBsdf"),
        (unbound, "no material"),
        (
            lambda stage: (
                shader(stage, "surface").CreateInput("useSpecularWorkflow", Sdf.ValueTypeNames.Int).Set(1)
            ),
            "useSpecularWorkflow",
        ),
        (set_file("./textures/absent.png"), r"absent\.png.*missing"),
        (set_file("./textures/a.<UDIM>.png"), "has no tile"),
        (set_file("https://example.org/a.png"), "URL"),
        (set_file(""), "names no file"),
        (set_file("./scene.usda"), r"scene\.usda.*cannot be read as a picture"),
        (sphere_light, r"/World/bulb \(SphereLight\)"),
        (angular, "angular"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, edit, message):
    scene = write_scene(tmp_path / "scene", edit=edit)
    with pytest.raises(UserError, match=message):
        main([str(scene.stage), "--ground-truth-only", "--out", str(tmp_path / "out")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene"]
