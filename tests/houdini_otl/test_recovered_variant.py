"""Switching a stage between the original object and the recovered one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pxr import Sdf, Usd, UsdGeom, UsdLux
from texture_recovery.recovered_variant import ImportRecovered, write_recovered

from tests.usd_tools.stages import define_sphere
from usd_tools.errors import UserError


def visible(stage: Usd.Stage, path: str) -> bool:
    prim = stage.GetPrimAtPath(path)
    return bool(prim) and UsdGeom.Imageable(prim).ComputeVisibility() != UsdGeom.Tokens.invisible


def layer_with_variants(folder: Path) -> Path:
    """A layer over a stage, that hides the object and adds its successor in a variant."""
    original = Usd.Stage.CreateNew(str(folder / "stage.usda"))
    UsdGeom.Xform.Define(original, "/World")
    UsdGeom.Sphere.Define(original, "/World/object")
    original.Save()
    stage = Usd.Stage.CreateNew(str(folder / "recovered.usda"))
    stage.GetRootLayer().subLayerPaths.append("./stage.usda")
    variants = stage.OverridePrim("/World").GetVariantSets().AddVariantSet("source")
    for name in ("original", "recovered"):
        variants.AddVariant(name)
    variants.SetVariantSelection("recovered")
    with variants.GetVariantEditContext():
        UsdGeom.Imageable(stage.OverridePrim("/World/object")).MakeInvisible()
        UsdGeom.Cube.Define(stage, "/World/successor")
    stage.Save()
    return folder / "recovered.usda"


def test_variant_is_chosen_where_the_layer_has_one(tmp_path: Path) -> None:
    path = layer_with_variants(tmp_path)
    before = path.read_bytes()
    for show in ("original", "recovered", "original"):
        stage = Usd.Stage.CreateInMemory()
        assert write_recovered(stage, ImportRecovered(str(path), show)) == ["/World"]
        assert visible(stage, "/World/object") == (show == "original")
        assert visible(stage, "/World/successor") == (show == "recovered")
    assert path.read_bytes() == before


def test_layer_that_stands_alone_is_shown_beside_the_named_object(tmp_path: Path) -> None:
    alone = Usd.Stage.CreateNew(str(tmp_path / "alone.usda"))
    UsdGeom.Xform.Define(alone, "/Recovered")
    UsdGeom.Cube.Define(alone, "/Recovered/mesh")
    alone.Save()
    scene = Sdf.Layer.CreateAnonymous()
    UsdGeom.Sphere.Define(Usd.Stage.Open(scene), "/World/object")
    for show in ("original", "recovered"):
        own = Usd.Stage.CreateInMemory()
        shown = ImportRecovered(str(tmp_path / "alone.usda"), show, "/World/object")
        assert write_recovered(own, shown) == ["/Recovered", "/World/object"]
        whole = Usd.Stage.CreateInMemory()
        whole.GetRootLayer().subLayerPaths = [own.GetRootLayer().identifier, scene.identifier]
        assert visible(whole, "/World/object") == (show == "original")
        assert visible(whole, "/Recovered/mesh") == (show == "recovered")


def test_meshes_of_an_object_give_way_and_not_the_lights_among_them(tmp_path: Path) -> None:
    alone = Usd.Stage.CreateNew(str(tmp_path / "alone.usda"))
    UsdGeom.Cube.Define(alone, "/Recovered/mesh")
    alone.Save()
    scene = Usd.Stage.CreateInMemory()
    for path in ("/World/lamp/base", "/World/lamp/shade", "/library/knob/mesh"):
        define_sphere(scene, path)
    scene.GetPrimAtPath("/library").SetSpecifier(Sdf.SpecifierClass)
    knob = UsdGeom.Xform.Define(scene, "/World/lamp/knob").GetPrim()
    knob.GetReferences().AddInternalReference("/library/knob")
    knob.SetInstanceable(True)
    UsdLux.SphereLight.Define(scene, "/World/lamp/bulb")
    own = Usd.Stage.CreateInMemory()
    shown = ImportRecovered(str(tmp_path / "alone.usda"), object_path="/World/lamp")
    replaced = [f"/World/lamp/{name}" for name in ("base", "shade", "knob")]
    assert sorted(write_recovered(own, shown, scene)) == sorted(["/Recovered", *replaced])
    whole = Usd.Stage.CreateInMemory()
    whole.GetRootLayer().subLayerPaths = [own.GetRootLayer().identifier, scene.GetRootLayer().identifier]
    assert not any(visible(whole, path) for path in replaced)
    assert visible(whole, "/World/lamp/bulb") and visible(whole, "/Recovered/mesh")


def test_object_that_the_stage_does_not_have_is_told(tmp_path: Path) -> None:
    """Else both would be seen, one inside the other."""
    alone = Usd.Stage.CreateNew(str(tmp_path / "alone.usda"))
    UsdGeom.Cube.Define(alone, "/Recovered/mesh")
    alone.Save()
    shown = ImportRecovered(str(tmp_path / "alone.usda"), object_path="/World/renamed")
    own, scene = Usd.Stage.CreateInMemory(), Usd.Stage.CreateInMemory()
    assert write_recovered(own, shown, scene) == ["/Recovered", "/World/renamed"], "without an input"
    define_sphere(scene, "/World/object")
    with pytest.raises(UserError, match="/World/renamed: is not on the stage of the node's input"):
        write_recovered(own, shown, scene)


def test_cooking_again_changes_nothing(tmp_path: Path) -> None:
    shown = ImportRecovered(str(layer_with_variants(tmp_path)), "original")
    stage = Usd.Stage.CreateInMemory()
    write_recovered(stage, shown)
    once = stage.GetRootLayer().ExportToString()
    write_recovered(stage, shown)
    assert stage.GetRootLayer().ExportToString() == once


def test_unusable_layers_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.usda").write_text("no layer")
    (tmp_path / "picture.png").write_text("no layer")
    stage = Usd.Stage.CreateInMemory()
    for shown, message in (
        (ImportRecovered(), "layer: is not set"),
        (ImportRecovered(str(tmp_path / "missing.usda")), "no such file; click Import Recovered"),
        (ImportRecovered(str(tmp_path)), "is a folder; expected a USD file"),
        (ImportRecovered(str(tmp_path / "text.usda")), "cannot be read as USD"),
        (ImportRecovered(str(tmp_path / "picture.png")), "cannot be read as USD"),
        (ImportRecovered("x.usda", "both"), "show both"),
        (ImportRecovered("x.usda", object_path="World"), "expected a prim path"),
    ):
        with pytest.raises(UserError, match=message):
            write_recovered(stage, shown)
