"""Objects of several meshes, materials, UDIMs and UV sets as one mesh with one set of maps.

Every test asks the same: does a point of the surface look as its own texture says, through the baked UVs?
"""

import json

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade

from tests.usd_tools.looks.documents import define_quad, write_picture
from tests.usd_tools.stages import write_scene
from usd_tools.dataset_job import DatasetJob, GroundTruthJob, load_job, save_job
from usd_tools.errors import UserError
from usd_tools.images import read_image, write_png
from usd_tools.looks.texture_lookup import lookup
from usd_tools.stage import find_object
from usd_tools.texture_baking import CONSTANT_SIZE, bake_object
from usd_tools.textured_object import read_object
from usd_tools.usd_to_llff import main as convert

SIZE = 32
KINDS = Sdf.ValueTypeNames


@pytest.fixture
def stage(tmp_path):
    return Usd.Stage.CreateNew(str(tmp_path / "scene.usda"))


def material(stage, path, file=None, wrap="repeat", primvar="st", color=(0.1, 0.2, 0.3), roughness=0.5):
    """A material whose color is a texture, or `color`."""
    look = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    look.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    surface.CreateInput("roughness", KINDS.Float).Set(roughness)
    target = surface.CreateInput("diffuseColor", KINDS.Color3f)
    if file is None:
        target.Set(Gf.Vec3f(*color))
    else:
        target.ConnectToSource(texture(stage, f"{path}/color", file, wrap, primvar).ConnectableAPI(), "rgb")
    return look


def texture(stage, path, file, wrap, primvar):
    reader = UsdShade.Shader.Define(stage, f"{path}_st")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", KINDS.String).Set(primvar)
    node = UsdShade.Shader.Define(stage, path)
    node.CreateIdAttr("UsdUVTexture")
    node.CreateInput("file", KINDS.Asset).Set(str(file))
    node.CreateInput("sourceColorSpace", KINDS.Token).Set("raw")
    node.CreateInput("wrapS", KINDS.Token).Set(wrap)
    node.CreateInput("wrapT", KINDS.Token).Set(wrap)
    node.CreateInput("st", KINDS.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
    return node


def bind(stage, path, look):
    UsdShade.MaterialBindingAPI.Apply(stage.GetPrimAtPath(path)).Bind(look)


def square(low, high):
    return ((low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]))


def signed_area(a, b, c):
    u, v = b - a, c - a
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def seen(baked, points, channel="albedo"):
    """What the baked maps show at `points` (N, 2) of the plane z = 0."""
    mesh = baked.mesh
    result = []
    for point in points:
        corners = mesh.vertices[mesh.faces][..., :2]
        weights = np.stack([signed_area(corners[:, k - 2], corners[:, k - 1], point) for k in range(3)], 1)
        weights /= weights.sum(axis=1, keepdims=True)
        face = int(np.argmax(weights.min(axis=1)))
        assert weights[face].min() > -1e-9, "the point is on the object"
        uv = weights[face] @ mesh.uvs[mesh.uv_faces[face]]
        result.append(lookup(baked.maps[channel], uv[None])[0])
    return np.array(result)


def inside(offset, count=40, margin=0.02, seed=5):
    """Points of the unit square at `offset` along x, and their coordinates within the square."""
    local = np.random.default_rng(seed).uniform(margin, 1 - margin, (count, 2))
    return local + np.array([offset, 0]), local


def bake(stage, path):
    return bake_object(read_object(find_object(stage, path)[1], 1))


def test_one_look_keeps_uvs_and_texels(stage, tmp_path):
    picture = write_picture(tmp_path, size=SIZE)
    define_quad(stage, "/quad")
    bind(stage, "/quad", material(stage, "/look", tmp_path / "picture.png"))
    baked = bake(stage, "/quad")
    np.testing.assert_allclose(baked.maps["albedo"], picture, atol=1e-6)
    assert baked.mesh.uvs.min() == 0 and baked.mesh.uvs.max() == 1


def test_constants_make_small_maps(stage):
    define_quad(stage, "/quad")
    bind(stage, "/quad", material(stage, "/look"))
    baked = bake(stage, "/quad")
    assert {image.shape[0] for image in baked.maps.values()} == {CONSTANT_SIZE}
    np.testing.assert_allclose(baked.maps["albedo"][0, 0], [0.1, 0.2, 0.3], atol=1e-6)


def two_faced(stage, uvs):
    """Two unit squares in one mesh, its first and second face; uvs: for eight corners."""
    mesh = UsdGeom.Mesh.Define(stage, "/pair")
    mesh.CreatePointsAttr(
        [(x, y, 0) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (2, 0), (3, 0), (3, 1), (2, 1))]
    )
    mesh.CreateFaceVertexCountsAttr([4, 4])
    mesh.CreateFaceVertexIndicesAttr(list(range(8)))
    mesh.CreateSubdivisionSchemeAttr("none")
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", KINDS.TexCoord2fArray, "faceVarying")
    st.Set(list(uvs))
    return mesh


def subset(stage, name, faces, look):
    part = UsdGeom.Subset.CreateGeomSubset(
        UsdGeom.Mesh(stage.GetPrimAtPath("/pair")), name, "face", faces, "materialBind"
    )
    bind(stage, str(part.GetPath()), look)


def test_subsets_over_each_other_get_tiles(stage, tmp_path):
    first = write_picture(tmp_path, "a.png", 1, SIZE)
    second = write_picture(tmp_path, "b.png", 2, SIZE)
    two_faced(stage, 2 * square((0, 0), (1, 1)))
    subset(stage, "left", [0], material(stage, "/a", tmp_path / "a.png", roughness=0.25))
    subset(stage, "right", [1], material(stage, "/b", tmp_path / "b.png", roughness=0.75))
    baked = bake(stage, "/pair")
    assert baked.maps["albedo"].shape == (2 * (SIZE + 8), 2 * (SIZE + 8), 3)
    for offset, picture, rough in ((0, first, 0.25), (2, second, 0.75)):
        points, local = inside(offset, margin=0)
        np.testing.assert_allclose(seen(baked, points), lookup(picture, local), atol=1e-5)
        np.testing.assert_allclose(seen(baked, points, "roughness"), rough, atol=1e-6)


def test_subsets_beside_each_other_share_the_square(stage, tmp_path):
    first = write_picture(tmp_path, "a.png", 1, SIZE)
    uvs = square((0, 0), (0.5, 1)) + square((0.5, 0), (1, 1))
    two_faced(stage, uvs)
    subset(stage, "left", [0], material(stage, "/a", tmp_path / "a.png"))
    bind(stage, "/pair", material(stage, "/rest", color=(0.9, 0.8, 0.7)))  # what no subset takes
    baked = bake(stage, "/pair")
    assert baked.maps["albedo"].shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(np.unique(baked.mesh.uvs[:, 0]), [0, 0.5, 1])  # as authored
    points, local = inside(0, margin=0.05)
    np.testing.assert_allclose(seen(baked, points), lookup(first, local * [0.5, 1]), atol=1e-5)
    points, _ = inside(2, margin=0.05)
    np.testing.assert_allclose(seen(baked, points), [[0.9, 0.8, 0.7]] * 40, atol=1e-6)


def test_meshes_under_one_prim(stage, tmp_path):
    picture = write_picture(tmp_path, size=SIZE)
    define_quad(stage, "/Group/a")
    define_quad(stage, "/Group/b", offset=2.0)
    bind(stage, "/Group/a", material(stage, "/textured", tmp_path / "picture.png"))
    bind(stage, "/Group/b", material(stage, "/plain"))
    prim, meshes = find_object(stage, "/Group")
    assert str(prim.GetPath()) == "/Group" and len(meshes) == 2
    with pytest.raises(UserError, match=r"2 meshes \(/Group/a, /Group/b\)"):
        find_object(stage)
    baked = bake(stage, "/Group")
    assert len(baked.mesh.faces) == 4
    points, local = inside(0)
    np.testing.assert_allclose(seen(baked, points), lookup(picture, local), atol=1e-5)
    np.testing.assert_allclose(
        seen(baked, inside(2)[0]), np.broadcast_to([0.1, 0.2, 0.3], (40, 3)), atol=1e-6
    )


def test_udims(stage, tmp_path):
    pictures = [write_picture(tmp_path, f"paint.{n}.png", n, SIZE) for n in (1001, 1012)]
    two_faced(stage, square((0, 0), (1, 1)) + square((1, 1), (2, 2)))
    bind(stage, "/pair", material(stage, "/look", tmp_path / "paint.<UDIM>.png"))
    baked = bake(stage, "/pair")
    for offset, picture in zip((0, 2), pictures):
        points, local = inside(offset, margin=0.5 / SIZE)
        np.testing.assert_allclose(seen(baked, points), lookup(picture, local), atol=1e-5)


@pytest.mark.parametrize("mode", ["clamp", "mirror", "black"])
def test_uvs_outside_the_square(stage, tmp_path, mode):
    picture = write_picture(tmp_path, size=SIZE)
    define_quad(stage, "/quad", square((-0.5, 0.25), (1.5, 1.25)))
    bind(stage, "/quad", material(stage, "/look", tmp_path / "picture.png", mode))
    baked = bake(stage, "/quad")
    points, local = inside(0, 200)
    uv = local * [2, 1] + [-0.5, 0.25]
    away = (np.abs(uv - np.round(uv)) > 1 / SIZE).all(
        axis=1
    )  # where black begins, texels cannot tell sharply
    np.testing.assert_allclose(seen(baked, points)[away], lookup(picture, uv, (mode, mode))[away], atol=1e-5)


def test_repeating_uvs_stay(stage, tmp_path):
    picture = write_picture(tmp_path, size=SIZE)
    define_quad(stage, "/quad", square((-3.5, 2), (4.5, 10)))
    bind(stage, "/quad", material(stage, "/look", tmp_path / "picture.png"))
    baked = bake(stage, "/quad")
    assert baked.mesh.uvs.min() == -3.5 and baked.maps["albedo"].shape[0] == SIZE
    points, local = inside(0)
    np.testing.assert_allclose(seen(baked, points), lookup(picture, local * 8 + [-3.5, 2]), atol=1e-5)


def test_a_second_uv_set_is_resampled(stage, tmp_path):
    """Color from `st`, roughness through `st1`, which is turned by a quarter and smaller."""
    picture = write_picture(tmp_path, size=SIZE)
    smooth = np.add.outer(np.linspace(0, 0.5, SIZE), np.linspace(0, 0.5, SIZE))
    write_png(tmp_path / "rough.png", smooth)
    rough = read_image(tmp_path / "rough.png")
    mesh = define_quad(stage, "/quad")
    st1 = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st1", KINDS.TexCoord2fArray, "faceVarying")
    st1.Set([(0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.1, 0.1)])
    look = material(stage, "/look", tmp_path / "picture.png")
    node = texture(stage, "/look/rough", tmp_path / "rough.png", "repeat", "st1")
    surface = UsdShade.Shader(stage.GetPrimAtPath("/look/surface"))
    surface.GetInput("roughness").ConnectToSource(node.ConnectableAPI(), "r")
    bind(stage, "/quad", look)
    baked = bake(stage, "/quad")
    points, local = inside(0)
    np.testing.assert_allclose(seen(baked, points), lookup(picture, local), atol=1e-5)
    turned = np.stack([0.9 - 0.8 * local[:, 1], 0.1 + 0.8 * local[:, 0]], axis=1)
    np.testing.assert_allclose(seen(baked, points, "roughness"), lookup(rough, turned), atol=5e-3)


def test_missing_uv_sets_are_told(stage, tmp_path, caplog):
    write_picture(tmp_path, size=SIZE)
    define_quad(stage, "/quad")
    bind(stage, "/quad", material(stage, "/look", tmp_path / "picture.png", primvar="lightmap"))
    bake(stage, "/quad")
    assert "has no primvars:lightmap" in caplog.text


def test_too_many_tiles_are_refused(stage, tmp_path):
    write_picture(tmp_path, size=SIZE)
    define_quad(stage, "/quad", square((0, 0), (40, 40)))
    bind(stage, "/quad", material(stage, "/look", tmp_path / "picture.png", "clamp"))
    with pytest.raises(UserError, match="1600 unit squares"):
        bake(stage, "/quad")


def test_subsets_that_name_absent_faces_are_refused(stage):
    two_faced(stage, 2 * square((0, 0), (1, 1)))
    subset(stage, "left", [7], material(stage, "/a"))
    with pytest.raises(UserError, match="left: names faces"):
        bake(stage, "/pair")


def test_objects_travel_to_another_process(stage, tmp_path):
    """In Houdini the maps are baked by another Python: all it needs lies in the job's folder."""
    write_picture(tmp_path, size=SIZE)
    define_quad(stage, "/Group/a")
    second = define_quad(stage, "/Group/b", offset=2.0)
    st1 = UsdGeom.PrimvarsAPI(second).CreatePrimvar("st1", KINDS.TexCoord2fArray, "faceVarying")
    st1.Set([(0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.1, 0.1)])
    bind(stage, "/Group/a", material(stage, "/plain"))
    look = material(stage, "/textured", tmp_path / "picture.png")
    node = texture(stage, "/textured/rough", tmp_path / "picture.png", "repeat", "st1")
    surface = UsdShade.Shader(stage.GetPrimAtPath("/textured/surface"))
    surface.GetInput("roughness").ConnectToSource(node.ConnectableAPI(), "r")
    bind(stage, "/Group/b", look)
    textured = read_object(find_object(stage, "/Group")[1], 1)
    save_job(DatasetJob({}, (), None, None, GroundTruthJob(textured, None)), tmp_path)
    truth = load_job(tmp_path).ground_truth
    here, there = bake_object(textured), bake_object(truth.textured)
    assert list(truth.textured.uv_sets) == ["st1"] and truth.probe is None
    for name, image in here.maps.items():
        np.testing.assert_array_equal(there.maps[name], image)
    np.testing.assert_array_equal(there.mesh.uvs, here.mesh.uvs)


def test_parts_that_move_by_themselves_are_refused(tmp_path):
    def edit(stage):
        define_quad(stage, "/World/toy/body")
        lid = define_quad(stage, "/World/toy/lid", offset=1.0)
        for name in ("body", "lid"):
            bind(stage, f"/World/toy/{name}", material(stage, f"/World/materials/{name}"))
        if moving:
            lid.AddTranslateOp().Set(Gf.Vec3d(0, 0, 0), 1)
            lid.GetOrderedXformOps()[0].Set(Gf.Vec3d(0, 1, 0), 2)

    moving = False
    scene = write_scene(tmp_path / "still", edit=edit)
    assert convert([*scene.arguments(tmp_path / "out"), "--object", "/World/toy"]) == 0
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["object"] == "/World/toy"
    moving = True
    scene = write_scene(tmp_path / "moving", edit=edit)
    with pytest.raises(UserError, match="/World/toy/lid: moves within /World/toy"):
        convert([*scene.arguments(tmp_path / "out2"), "--object", "/World/toy"])
