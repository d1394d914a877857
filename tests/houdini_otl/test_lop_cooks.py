"""The digital assets' cook functions as Houdini calls them: node and asset in, layers and node errors out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hou
import pytest
from pxr import Usd, UsdGeom, UsdLux
from texture_recovery import error_lop, import_lop, turntable_lop

from tests.houdini_otl.test_digital_assets import RECORDS, script
from tests.usd_tools.stages import define_sphere

pytestmark = pytest.mark.usefixtures("houdini")


def source_node() -> Any:
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.Xform.Define(stage, "/World")
    define_sphere(stage, "/World/sphere")
    UsdLux.DomeLight.Define(stage, "/World/dome")
    return hou.LopNode("/stage/source", "null", stage_at=lambda frame: stage)


def asset_node(name: str, source: Any = None, **changes: object) -> tuple[Any, Any]:
    """The Python Script LOP, and the asset around it with its parameters as the DialogScript has them."""
    parms: dict[str, object] = {}
    for key, parm in script(name).parms.items():
        values = [_value(parm.type, text) for text in parm.default]
        parms[key] = tuple(values) if parm.size > 1 else values[0]
    assert set(changes) <= set(parms)
    asset = hou.LopNode(f"/stage/{name}1", name, {**parms, **changes})
    node = hou.LopNode(f"/stage/{name}1/cook", "pythonscript")
    node.setInput(0, source)
    return node, asset


def _value(kind: str, text: str) -> object:
    """What evalParm returns: numbers for toggles as well."""
    return float(text) if kind == "float" else text if kind in ("string", "file") else int(text)


def test_every_asset_is_cooked_here() -> None:
    assert set(RECORDS) == {"turntable_dataset", "import_recovered", "recovery_error"}


def test_turntable_with_its_defaults() -> None:
    node, asset = asset_node("turntable_dataset", source_node(), frames=5, resolution=(64, 48), normal=1)
    turntable_lop.cook(node, asset)
    stage = node.editableStage()
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/cameras/turntable"))
    assert UsdGeom.Xformable(camera).GetTimeSamples() == [1, 2, 3, 4, 5]
    assert str(node.lastModifiedPrims()[0]) == "/cameras/turntable"
    assert stage.GetPrimAtPath("/Render/turntable/vars/normal")
    assert not stage.GetPrimAtPath("/Render/turntable/vars/depth")


def test_errors_are_the_nodes_own() -> None:
    node, asset = asset_node("turntable_dataset", source_node(), object_path="/World/nothing")
    with pytest.raises(hou.NodeError, match="no such active prim"):
        turntable_lop.cook(node, asset)
    node, asset = asset_node("recovery_error", source_node())
    with pytest.raises(hou.NodeError, match="report: is not set"):
        error_lop.cook(node, asset)
    node, asset = asset_node("import_recovered")
    with pytest.raises(hou.NodeError, match="layer: is not set"):
        import_lop.cook(node, asset)


@pytest.mark.parametrize("show", ["original", "recovered"])
def test_import_lies_over_the_input(tmp_path: Path, show: str) -> None:
    layer = Usd.Stage.CreateNew(str(tmp_path / "alone.usda"))
    UsdGeom.Xform.Define(layer, "/Recovered")
    define_sphere(layer, "/Recovered/mesh")
    layer.Save()
    node, asset = asset_node(
        "import_recovered",
        source_node(),
        layer=str(tmp_path / "alone.usda"),
        show=show,
        object_path="/World/sphere",
    )
    import_lop.cook(node, asset)
    stage = node.editableStage()
    seen = {
        path: UsdGeom.Imageable(stage.GetPrimAtPath(path)).ComputeVisibility() != "invisible"
        for path in ("/World/sphere", "/Recovered/mesh")
    }
    assert seen == {"/World/sphere": show == "original", "/Recovered/mesh": show == "recovered"}
    (own,) = node._held
    assert own.customLayerData == {"HoudiniSaveControl": "Separate"}, "Houdini's marks are left alone"


def test_reload_button(houdini: Any) -> None:
    _, asset = asset_node("import_recovered", layer="/somewhere/recovered.usda")
    import_lop.reload(asset)
    assert houdini.reloaded == ["/somewhere/recovered.usda"]
    _, asset = asset_node("import_recovered")
    import_lop.reload(asset)
    assert len(houdini.reloaded) == 1
