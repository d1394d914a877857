"""Small .mtlx documents, and stages that reference them."""

from pathlib import Path

import numpy as np
from pxr import Sdf, Usd, UsdGeom, UsdShade

from usd_tools.images import write_png
from usd_tools.stage import open_stage

SIZE = 8


def write_picture(folder: Path, name: str = "picture.png", seed: int = 1, size: int = SIZE) -> np.ndarray:
    """Noise; returns the stored values (size, size, 3) in 0..1 as they are read back."""
    values = np.random.default_rng(seed).integers(0, 256, (size, size, 3)) / 255
    write_png(folder / name, values)
    return values.astype(np.float32)


def document(graph: str, inputs: str = "", surface: str = "standard_surface", more: str = "") -> str:
    """A document with one node graph `graph`, whose output `result` is the surface's base_color."""
    return f"""<?xml version="1.0"?>
<materialx version="1.38" colorspace="lin_rec709">
  {more}
  <nodegraph name="graph">{graph}</nodegraph>
  <{surface} name="surface" type="surfaceshader">
    <input name="base_color" type="color3" nodegraph="graph" output="result" />
    {inputs}
  </{surface}>
  <surfacematerial name="look" type="material">
    <input name="surfaceshader" type="surfaceshader" nodename="surface" />
  </surfacematerial>
</materialx>
"""


PICTURE = """
<image name="picture" type="color3">
  <input name="file" type="filename" value="picture.png" colorspace="none" />
</image>
"""


def write_stage(folder: Path, text: str, name: str = "look.mtlx") -> Path:
    """A stage with a quad /World/quad (UVs 0..1) bound to the document's material `look`."""
    (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    path = folder / "scene.usda"
    stage = Usd.Stage.CreateNew(str(path))
    define_quad(stage, "/World/quad")
    scope = stage.DefinePrim("/World/looks", "Scope")
    scope.GetReferences().AddReference(f"./{name}", "/MaterialX/Materials")
    binding = UsdShade.MaterialBindingAPI.Apply(stage.GetPrimAtPath("/World/quad"))
    binding.GetDirectBindingRel().SetTargets([Sdf.Path("/World/looks/look")])
    stage.Save()
    return path


def open_quad(folder: Path, text: str) -> UsdGeom.Mesh:
    stage = open_stage(write_stage(folder, text))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/World/quad"))
    mesh.stage = stage  # prims do not keep their stage alive
    return mesh


def define_quad(
    stage: Usd.Stage,
    path: str,
    uvs: tuple[tuple[float, float], ...] = ((0, 0), (1, 0), (1, 1), (0, 1)),
    offset: float = 0.0,
) -> UsdGeom.Mesh:
    """A unit square in the x-y plane, moved along x, that looks along +z."""
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr([(offset + x, y, 0) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    mesh.CreateSubdivisionSchemeAttr("none")
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "faceVarying")
    st.Set(list(uvs))
    return mesh
