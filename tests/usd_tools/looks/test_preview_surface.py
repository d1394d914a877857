"""UsdPreviewSurface networks: textures with scale, bias, wrap modes and transforms, constants, fallbacks."""

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade

from tests.usd_tools.looks.documents import SIZE, define_quad, write_picture
from usd_tools.color import srgb_to_linear
from usd_tools.errors import UserError
from usd_tools.images import write_exr, write_png
from usd_tools.looks.evaluation import UvGrid, evaluate, is_periodic, native_size
from usd_tools.looks.reading import read_look
from usd_tools.looks.texture_lookup import lookup

KINDS = Sdf.ValueTypeNames


class Quad:
    """A quad with a UsdPreviewSurface, to be given textures."""

    def __init__(self, folder):
        self.folder = folder
        self.stage = Usd.Stage.CreateNew(str(folder / "scene.usda"))
        self.mesh = define_quad(self.stage, "/quad")
        self.material = UsdShade.Material.Define(self.stage, "/look")
        self.surface = self.shader("surface", "UsdPreviewSurface")
        self.material.CreateSurfaceOutput().ConnectToSource(self.surface.ConnectableAPI(), "surface")
        UsdShade.MaterialBindingAPI.Apply(self.mesh.GetPrim()).Bind(self.material)

    def shader(self, name, identifier):
        shader = UsdShade.Shader.Define(self.stage, f"/look/{name}")
        shader.CreateIdAttr(identifier)
        return shader

    def texture(self, channel, kind, output, file="picture.png", st=None, **inputs):
        node = self.shader(f"texture_{channel}", "UsdUVTexture")
        if file is not None:
            node.CreateInput("file", KINDS.Asset).Set(str(self.folder / file))
        for name, value in inputs.items():
            value_kind = KINDS.Float4 if isinstance(value, tuple) else KINDS.Token
            node.CreateInput(name, value_kind).Set(Gf.Vec4f(*value) if isinstance(value, tuple) else value)
        if st is not None:
            node.CreateInput("st", KINDS.Float2).ConnectToSource(st.ConnectableAPI(), "result")
        self.surface.CreateInput(channel, kind).ConnectToSource(node.ConnectableAPI(), output)
        return node

    def look(self):
        return read_look(self.mesh, 1)

    def values(self, channel, low=(0.0, 0.0), high=(1.0, 1.0), rows=SIZE, columns=SIZE):
        return evaluate(self.look(), channel, UvGrid(low, high, rows, columns))


@pytest.fixture
def quad(tmp_path):
    return Quad(tmp_path)


def test_nothing_authored_is_the_specifications_fallback(quad):
    np.testing.assert_allclose(quad.values("albedo"), 0.18)
    np.testing.assert_allclose(quad.values("roughness"), 0.5)
    assert not quad.values("metallic").any() and quad.values("occlusion").all()
    assert native_size(quad.look()) == 0 and quad.look().is_constant("normal")


def test_scale_bias_components_and_color_space(quad, tmp_path):
    packed = np.random.default_rng(3).random((SIZE, SIZE, 4)).astype(np.float32)
    write_exr(tmp_path / "packed.exr", packed, half=False)
    picture = write_picture(tmp_path)
    quad.texture("roughness", KINDS.Float, "g", "packed.exr", scale=(1, 0.5, 1, 1), bias=(0, 0.25, 0, 0))
    quad.texture("metallic", KINDS.Float, "a", "packed.exr")
    quad.texture("diffuseColor", KINDS.Color3f, "rgb", sourceColorSpace="sRGB", scale=(1, 0.5, 1, 1))
    np.testing.assert_allclose(quad.values("roughness")[..., 0], packed[..., 1] * 0.5 + 0.25, atol=1e-6)
    np.testing.assert_allclose(quad.values("metallic")[..., 0], packed[..., 3], atol=1e-6)
    np.testing.assert_allclose(quad.values("albedo"), srgb_to_linear(picture) * [1, 0.5, 1], atol=1e-6)
    assert native_size(quad.look()) == SIZE


def test_gray_pictures_are_gray_colors(quad, tmp_path):
    gray = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE)) / 255
    write_png(tmp_path / "gray.png", gray)
    quad.texture("diffuseColor", KINDS.Color3f, "rgb", "gray.png", sourceColorSpace="sRGB")
    expected = np.repeat(srgb_to_linear(gray)[..., None], 3, axis=2)
    np.testing.assert_allclose(quad.values("albedo"), expected, atol=1e-6)


@pytest.mark.parametrize("green", [1, -1])
def test_normal_maps_of_either_green(quad, tmp_path, green):
    stored = write_picture(tmp_path)
    quad.texture(
        "normal",
        KINDS.Normal3f,
        "rgb",
        sourceColorSpace="raw",
        scale=(2, 2 * green, 2, 1),
        bias=(-1, -green, -1, 0),
    )
    np.testing.assert_allclose(quad.values("normal"), (stored * 2 - 1) * [1, green, 1], atol=1e-6)


def test_transforms(quad, tmp_path):
    picture = write_picture(tmp_path)
    reader = quad.shader("st", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", KINDS.String).Set("st")
    node = quad.shader("place", "UsdTransform2d")
    node.CreateInput("in", KINDS.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
    node.CreateInput("scale", KINDS.Float2).Set(Gf.Vec2f(2, 1))
    node.CreateInput("rotation", KINDS.Float).Set(90.0)
    node.CreateInput("translation", KINDS.Float2).Set(Gf.Vec2f(0.25, 0))
    quad.texture(
        "diffuseColor", KINDS.Color3f, "rgb", st=node, sourceColorSpace="raw", wrapS="repeat", wrapT="repeat"
    )
    # (u, v) is scaled to (2u, v), turned to (-v, 2u), moved to (0.25 - v, 2u).
    for column, row in ((2, 1), (5, 6)):
        u, v = (column + 0.5) / SIZE, 1 - (row + 0.5) / SIZE
        expected = lookup(picture, np.array([[0.25 - v, 2 * u]]))[0]
        np.testing.assert_allclose(quad.values("albedo")[row, column], expected, atol=1e-6)
    assert native_size(quad.look()) == 2 * SIZE
    assert is_periodic(quad.look())
    node.GetInput("scale").Set(Gf.Vec2f(1.5, 1))
    assert not is_periodic(quad.look())


@pytest.mark.parametrize(
    "mode, source",
    [
        ("repeat", lambda index: index % SIZE),
        ("clamp", lambda index: np.clip(index, 0, SIZE - 1)),
        ("mirror", lambda index: np.where(index % (2 * SIZE) < SIZE, index % SIZE, SIZE - 1 - index % SIZE)),
        ("black", lambda index: np.where((index >= 0) & (index < SIZE), index, -1)),
        (None, lambda index: np.where((index >= 0) & (index < SIZE), index, -1)),
    ],
)
def test_wrap_modes(quad, tmp_path, mode, source):
    """From -1 to 2 in u, texel by texel; not authored, the mode is useMetadata, which ends up black."""
    picture = write_picture(tmp_path)
    modes = {} if mode is None else {"wrapS": mode, "wrapT": "clamp"}
    quad.texture("diffuseColor", KINDS.Color3f, "rgb", sourceColorSpace="raw", **modes)
    found = quad.values("albedo", (-1.0, 0.0), (2.0, 1.0), SIZE, 3 * SIZE)
    columns = source(np.arange(-SIZE, 2 * SIZE))
    expected = np.where(columns[None, :, None] >= 0, picture[:, columns], 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not is_periodic(quad.look())  # t does not repeat


def test_udim_tiles(quad, tmp_path):
    """Tiles side by side and above each other; a missing one is black."""
    pictures = {
        number: write_picture(tmp_path, f"paint.{number}.png", seed=number) for number in (1001, 1002, 1011)
    }
    quad.texture("diffuseColor", KINDS.Color3f, "rgb", "paint.<UDIM>.png", sourceColorSpace="raw")
    found = quad.values("albedo", (0.0, 0.0), (2.0, 2.0), 2 * SIZE, 2 * SIZE)
    upper, lower = found[:SIZE], found[SIZE:]
    np.testing.assert_allclose(lower[:, :SIZE], pictures[1001], atol=1e-6)
    np.testing.assert_allclose(lower[:, SIZE:], pictures[1002], atol=1e-6)
    np.testing.assert_allclose(upper[:, :SIZE], pictures[1011], atol=1e-6)
    assert not upper[:, SIZE:].any()
    assert native_size(quad.look()) == SIZE


def test_a_texture_without_file_is_its_fallback(quad):
    quad.texture("diffuseColor", KINDS.Color3f, "rgb", None, fallback=(0.1, 0.2, 0.3, 1))
    np.testing.assert_allclose(quad.values("albedo")[0, 0], [0.1, 0.2, 0.3], atol=1e-6)


def test_shrinking_averages(quad, tmp_path):
    picture = write_picture(tmp_path, size=4 * SIZE)
    quad.texture("diffuseColor", KINDS.Color3f, "rgb", sourceColorSpace="raw")
    expected = picture.reshape(SIZE, 4, SIZE, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(quad.values("albedo"), expected, atol=1e-5)


def test_values_through_a_materials_interface(quad, tmp_path):
    """As Blender and Houdini author it: the primvar's name and a constant are inputs of the material."""
    picture = write_picture(tmp_path)
    name = quad.material.CreateInput("frame:stPrimvarName", KINDS.String)
    name.Set("UVMap")
    rough = quad.material.CreateInput("rough", KINDS.Float)
    rough.Set(0.125)
    reader = quad.shader("st", "UsdPrimvarReader_float2")
    reader.CreateInput("varname", KINDS.String).ConnectToSource(name)
    quad.texture("diffuseColor", KINDS.Color3f, "rgb", st=reader, sourceColorSpace="raw")
    quad.surface.CreateInput("roughness", KINDS.Float).ConnectToSource(rough)
    look = quad.look()
    assert look.uv_primvars() == ["UVMap"]
    np.testing.assert_allclose(quad.values("roughness"), 0.125)
    grid = UvGrid((0.0, 0.0), (1.0, 1.0), SIZE, SIZE, "UVMap")
    np.testing.assert_allclose(evaluate(look, "albedo", grid), picture, atol=1e-6)


@pytest.mark.parametrize(
    "edit, message",
    [
        (
            lambda quad: quad.surface.CreateInput("useSpecularWorkflow", KINDS.Int).Set(1),
            "useSpecularWorkflow",
        ),
        (lambda quad: quad.texture("roughness", KINDS.Float, "r", wrapS="around"), "wrap mode around"),
        (
            lambda quad: quad.texture("roughness", KINDS.Float, "r", sourceColorSpace="ACES"),
            "sourceColorSpace ACES",
        ),
        (lambda quad: quad.texture("roughness", KINDS.Float, "luma"), "no output luma"),
        (lambda quad: quad.texture("roughness", KINDS.Float, "r", "absent.png"), r"absent\.png.*missing"),
        (lambda quad: quad.surface.CreateInput("roughness", KINDS.Float).Set(float("nan")), "not finite"),
        (lambda quad: quad.surface.CreateIdAttr("PxrSurface"), "it has PxrSurface"),
        (
            lambda quad: quad.texture("roughness", KINDS.Float, "r").CreateIdAttr("PxrTexture"),
            "PxrTexture node",
        ),
    ],
)
def test_what_is_not_supported_is_named(quad, tmp_path, edit, message):
    write_picture(tmp_path)
    edit(quad)
    with pytest.raises(UserError, match=message):
        quad.look()


def test_a_primvar_that_is_no_texture_coordinate_is_refused(quad):
    reader = quad.shader("color", "UsdPrimvarReader_float3")
    quad.surface.CreateInput("diffuseColor", KINDS.Color3f).ConnectToSource(reader.ConnectableAPI(), "result")
    with pytest.raises(UserError, match="UsdPrimvarReader_float3 node"):
        quad.look()


def test_subsets_and_meshes_inherit_bindings(quad):
    """A material bound above the mesh is the mesh's."""
    parent = UsdGeom.Xform.Define(quad.stage, "/group")
    child = define_quad(quad.stage, "/group/quad")
    quad.surface.CreateInput("roughness", KINDS.Float).Set(0.75)
    UsdShade.MaterialBindingAPI.Apply(parent.GetPrim()).Bind(quad.material)
    grid = UvGrid((0.0, 0.0), (1.0, 1.0), 2, 2)
    np.testing.assert_allclose(evaluate(read_look(child, 1), "roughness", grid), 0.75)
