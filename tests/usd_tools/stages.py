"""Tiny stages for tests: a textured sphere, a dome, an orbiting camera, pictures that pass for renders."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux, UsdShade

from usd_tools.images import write_exr, write_png

RADIUS = 0.5
DISTANCE = 3.0
AXIS_COLORS = {
    "+x": (1.0, 0.0, 0.0),
    "-x": (0.0, 1.0, 1.0),
    "+y": (0.0, 1.0, 0.0),
    "-y": (1.0, 0.0, 1.0),
    "+z": (0.0, 0.0, 1.0),
    "-z": (1.0, 1.0, 0.0),
}


@dataclass(frozen=True)
class Scene:
    """Paths of what `write_scene` wrote. size: of the pictures, width and height."""

    stage: Path
    images: Path
    textures: Path
    frames: tuple[int, ...]
    size: tuple[int, int]

    def arguments(self, out: Path, *more: str) -> list[str]:
        """For usd_to_llff's main."""
        return [str(self.stage), "--images", str(self.images), "--out", str(out), *more]


def write_scene(
    folder: Path,
    *,
    up_axis: str = "Y",
    frames: int = 4,
    size: tuple[int, int] = (32, 32),
    edit: Callable[[Usd.Stage], None] = lambda stage: None,
) -> Scene:
    """A sphere (/World/sphere) with UsdPreviewSurface, /World/dome and /World/camera, saved after `edit`."""
    folder.mkdir(parents=True, exist_ok=True)
    textures = folder / "textures"
    write_textures(textures)
    stage = Usd.Stage.CreateNew(str(folder / "scene.usda"))
    UsdGeom.SetStageUpAxis(stage, up_axis)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetStartTimeCode(1)
    stage.SetEndTimeCode(frames)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    define_sphere(stage, "/World/sphere")
    define_material(stage, "/World/materials/look", "/World/sphere")
    dome = UsdLux.DomeLight.Define(stage, "/World/dome")
    dome.CreateTextureFileAttr("./textures/probe.exr")
    camera = UsdGeom.Camera.Define(stage, "/World/camera")
    camera.CreateHorizontalApertureAttr(20.0 * size[0] / size[1])
    camera.CreateVerticalApertureAttr(20.0)
    camera.CreateFocalLengthAttr(40.0)
    pose = camera.AddTransformOp()
    for frame in range(1, frames + 1):
        pose.Set(orbit(2 * math.pi * (frame - 1) / frames, up_axis), frame)
    edit(stage)
    stage.Save()
    images = folder / "renders"
    images.mkdir()
    for frame in range(1, frames + 1):
        write_exr(images / f"sphere.{frame:04d}.exr", fake_render(size, frame))
    return Scene(folder / "scene.usda", images, textures, tuple(range(1, frames + 1)), size)


def orbit(angle: float, up_axis: str) -> Gf.Matrix4d:
    """A camera's local-to-world that looks at the origin from a little above."""
    height = 0.4 * DISTANCE
    ring = math.sqrt(DISTANCE**2 - height**2)
    eye = Gf.Vec3d(ring * math.sin(angle), height, ring * math.cos(angle))
    up = Gf.Vec3d(0, 1, 0)
    if up_axis == "Z":
        eye, up = Gf.Vec3d(eye[0], -eye[2], eye[1]), Gf.Vec3d(0, 0, 1)
    return Gf.Matrix4d().SetLookAt(eye, Gf.Vec3d(0, 0, 0), up).GetInverse()


def fake_render(size: tuple[int, int], seed: int) -> np.ndarray:
    """Noise inside the sphere's silhouette, associated alpha with a soft edge."""
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    # focal length 2 (aperture 1): the silhouette's radius as a share of the height
    radius = 2.0 * RADIUS / math.sqrt(DISTANCE**2 - RADIUS**2) * height
    distance = np.hypot(columns + 0.5 - width / 2, rows + 0.5 - height / 2)
    alpha = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    color = np.random.default_rng(seed).uniform(0.05, 1.5, (height, width, 3))
    return np.concatenate([color * alpha, alpha], axis=2).astype(np.float32)


def define_sphere(stage: Usd.Stage, path: str, columns: int = 16, rows: int = 8) -> UsdGeom.Mesh:
    """Quad sphere of radius RADIUS with faceVarying, indexed `st` and vertex normals, triangles at poles."""
    ring = [
        (math.sin(math.pi * r / rows), math.cos(math.pi * r / rows), 2 * math.pi * c / columns)
        for r in range(1, rows)
        for c in range(columns)
    ]
    points = [(0.0, 1.0, 0.0), *((s * math.sin(a), y, s * math.cos(a)) for s, y, a in ring), (0.0, -1.0, 0.0)]
    last = len(points) - 1

    def vertex(r: int, c: int) -> int:
        return 0 if r == 0 else last if r == rows else 1 + (r - 1) * columns + c % columns

    counts, indices, uv_indices = [], [], []
    for r in range(rows):
        for c in range(columns):
            corners = [(r, c), (r + 1, c), (r + 1, c + 1), (r, c + 1)]
            if r == 0:
                corners = corners[:3]
            elif r == rows - 1:
                corners = [corners[0], corners[1], corners[3]]
            counts.append(len(corners))
            indices += [vertex(*corner) for corner in corners]
            uv_indices += [i * (columns + 1) + j for i, j in corners]
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr([Gf.Vec3f(*(RADIUS * x for x in point)) for point in points])
    mesh.CreateNormalsAttr([Gf.Vec3f(*point) for point in points])
    mesh.SetNormalsInterpolation("vertex")
    mesh.CreateFaceVertexCountsAttr(counts)
    mesh.CreateFaceVertexIndicesAttr(indices)
    mesh.CreateSubdivisionSchemeAttr("none")
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    st.Set([Gf.Vec2f(j / columns, 1 - i / rows) for i in range(rows + 1) for j in range(columns + 1)])
    st.SetIndices(uv_indices)
    return mesh


def define_material(stage: Usd.Stage, path: str, mesh: str) -> UsdShade.Material:
    """UsdPreviewSurface with albedo (sRGB), roughness and metallic (raw) textures and a normal map."""
    material = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    reader = UsdShade.Shader.Define(stage, f"{path}/st")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    kinds = Sdf.ValueTypeNames
    for name, target, kind, output, space in (
        ("albedo", "diffuseColor", kinds.Color3f, "rgb", "sRGB"),
        ("roughness", "roughness", kinds.Float, "r", "raw"),
        ("metallic", "metallic", kinds.Float, "r", "raw"),
        ("normal", "normal", kinds.Normal3f, "rgb", "raw"),
    ):
        texture = UsdShade.Shader.Define(stage, f"{path}/{name}")
        texture.CreateIdAttr("UsdUVTexture")
        texture.CreateInput("file", kinds.Asset).Set(f"./textures/{name}.png")
        texture.CreateInput("sourceColorSpace", kinds.Token).Set(space)
        texture.CreateInput("wrapS", kinds.Token).Set("repeat")
        texture.CreateInput("wrapT", kinds.Token).Set("repeat")
        texture.CreateInput("st", kinds.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
        if name == "normal":
            texture.CreateInput("scale", kinds.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
            texture.CreateInput("bias", kinds.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        surface.CreateInput(target, kind).ConnectToSource(texture.ConnectableAPI(), output)
    prim = stage.GetPrimAtPath(mesh)
    UsdShade.MaterialBindingAPI.Apply(prim).Bind(material)
    return material


def write_textures(folder: Path, size: int = 16) -> None:
    """albedo, roughness, metallic, normal (PNG) and probe.exr with one color around each axis."""
    random = np.random.default_rng(7)
    write_png(folder / "albedo.png", random.random((size, size, 3)))
    write_png(folder / "roughness.png", random.random((size, size)))
    write_png(folder / "metallic.png", random.integers(0, 2, (size, size)))
    normal = np.concatenate([random.normal(0, 0.2, (size, size, 2)), np.ones((size, size, 1))], axis=2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    write_png(folder / "normal.png", normal * 0.5 + 0.5)
    write_exr(folder / "probe.exr", axis_probe())


def axis_probe(height: int = 16) -> np.ndarray:
    """A lat-long picture whose color tells the nearest axis of its own frame, see AXIS_COLORS."""
    width = 2 * height
    picture = np.zeros((height, width, 3), np.float32)
    for row in range(height):
        for column in range(width):
            polar = math.pi * (row + 0.5) / height
            # the center column looks at +z, the one at a quarter at +x
            azimuth = 2 * math.pi * (0.5 - (column + 0.5) / width)
            direction = {
                "x": math.sin(polar) * math.sin(azimuth),
                "y": math.cos(polar),
                "z": math.sin(polar) * math.cos(azimuth),
            }
            axis = max(direction, key=lambda name: abs(direction[name]))
            picture[row, column] = AXIS_COLORS[("+" if direction[axis] > 0 else "-") + axis]
    return picture
