"""Imported layers over stages of many kinds: what flips, what moves along, and what stays untouched."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux, UsdShade

from tests.usd_tools.stages import define_material, define_sphere, write_scene
from tests.usd_tools.validation import materialx_errors, validation_errors
from usd_tools.images import read_png, write_png
from usd_tools.import_materials import main
from usd_tools.mesh_reading import read_mesh
from usd_tools.recovered_layer import CUSTOM_DATA, light_path, material_path, mesh_path
from usd_tools.source_variants import ORIGINAL, RECOVERED, VARIANT_SET
from usd_tools.stage import find_mesh, find_object, is_rendered, open_stage, world_matrix
from usd_tools.textured_object import read_object
from usd_tools.usd_to_llff import main as convert

PLAIN = "light:\n  mode: known\n"
LEARNT = "light:\n  mode: learnt\n"
KNOWN = "geometry:\n  grid: 32\n  mesh: scene.usda:/World/sphere\nlight:\n  mode: known\n"


def import_over(folder, *options, edit=lambda stage: None, config=PLAIN, suffix=".usda", **scene):
    """Scene, dataset, a run whose result is the ground truth, and the layer over the scene: both paths."""
    written = write_scene(folder / "scene", edit=edit, **scene)
    chosen = ["--ground-truth-only", *options, "--out", str(folder / "dataset")]
    assert convert([str(written.stage), *chosen]) == 0
    run = folder / "run"
    shutil.copytree(folder / "dataset" / "ground_truth", run / "mesh")
    shutil.copy(folder / "dataset" / "dataset.json", run)
    (run / "config.yaml").write_text(config)
    out = folder / f"result{suffix}"
    main([str(run), "--out", str(out), "--stage", str(written.stage)])
    assert validation_errors(out) == []
    return written.stage, out


def choose(path, choice):
    """The stage at `path` with `choice` selected in every set, as an artist would."""
    stage = open_stage(path)
    stage.SetEditTarget(stage.GetSessionLayer())
    hosts = [prim for prim in stage.TraverseAll() if VARIANT_SET in prim.GetVariantSets().GetNames()]
    assert hosts
    for prim in hosts:
        assert prim.GetVariantSet(VARIANT_SET).GetVariantNames() == [ORIGINAL, RECOVERED]
        prim.GetVariantSet(VARIANT_SET).SetVariantSelection(choice)
    return stage


def contents(stage):
    """All that renderers see of a stage: types, values, samples, targets."""
    found = {}
    for prim in stage.Traverse():
        for attribute in prim.GetAttributes():
            if attribute.HasAuthoredValue() or attribute.HasAuthoredConnections():
                samples = {time: str(attribute.Get(time)) for time in attribute.GetTimeSamples()}
                value = str(attribute.Get()), samples, attribute.GetConnections()
                found[str(attribute.GetPath())] = value
        for relation in prim.GetRelationships():
            if relation.HasAuthoredTargets():
                found[str(relation.GetPath())] = relation.GetTargets()
        found[str(prim.GetPath())] = prim.GetTypeName(), is_rendered(prim, 1)
    return found


def rendered_meshes(stage, time=1):
    prims = [prim for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh) and is_rendered(prim, time)]
    return [str(prim.GetPath()) for prim in prims]


def bound(stage, path, purpose=UsdShade.Tokens.allPurpose):
    api = UsdShade.MaterialBindingAPI(stage.GetPrimAtPath(path))
    return str(api.ComputeBoundMaterial(purpose)[0].GetPath())


@pytest.mark.parametrize("config", [PLAIN, LEARNT])
def test_original_is_the_untouched_stage(tmp_path, config):
    source, out = import_over(tmp_path, config=config)
    assert contents(choose(out, ORIGINAL)) == contents(open_stage(source))
    stage = choose(out, RECOVERED)
    assert rendered_meshes(stage) == [mesh_path("/World/sphere_recovered")]
    shining = [prim for prim in stage.Traverse() if prim.HasAPI(UsdLux.LightAPI) and is_rendered(prim, 1)]
    expected = light_path("/World/sphere_recovered") if config == LEARNT else "/World/dome"
    assert [str(prim.GetPath()) for prim in shining] == [expected]


def turning(stage):
    """Below a parent that moves, turned and mirrored itself; unevenly scaled, with a pivot."""
    parent = UsdGeom.Xform.Define(stage, "/World/rig")
    parent.AddTranslateOp().Set(Gf.Vec3d(0.2, -0.1, 0.3))
    spin = parent.AddRotateYOp()
    parent.AddScaleOp().Set(Gf.Vec3f(-1.5, 1, 1))
    stage.RemovePrim("/World/sphere")
    sphere = define_sphere(stage, "/World/rig/sphere")
    define_material(stage, "/World/materials/look", "/World/rig/sphere")
    pivot = sphere.AddTranslateOp(opSuffix="pivot")
    pivot.Set(Gf.Vec3d(0.1, 0, 0))
    turn = sphere.AddRotateXYZOp()
    sphere.AddScaleOp().Set(Gf.Vec3f(1, 0.8, 1))
    sphere.AddTranslateOp(opSuffix="pivot", isInverseOp=True)
    for frame in range(1, 5):
        spin.Set(15.0 * frame, frame)
        turn.Set(Gf.Vec3f(5 * frame, 0, 20 * frame), frame)


@pytest.mark.parametrize("up_axis", ["Y", "Z"])
def test_the_recovered_mesh_moves_as_the_original(tmp_path, up_axis):
    source, out = import_over(tmp_path, edit=turning, up_axis=up_axis)
    stage, original = open_stage(out), open_stage(source)
    recovered = find_mesh(stage)
    assert recovered.GetPath() == mesh_path("/World/rig/sphere_recovered")
    for time in (1, 2.5, 4):
        ours, true = read_mesh(recovered, time), read_mesh(find_mesh(original), time)
        np.testing.assert_allclose(ours.vertices[ours.faces], true.vertices[true.faces], atol=2e-6)
        np.testing.assert_allclose(
            ours.normals[ours.normal_faces], true.normals[true.normal_faces], atol=1e-4
        )
    assert np.abs(read_mesh(recovered, 1).vertices - read_mesh(recovered, 4).vertices).max() > 0.1


def test_a_learnt_light_does_not_turn_with_the_object(tmp_path):
    _, out = import_over(tmp_path, edit=turning, config=LEARNT, up_axis="Z")
    stage = open_stage(out)
    dome = stage.GetPrimAtPath(light_path("/World/rig/sphere_recovered"))
    upright = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # the dataset's +y is the stage's +z
    for time in (1, 4):
        np.testing.assert_allclose(world_matrix(dome, time)[:3, :3], upright, atol=1e-9)


def turning_dome(stage):
    turn = UsdGeom.Xformable(stage.GetPrimAtPath("/World/dome")).AddRotateYOp()
    for frame in range(1, 5):
        turn.Set(30.0 * frame, frame)


def test_a_learnt_light_turns_as_the_lights_in_its_place(tmp_path):
    source, out = import_over(tmp_path, edit=turning_dome, config=LEARNT)
    stage, original = open_stage(out), open_stage(source)
    dome = stage.GetPrimAtPath(light_path("/World/sphere_recovered"))
    true = original.GetPrimAtPath("/World/dome")
    held = world_matrix(true, 1)[:3, :3]
    for time in (1, 3, 4):
        turned = world_matrix(true, time)[:3, :3] @ held.T  # since the first frame, whose light was learnt
        np.testing.assert_allclose(world_matrix(dome, time)[:3, :3], turned, atol=1e-6)


def other_uv_name(stage):
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/World/sphere"))
    api = UsdGeom.PrimvarsAPI(mesh)
    st = api.GetPrimvar("st")
    uv = api.CreatePrimvar("UVMap", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
    uv.Set(st.Get())
    uv.SetIndices(st.GetIndices())
    api.RemovePrimvar("st")
    stage.GetPrimAtPath("/World/materials/look/st").GetAttribute("inputs:varname").Set("UVMap")


def render_purpose(stage):
    prim = stage.GetPrimAtPath("/World/sphere")
    material = UsdShade.Material(stage.GetPrimAtPath("/World/materials/look"))
    api = UsdShade.MaterialBindingAPI(prim)
    for purpose in (UsdShade.Tokens.full, UsdShade.Tokens.preview):
        api.Bind(material, UsdShade.Tokens.strongerThanDescendants, purpose)


@pytest.mark.parametrize("edit", [lambda stage: None, other_uv_name, render_purpose])
def test_on_a_known_mesh_only_the_look_is_new(tmp_path, edit):
    source, out = import_over(tmp_path, edit=edit, config=KNOWN)
    assert contents(choose(out, ORIGINAL)) == contents(open_stage(source))
    stage = choose(out, RECOVERED)
    assert rendered_meshes(stage) == ["/World/sphere"]
    assert not stage.GetPrimAtPath(mesh_path("/World/sphere_recovered"))
    purposes = (UsdShade.Tokens.allPurpose, UsdShade.Tokens.full, UsdShade.Tokens.preview)
    for purpose in purposes:
        assert bound(stage, "/World/sphere", purpose) == material_path("/World/sphere_recovered")
        assert bound(choose(out, ORIGINAL), "/World/sphere", purpose) == "/World/materials/look"
    uv = "UVMap" if edit is other_uv_name else "st"
    material = stage.GetPrimAtPath(material_path("/World/sphere_recovered"))
    assert material.GetChild("preview_uv").GetAttribute("inputs:varname").Get() == uv
    assert material.GetChild("open_pbr_uv").GetAttribute("inputs:geomprop").Get() == uv


def test_a_known_mesh_that_changed_since_is_brought_along(tmp_path, capsys):
    source, out = import_over(tmp_path, config=KNOWN)
    stage = Usd.Stage.Open(str(source))
    sphere = UsdGeom.Mesh(stage.GetPrimAtPath("/World/sphere"))
    sphere.GetPointsAttr().Set([1.1 * point for point in sphere.GetPointsAttr().Get()])
    stage.Save()
    main([str(tmp_path / "run"), "--out", str(out), "--stage", str(source)])
    assert rendered_meshes(open_stage(out)) == [mesh_path("/World/sphere_recovered")]
    assert "is not the mesh that was trained on" in capsys.readouterr().err


def at_the_root(stage):
    """Object, look and light all without a parent."""
    define_sphere(stage, "/sphere")
    define_material(stage, "/look", "/sphere")
    stage.RemovePrim("/World/sphere")
    stage.RemovePrim("/World/materials")
    stage.RemovePrim("/World/dome")
    UsdLux.DomeLight.Define(stage, "/sky")


@pytest.mark.parametrize("config", [LEARNT, KNOWN])
def test_prims_without_a_common_parent(tmp_path, config):
    source, out = import_over(tmp_path, edit=at_the_root, config=config)
    left = contents(choose(out, ORIGINAL))
    assert left.pop("/sphere_recovered") == ("Xform", True)  # empty
    assert left == contents(open_stage(source))
    stage = choose(out, RECOVERED)
    if config == LEARNT:
        assert rendered_meshes(stage) == [mesh_path("/sphere_recovered")]
        assert not is_rendered(stage.GetPrimAtPath("/sky"), 1)
    else:
        assert bound(stage, "/sphere") == material_path("/sphere_recovered")


def insistent(stage):
    UsdGeom.Imageable(stage.GetPrimAtPath("/World/sphere")).CreateVisibilityAttr("inherited")
    visibility = UsdGeom.Imageable(stage.GetPrimAtPath("/World/dome")).CreateVisibilityAttr()
    visibility.Set("inherited", 1)
    visibility.Set("inherited", 3)


def test_authored_visibility_is_no_obstacle(tmp_path):
    """A variant loses to what the original's own layer says of the same attribute."""
    source, out = import_over(tmp_path, edit=insistent, config=LEARNT)
    assert contents(choose(out, ORIGINAL)) == contents(open_stage(source))
    stage = choose(out, RECOVERED)
    assert rendered_meshes(stage) == [mesh_path("/World/sphere_recovered")]
    assert not stage.GetPrimAtPath("/World/dome").IsActive()


def instanced(stage):
    """The sphere is a reference's, and the reference is an instance."""
    path = stage.GetRootLayer().realPath.replace("scene.usda", "asset.usda")
    asset = Usd.Stage.CreateNew(path)
    asset.SetDefaultPrim(UsdGeom.Xform.Define(asset, "/Asset").GetPrim())
    define_sphere(asset, "/Asset/shape")
    define_material(asset, "/Asset/look", "/Asset/shape")
    UsdLux.DistantLight.Define(asset, "/Asset/lamp")
    asset.Save()
    stage.RemovePrim("/World/sphere")
    prim = UsdGeom.Xform.Define(stage, "/World/asset")
    prim.AddTranslateOp().Set(Gf.Vec3d(1, 2, 3))
    prim.GetPrim().GetReferences().AddReference("./asset.usda")
    prim.GetPrim().SetInstanceable(True)


@pytest.mark.parametrize("config", [LEARNT, KNOWN])
def test_instances_and_references(tmp_path, config):
    _, out = import_over(tmp_path, edit=instanced, config=config)
    stage = choose(out, RECOVERED)
    if config == KNOWN:
        assert bound(stage, "/World/asset/shape") == material_path("/World/asset/shape_recovered")
        assert bound(choose(out, ORIGINAL), "/World/asset/shape") == "/World/asset/look"
    else:
        assert rendered_meshes(stage) == [mesh_path("/World/asset/shape_recovered")]
        assert not is_rendered(stage.GetPrimAtPath("/World/asset/lamp"), 1)
        assert rendered_meshes(choose(out, ORIGINAL)) == ["/World/asset/shape"]


def several(stage):
    """Two spheres below a prim that turns, among a lamp and a hidden sphere."""
    stage.RemovePrim("/World/sphere")
    pair = UsdGeom.Xform.Define(stage, "/World/pair")
    turn = pair.AddRotateYOp()
    for frame in range(1, 5):
        turn.Set(20.0 * frame, frame)
    for name in ("left", "right", "spare"):
        path = f"/World/pair/{name}"
        define_sphere(stage, path).AddTranslateOp().Set(Gf.Vec3d(1.5 if name == "right" else 0, 0, 0))
        define_material(stage, "/World/materials/look", path)
    UsdGeom.Imageable(stage.GetPrimAtPath("/World/pair/spare")).MakeInvisible()
    UsdLux.DistantLight.Define(stage, "/World/lamp")
    UsdLux.DistantLight.Define(stage, "/World/pair/lamp")


@pytest.mark.parametrize("mode", ["known", "learnt"])
def test_several_meshes_give_way_and_lights_among_them_stay(tmp_path, mode):
    """Hiding what is above them would put out the lamp, too."""
    config = f"geometry:\n  mesh: dataset/ground_truth/mesh.obj\nlight:\n  mode: {mode}\n"
    source, out = import_over(tmp_path, "--object", "/World/pair", edit=several, config=config)
    assert contents(choose(out, ORIGINAL)) == contents(open_stage(source))
    stage, original = choose(out, RECOVERED), open_stage(source)
    assert rendered_meshes(stage) == [mesh_path("/World/pair_recovered")]
    assert is_rendered(stage.GetPrimAtPath("/World/pair/lamp"), 1) == (mode == "known")
    for time in (1, 3):
        ours = read_mesh(find_mesh(stage), time)
        _, parts = find_object(original, "/World/pair", time)
        true = read_object(parts, time, with_looks=False).mesh
        np.testing.assert_allclose(ours.vertices[ours.faces], true.vertices[true.faces], atol=2e-6)


def test_a_second_import_of_the_same_object_is_refused(tmp_path):
    from usd_tools.errors import UserError

    _, out = import_over(tmp_path)
    with pytest.raises(UserError, match="already has a prim /World/sphere_recovered"):
        main(
            [
                str(tmp_path / "run"),
                *("--out", str(tmp_path / "again.usda"), "--stage", str(out), "--object", "/World/sphere"),
            ]
        )


def test_what_the_layer_remembers_of_the_run(tmp_path):
    _, out = import_over(tmp_path, config=LEARNT)
    stage = open_stage(out)
    prim = stage.GetPrimAtPath("/World/sphere_recovered")
    assert prim.GetCustomDataByKey(CUSTOM_DATA) == {"run": "run", "config": LEARNT}


def test_both_looks_read_the_same_pictures(tmp_path):
    _, out = import_over(tmp_path, suffix=".usdc")
    stage = open_stage(out)
    material = stage.GetPrimAtPath(material_path("/World/sphere_recovered"))
    for channel in ("albedo", "roughness", "metallic", "normal"):
        preview = UsdShade.Shader(material.GetChild(f"preview_{channel}"))
        open_pbr = UsdShade.Shader(material.GetChild(f"open_pbr_{channel}"))
        file = open_pbr.GetInput("file")
        assert file.Get().path == preview.GetInput("file").Get().path == f"./result_textures/{channel}.png"
        spaces = (preview.GetInput("sourceColorSpace").Get(), file.GetAttr().GetColorSpace())
        assert spaces == (("sRGB", "srgb_texture") if channel == "albedo" else ("raw", "raw"))
    surface, _, _ = UsdShade.Material(material).ComputeSurfaceSource("mtlx")
    assert surface.GetShaderId() == "ND_open_pbr_surface_surfaceshader"
    surface, _, _ = UsdShade.Material(material).ComputeSurfaceSource()
    assert surface.GetShaderId() == "UsdPreviewSurface"


def test_the_check_of_materialx_sees_errors(tmp_path):
    _, out = import_over(tmp_path)
    stage = Usd.Stage.Open(str(out))
    material = stage.GetPrimAtPath(material_path("/World/sphere_recovered"))
    assert materialx_errors(stage) == []
    material.GetChild("open_pbr_albedo").GetAttribute("info:id").Set("ND_imagine_color3")
    assert materialx_errors(stage)


def only_context(stage, context):
    """Leaves the material one of its two surfaces."""
    material = UsdShade.Material(stage.GetPrimAtPath(material_path("/World/sphere_recovered")))
    material.GetSurfaceOutput("" if context == "mtlx" else "mtlx").DisconnectSource()


@pytest.mark.parametrize("context", ["mtlx", "", "both"])
def test_either_look_reads_back_as_it_was_written(tmp_path, context):
    _, out = import_over(tmp_path, config=LEARNT)
    written = tmp_path / "result_textures"
    write_png(written / "occlusion.png", np.random.default_rng(2).random((16, 16)))
    stage = open_stage(out)
    if context != "both":
        only_context(stage, context)
        stage.Save()
    truth = tmp_path / "truth"
    assert convert([str(out), "--ground-truth-only", "--out", str(truth)]) == 0
    for channel in ("albedo", "roughness", "metallic", "normal", "occlusion"):
        read = read_png(truth / "ground_truth" / f"{channel}.png")
        expected = read_png(written / f"{channel}.png")
        if channel == "occlusion" and context == "mtlx":
            expected = np.ones_like(expected)  # OpenPBR has none
        np.testing.assert_allclose(read, expected, atol=1.01 / 255, err_msg=channel)
