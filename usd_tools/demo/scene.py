"""The demo scene as a USD stage: mesh, UsdPreviewSurface with painted maps, studio light, turntable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pxr import Gf, Kind, Sdf, Usd, UsdGeom, UsdLux, UsdShade, Vt

from usd_tools.color import linear_to_srgb
from usd_tools.demo.gourd import HEIGHT, GourdMesh, gourd
from usd_tools.demo.paint import PaintedTextures, paint_textures
from usd_tools.demo.studio import studio_probe
from usd_tools.errors import UserError
from usd_tools.images import write_exr, write_png

SIZE = 8.0  # stage units (centimeters) per unit of the gourd's formula: about 20 cm tall
DISTANCE = 30.5  # camera to the center: the bounding sphere just fits the frame
FIELD_OF_VIEW = 41.0  # degrees, horizontal and vertical
OBJECT_PATH = "/World/Gourd"
CAMERA_PATH = "/World/Turntable"
DOME_PATH = "/World/Studio"

_ROOT = "/World"
_MATERIAL_PATH = "/World/Materials/Glaze"


def write_demo_scene(
    folder: str | Path, frames: int = 46, seed: int = 0, probe_seed: int = 0, texture_resolution: int = 512
) -> Path:
    """Writes `scene.usda`, `textures/*.png` and `textures/studio.exr` into `folder`; returns the stage.

    The stage is Y-up in centimeters. The object stands on the ground at the origin; the camera's frames 1 to
    `frames` spiral from above to below it, so that every evenly spaced subset sees all elevations.

    seed: variant of the paint. probe_seed: variant of the light (for relighting).
    """
    if frames < 1:
        raise UserError(f"--frames {frames}: expected at least 1 frame")
    if texture_resolution < 8:
        raise UserError(f"--texture-resolution {texture_resolution}: expected at least 8 texels")
    folder = Path(folder)
    textures = folder / "textures"
    textures.mkdir(parents=True, exist_ok=True)
    _write_textures(textures, paint_textures(texture_resolution, seed))
    write_exr(textures / "studio.exr", studio_probe(probe_seed))

    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    stage.SetFramesPerSecond(24)
    stage.SetTimeCodesPerSecond(24)
    stage.SetStartTimeCode(1)
    stage.SetEndTimeCode(frames)
    root = UsdGeom.Xform.Define(stage, _ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root.GetPrim()).SetKind(Kind.Tokens.component)
    _define_mesh(stage, gourd())
    _define_material(stage)
    _define_dome(stage)
    _define_camera(stage, frames)

    path = folder / "scene.usda"
    temporary = folder / ".scene.partial.usda"
    stage.GetRootLayer().Export(str(temporary))
    temporary.replace(path)
    return path


def turntable_positions(frames: int) -> np.ndarray:
    """(frames, 3) unit directions from the object to the camera: a Fibonacci spiral from top to bottom.

    Swinbank & Purser, "Fibonacci grids" (2006): equal areas in height, the golden angle around.
    """
    index = np.arange(frames)
    height = 1 - (2 * index + 1) / frames
    azimuth = index * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.sin(azimuth), height, flat * np.cos(azimuth)], axis=-1)


def _write_textures(folder: Path, painted: PaintedTextures) -> None:
    write_png(folder / "albedo.png", linear_to_srgb(painted.albedo))
    write_png(folder / "roughness.png", painted.roughness)
    write_png(folder / "metallic.png", painted.metallic)


def _define_mesh(stage: Usd.Stage, shape: GourdMesh) -> None:
    mesh = UsdGeom.Mesh.Define(stage, OBJECT_PATH)
    points = (shape.points * SIZE).astype(np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([points.min(axis=0), points.max(axis=0)])))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray([3] * len(shape.faces)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(shape.faces.astype(np.int32).reshape(-1)))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(shape.normals.astype(np.float32)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    corners = shape.uvs.reshape(-1, 2).astype(np.float32)
    values, indices = np.unique(corners, axis=0, return_inverse=True)
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(values)))
    st.SetIndices(Vt.IntArray.FromNumpy(indices.astype(np.int32).reshape(-1)))
    mesh.AddTranslateOp().Set(Gf.Vec3d(0, HEIGHT * SIZE, 0))  # stands on the ground
    material = UsdShade.Material.Define(stage, _MATERIAL_PATH)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)


def _define_material(stage: Usd.Stage) -> None:
    material = UsdShade.Material.Get(stage, _MATERIAL_PATH)
    UsdGeom.Scope.Define(stage, Sdf.Path(_MATERIAL_PATH).GetParentPath())
    surface = _shader(stage, "Surface", "UsdPreviewSurface")
    reader = _shader(stage, "Reader", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    st = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    for name, channel, kind, color_space, output in (
        ("albedo", "diffuseColor", Sdf.ValueTypeNames.Color3f, "sRGB", "rgb"),
        ("roughness", "roughness", Sdf.ValueTypeNames.Float, "raw", "r"),
        ("metallic", "metallic", Sdf.ValueTypeNames.Float, "raw", "r"),
    ):
        texture = _shader(stage, name.capitalize(), "UsdUVTexture")
        texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(f"./textures/{name}.png"))
        texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set(color_space)
        texture.CreateInput("wrapS", Sdf.ValueTypeNames.Token).Set("repeat")
        texture.CreateInput("wrapT", Sdf.ValueTypeNames.Token).Set("repeat")
        texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(st)
        value = Sdf.ValueTypeNames.Float3 if output == "rgb" else Sdf.ValueTypeNames.Float
        surface.CreateInput(channel, kind).ConnectToSource(texture.CreateOutput(output, value))
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))


def _shader(stage: Usd.Stage, name: str, identifier: str) -> UsdShade.Shader:
    shader = UsdShade.Shader.Define(stage, f"{_MATERIAL_PATH}/{name}")
    shader.CreateIdAttr(identifier)
    return shader


def _define_dome(stage: Usd.Stage) -> None:
    dome = UsdLux.DomeLight.Define(stage, DOME_PATH)
    dome.CreateTextureFileAttr(Sdf.AssetPath("./textures/studio.exr"))
    dome.CreateTextureFormatAttr(UsdLux.Tokens.latlong)


def _define_camera(stage: Usd.Stage, frames: int) -> None:
    camera = UsdGeom.Camera.Define(stage, CAMERA_PATH)
    aperture = 24.0
    camera.CreateHorizontalApertureAttr(aperture)
    camera.CreateVerticalApertureAttr(aperture)
    camera.CreateFocalLengthAttr(float(aperture / 2 / np.tan(np.radians(FIELD_OF_VIEW / 2))))
    camera.CreateClippingRangeAttr(Gf.Vec2f(1, 1000))
    transform = camera.AddTransformOp()
    center = np.array([0.0, HEIGHT * SIZE, 0.0])
    for index, back in enumerate(turntable_positions(frames)):
        right = np.cross([0.0, 1.0, 0.0], back)
        right /= np.linalg.norm(right)
        matrix = np.eye(4)  # column-vector; USD's row-vector matrix is its transpose
        matrix[:3, :4] = np.stack([right, np.cross(back, right), back, center + DISTANCE * back], axis=-1)
        transform.Set(Gf.Matrix4d(*matrix.T.reshape(-1).tolist()), Usd.TimeCode(index + 1))
