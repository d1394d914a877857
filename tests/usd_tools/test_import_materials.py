"""A run as a USD layer: in the original's place, valid, complete, and without a change to the original."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Tf, UsdGeom, UsdLux, UsdShade, UsdUtils

from tests.usd_tools.stages import AXIS_COLORS, write_scene
from tests.usd_tools.validation import validation_errors
from usd_tools import recovered_layer
from usd_tools.errors import UserError
from usd_tools.images import read_image
from usd_tools.import_materials import light_was_learnt, main
from usd_tools.lights import find_lights, probe_job
from usd_tools.mesh_reading import read_mesh
from usd_tools.obj import read_obj
from usd_tools.probe import bake_probe
from usd_tools.recovered_layer import light_path, material_path, mesh_path
from usd_tools.stage import find_mesh, open_stage
from usd_tools.texture_baking import bake_object
from usd_tools.textured_object import read_object
from usd_tools.usd_to_llff import main as convert

ROOT = Path(__file__).resolve().parents[2]
OVER = "/World/sphere_recovered"
CHANNELS = ("albedo", "roughness", "metallic", "occlusion", "normal")


def placed(stage):
    """An object away from the origin, turned and scaled, so that the way back is not the identity."""
    sphere = UsdGeom.Mesh(stage.GetPrimAtPath("/World/sphere"))
    sphere.AddTranslateOp().Set(Gf.Vec3d(0.3, -0.2, 0.1))
    sphere.AddRotateXYZOp().Set(Gf.Vec3f(20, 30, 40))
    sphere.AddScaleOp().Set(Gf.Vec3f(1, 0.7, 1.2))


def make_run(folder, up_axis="Z", mode="known"):
    """A scene and a run whose result is the ground truth itself."""
    scene = write_scene(folder / "scene", up_axis=up_axis, edit=placed)
    assert convert(scene.arguments(folder / "dataset")) == 0
    run = folder / "run"
    shutil.copytree(folder / "dataset" / "ground_truth", run / "mesh")
    shutil.copy(folder / "dataset" / "dataset.json", run)
    (run / "config.yaml").write_text(
        f"seed: 0\nlight:\n  probe: null\n  mode: {mode}\ntextures:\n  mode: learnt\n"
    )
    return scene, run


@pytest.fixture(params=["Y", "Z"])
def scene_and_run(request, tmp_path):
    return make_run(tmp_path, request.param)


def assert_same_surface(mesh, expected):
    np.testing.assert_allclose(mesh.vertices[mesh.faces], expected.vertices[expected.faces], atol=1e-6)
    np.testing.assert_allclose(mesh.uvs[mesh.uv_faces], expected.uvs[expected.uv_faces], atol=1e-6)
    normals, wanted = mesh.normals[mesh.normal_faces], expected.normals[expected.normal_faces]
    np.testing.assert_allclose(normals, wanted, atol=1e-5)


@pytest.mark.parametrize("suffix", [".usd", ".usda", ".usdc", ".usdz"])
def test_alone(scene_and_run, tmp_path, suffix):
    scene, run = scene_and_run
    out = tmp_path / "out" / f"result{suffix}"
    main([str(run), "--out", str(out)])
    packaged = suffix == ".usdz"
    names = [out.name] if packaged else [out.name, "result_textures"]
    assert sorted(path.name for path in out.parent.iterdir()) == names

    shutil.rmtree(run)  # the result needs nothing of the run
    stage, original = open_stage(out), open_stage(scene.stage)
    assert stage.GetDefaultPrim().GetPath() == "/Recovered"
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.GetStageUpAxis(original)
    assert UsdGeom.GetStageMetersPerUnit(stage) == UsdGeom.GetStageMetersPerUnit(original)
    mesh = find_mesh(stage)
    assert_same_surface(read_mesh(mesh, 1), read_mesh(find_mesh(original), 1))
    assert mesh.GetSubdivisionSchemeAttr().Get() == "none"
    extent = np.array(mesh.GetExtentAttr().Get())
    points = np.array(mesh.GetPointsAttr().Get())
    np.testing.assert_allclose(extent, [points.min(0), points.max(0)])
    assert not stage.GetPrimAtPath(light_path())
    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    assert material.GetPath() == material_path()
    if not packaged:
        maps = bake_object(read_object([mesh], 1)).maps
        wanted = bake_object(read_object([find_mesh(original)], 1)).maps
        for channel in CHANNELS:
            tolerance = 0.03 if channel == "normal" else 1e-6  # 8-bit normals are normalized once more
            np.testing.assert_allclose(maps[channel], wanted[channel], atol=tolerance, err_msg=channel)
        assets = {
            shader.GetInput("file").Get().path
            for shader in map(UsdShade.Shader, stage.Traverse())
            if shader and shader.GetInput("file")
        }
        assert assets == {f"./result_textures/{channel}.png" for channel in CHANNELS}


@pytest.mark.parametrize("suffix", [".usd", ".usda", ".usdc", ".usdz"])
@pytest.mark.parametrize("over", [False, True])
def test_layers_are_valid(tmp_path, suffix, over):
    scene, run = make_run(tmp_path, mode="learnt")
    out = tmp_path / f"result{suffix}"
    main([str(run), "--out", str(out), *(["--stage", str(scene.stage)] if over else [])])
    assert validation_errors(out) == []


@pytest.mark.parametrize("suffix", [".usda", ".usdz"])
def test_over_the_original(scene_and_run, tmp_path, suffix):
    scene, run = scene_and_run
    before = {path: path.read_bytes() for path in scene.stage.parent.rglob("*") if path.is_file()}
    out = tmp_path / "elsewhere" / f"result{suffix}"
    main([str(run), "--out", str(out), "--stage", str(scene.stage), "--object", "/World/sphere"])
    assert {path: path.read_bytes() for path in scene.stage.parent.rglob("*") if path.is_file()} == before

    stage, original = open_stage(out), open_stage(scene.stage)
    mesh = find_mesh(stage)  # the only visible one
    assert mesh.GetPath() == mesh_path(OVER)
    assert_same_surface(read_mesh(mesh, 1), read_mesh(find_mesh(original), 1))
    assert_same_surface(read_mesh(find_mesh(stage, "/World/sphere"), 1), read_mesh(find_mesh(original), 1))
    assert stage.GetDefaultPrim().GetPath() == "/World"
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (1, 4)
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.GetStageUpAxis(original)
    assert UsdGeom.Imageable(stage.GetPrimAtPath("/World/dome")).ComputeVisibility() == "inherited"
    if suffix == ".usda":
        assert stage.GetRootLayer().subLayerPaths == ["../scene/scene.usda"]


def test_learnt_light_takes_the_place_of_the_dome(tmp_path):
    scene, run = make_run(tmp_path, up_axis="Z", mode="learnt")
    main([str(run), "--out", str(tmp_path / "r.usda"), "--stage", str(scene.stage)])
    stage = open_stage(tmp_path / "r.usda")
    lights = find_lights(stage, 1)
    assert [dome.path for dome in lights.domes] == [light_path(OVER)]  # the only visible one
    # Seen in the stage, the light shines from where the original does: the scene's dome has its own +z as
    # stage +z, which is dataset +y.
    stage_axes = bake_probe(probe_job(lights, np.eye(3)))
    np.testing.assert_allclose(stage_axes[8, 16], AXIS_COLORS["+z"], atol=1e-5)
    np.testing.assert_allclose(stage_axes[8, 8], AXIS_COLORS["+x"], atol=1e-5)
    np.testing.assert_allclose(stage_axes[0, 0], AXIS_COLORS["+y"], atol=1e-5)
    assert UsdLux.DomeLight(stage.GetPrimAtPath(light_path(OVER))).GetTextureFormatAttr().Get() == "latlong"


def test_light_mode_is_read_from_blocks(tmp_path):
    for text, expected in (
        ("light:\n  mode: learnt\n", True),
        ("light:\n  faces: 32\n  # a note\n  mode: 'learnt'\nz: 1\n", True),
        ("light:\n  mode: known\ntextures:\n  mode: learnt\n", False),
        ("other:\n  mode: learnt\nlight:\n  mode: known", False),
        ("", False),
    ):
        (tmp_path / "config.yaml").write_text(text)
        assert light_was_learnt(tmp_path) is expected, text


def test_a_run_without_dataset_description_stays_in_its_frame(tmp_path):
    scene, run = make_run(tmp_path)
    (run / "dataset.json").unlink()
    main([str(run), "--out", str(tmp_path / "r.usda")])
    expected = read_obj(run / "mesh" / "mesh.obj")
    mesh = read_mesh(find_mesh(stage := open_stage(tmp_path / "r.usda")), 1)
    assert_same_surface(mesh, expected)
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    with pytest.raises(UserError, match="--object"):
        main([str(run), "--out", str(tmp_path / "s.usda"), "--stage", str(scene.stage)])


def edit_json(**changes):
    def edit(run):
        content = json.loads((run / "dataset.json").read_text())
        (run / "dataset.json").write_text(json.dumps({**content, **changes}))

    return edit


@pytest.mark.parametrize(
    "spoil, options, message",
    [
        (shutil.rmtree, {}, "no such run folder"),
        (lambda run: (run / "config.yaml").unlink(), {}, r"config\.yaml.*missing"),
        (lambda run: (run / "mesh" / "albedo.png").unlink(), {}, r"lacks albedo\.png"),
        (lambda run: (run / "mesh" / "mesh.obj").write_text("f 1 2 3"), {}, r"mesh\.obj"),
        (lambda run: (run / "dataset.json").write_text("{"), {}, r"dataset\.json"),
        (edit_json(stage_to_dataset=[[0] * 4] * 4), {}, "impossible"),
        (edit_json(stage_to_dataset="x"), {}, r"dataset\.json"),
        (edit_json(up_axis="X"), {}, "impossible"),
        (lambda run: None, {"--out": "r.obj"}, "usdz"),
        (lambda run: None, {"--object": "/World/sphere"}, "needs --stage"),
        (lambda run: None, {"--stage": "scene/scene.usda", "--object": "/World/x"}, "--object /World/x"),
        (lambda run: None, {"--stage": "scene/absent.usda"}, "no such stage"),
        (lambda run: None, {"--stage": "scene/scene.usda", "--out": "scene/scene.usda"}, "never changed"),
    ],
)
def test_bad_input(tmp_path, spoil, options, message):
    _scene, run = make_run(tmp_path)
    spoil(run)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    options = {"--out": "r.usda", **options}
    paths = {key: value if key == "--object" else str(tmp_path / value) for key, value in options.items()}
    with pytest.raises(UserError, match=message):
        main([str(run), *(word for pair in paths.items() for word in pair)])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_failure_while_writing_keeps_the_earlier_result(tmp_path, monkeypatch):
    _scene, run = make_run(tmp_path)
    out = tmp_path / "out" / "r.usda"
    main([str(run), "--out", str(out)])
    before = {path: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("usd_tools.recovered_layer.add_preview_surface", full)
    with pytest.raises(OSError):
        main([str(run), "--out", str(out)])
    assert {path: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()} == before


def test_package_cut_short_is_noticed(tmp_path, monkeypatch):
    _scene, run = make_run(tmp_path)
    package = UsdUtils.CreateNewUsdzPackage

    def cut_short(asset, path):  # as USD does on a full disk
        package(asset, path)
        Path(path).write_bytes(Path(path).read_bytes()[:-100])
        return True

    monkeypatch.setattr(UsdUtils, "CreateNewUsdzPackage", cut_short)
    with pytest.raises(UserError, match="package could not be written"):
        main([str(run), "--out", str(tmp_path / "out" / "r.usdz")])
    assert not (tmp_path / "out").exists()


def test_layer_on_a_full_disk(tmp_path, monkeypatch):
    _scene, run = make_run(tmp_path)

    class FullDisk:
        """In the stage's place: a layer whose saving fails as USD tells it, once per write."""

        def GetRootLayer(self):  # noqa: N802
            return self

        def Save(self):  # noqa: N802
            line = (
                "\n\tError in 'Write' at line 78 in file a.cpp : 'Error occurred writing file: No space left'"
            )
            raise Tf.ErrorException(line * 1000)

    save = recovered_layer._save
    monkeypatch.setattr(recovered_layer, "_save", lambda _, path: save(FullDisk(), path))
    with pytest.raises(UserError, match=r"\(Error occurred writing file: No space left\)") as caught:
        main([str(run), "--out", str(tmp_path / "out" / "r.usda")])
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_as_a_file_from_a_clone(tmp_path):
    _scene, run = make_run(tmp_path)
    command = [sys.executable, str(ROOT / "usd_tools" / "import_materials.py"), str(run), "--out", "r.usdc"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert read_image(tmp_path / "r_textures" / "albedo.png").shape == (16, 16, 3)
    result = subprocess.run([*command[:3], "--out", "r.txt"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
