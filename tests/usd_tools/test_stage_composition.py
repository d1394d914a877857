"""Objects that a stage composes: references, payloads, instances, variants, purposes, instancers, mirrors."""

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, UsdSkel

from tests.usd_tools.stages import RADIUS, define_material, define_sphere, write_scene, write_textures
from usd_tools.errors import UserError
from usd_tools.mesh_reading import read_mesh
from usd_tools.plan_dataset import Request, plan_dataset
from usd_tools.stage import find_mesh, open_stage, save_variant_choice


def write_asset(folder):
    """asset.usda: /asset with a textured sphere to render, its proxy and a guide; variants `size`."""
    write_textures(folder / "textures")
    stage = Usd.Stage.CreateNew(str(folder / "asset.usda"))
    root = UsdGeom.Xform.Define(stage, "/asset")
    stage.SetDefaultPrim(root.GetPrim())
    for purpose in ("render", "proxy", "guide"):
        UsdGeom.Xform.Define(stage, f"/asset/{purpose}").CreatePurposeAttr(purpose)
        define_sphere(stage, f"/asset/{purpose}/sphere")
    define_material(stage, "/asset/look", "/asset/render/sphere")
    variants = root.GetPrim().GetVariantSets().AddVariantSet("size")
    for name, scale in (("small", 1), ("large", 3)):
        variants.AddVariant(name)
        variants.SetVariantSelection(name)
        with variants.GetVariantEditContext():
            render = UsdGeom.Xform.Get(stage, "/asset/render")
            render.AddScaleOp().Set(Gf.Vec3f(scale))
    variants.SetVariantSelection("small")
    stage.Save()
    return folder / "asset.usda"


def compose(folder, how):
    """A scene whose object is /World/set/item, an arc to asset.usda, two units along x and turned."""
    asset = write_asset(folder / "scene")

    def edit(stage):
        stage.RemovePrim("/World/sphere")
        stage.RemovePrim("/World/materials")
        UsdGeom.Xform.Define(stage, "/World/set").AddTranslateOp().Set(Gf.Vec3d(2, 0, 0))
        item = UsdGeom.Xform.Define(stage, "/World/set/item")
        item.AddRotateZOp().Set(90.0)
        if how == "payload":
            item.GetPrim().GetPayloads().AddPayload(asset.name)
        else:
            item.GetPrim().GetReferences().AddReference(asset.name)
        item.GetPrim().SetInstanceable(how == "instance")
        camera = UsdGeom.Xformable(stage.GetPrimAtPath("/World/camera"))
        camera.AddTranslateOp(UsdGeom.XformOp.PrecisionDouble, "aside").Set(Gf.Vec3d(2, 0, 0))
        camera.SetXformOpOrder(camera.GetOrderedXformOps()[::-1])

    return write_scene(folder / "scene", edit=edit)


@pytest.mark.parametrize("how", ["reference", "payload", "instance"])
def test_composed_object_with_its_look(tmp_path, how):
    scene = compose(tmp_path, how)
    request = {"stage": str(scene.stage), "images": str(scene.images)}
    job = plan_dataset(Request(**request))
    assert job.description["object"] == "/World/set/item/render/sphere"
    center = np.linalg.inv(np.array(job.description["stage_to_dataset"]))[:3, 3]
    np.testing.assert_allclose(center, [2, 0, 0], atol=1e-6)
    assert job.ground_truth is not None
    files = {node.settings["file"] for node in job.ground_truth.textured.looks[0].textures()}
    assert str(scene.textures / "albedo.png") in files
    large = plan_dataset(Request(**request, variants=["size=large"]))
    small, large = (np.array(each.description["stage_to_dataset"])[:3, :3] for each in (job, large))
    np.testing.assert_allclose(small, 3 * large, atol=1e-6)


def test_turning_instance(tmp_path):
    """An instance's motion is read from above its prototype."""
    scene = compose(tmp_path, "instance")
    stage = Usd.Stage.Open(str(scene.stage))
    turn = UsdGeom.Xformable(stage.GetPrimAtPath("/World/set/item")).GetOrderedXformOps()[0]
    for frame in (1, 2, 3, 4):
        turn.Set(90.0 * frame, frame)
    stage.Save()
    job = plan_dataset(Request(str(scene.stage), images=str(scene.images)))
    quarter = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # the light turns back about the stage's z
    for index, frame in enumerate(job.frames):
        np.testing.assert_allclose(frame.light_rotation, np.linalg.matrix_power(quarter, index), atol=1e-6)


def test_chosen_variants_travel_as_a_layer(tmp_path):
    """For programs that open files: a choice inside an instance, and what counts in root layers alone."""
    scene = compose(tmp_path, "instance")
    before = scene.stage.read_bytes()
    stage = open_stage(scene.stage, ["size=large"])
    path = save_variant_choice(stage, tmp_path / "elsewhere.usda")
    again = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageUpAxis(again) == UsdGeom.GetStageUpAxis(stage)
    assert (again.GetStartTimeCode(), again.GetEndTimeCode()) == (1, 4)
    meshes = [read_mesh(find_mesh(each, "/World/set/item"), 1) for each in (stage, again)]
    np.testing.assert_array_equal(meshes[0].vertices, meshes[1].vertices)
    assert np.abs(meshes[1].vertices - [2, 0, 0]).max() == pytest.approx(3 * RADIUS)
    assert again.GetPrimAtPath("/World/dome").GetAttribute("inputs:texture:file").Get().resolvedPath == str(
        scene.textures / "probe.exr"
    )
    assert scene.stage.read_bytes() == before and not stage.GetRootLayer().dirty


def test_purposes_visibility_and_activity():
    stage = Usd.Stage.CreateInMemory()
    for name in ("render", "proxy", "guide"):
        define_sphere(stage, f"/{name}/sphere")
        UsdGeom.Imageable(stage.DefinePrim(f"/{name}", "Xform")).CreatePurposeAttr(name)
    assert find_mesh(stage).GetPath() == "/render/sphere"
    UsdGeom.Imageable(stage.GetPrimAtPath("/render")).MakeInvisible()
    with pytest.raises(UserError, match="only invisible meshes, proxies or guides"):
        find_mesh(stage)
    define_sphere(stage, "/blinking").CreateVisibilityAttr().Set("invisible", 1)
    stage.GetPrimAtPath("/blinking").GetAttribute("visibility").Set("inherited", 2)
    with pytest.raises(UserError, match="only invisible"):
        find_mesh(stage, time=1)
    assert find_mesh(stage, time=2).GetPath() == "/blinking"
    stage.GetPrimAtPath("/blinking").SetActive(False)
    with pytest.raises(UserError, match="no such active prim"):
        find_mesh(stage, "/blinking")
    stage.CreateClassPrim("/_class")
    define_sphere(stage, "/_class/sphere")
    with pytest.raises(UserError, match="no such active prim"):
        find_mesh(stage, "/_class/sphere")


def test_point_instancers_are_refused_by_name():
    stage = Usd.Stage.CreateInMemory()
    instancer = UsdGeom.PointInstancer.Define(stage, "/balls")
    define_sphere(stage, "/balls/prototypes/sphere")
    instancer.CreatePrototypesRel().AddTarget("/balls/prototypes/sphere")
    instancer.CreatePositionsAttr([Gf.Vec3f(0), Gf.Vec3f(5, 0, 0)])
    instancer.CreateProtoIndicesAttr([0, 0])
    with pytest.raises(UserError, match="only meshes that a PointInstancer copies"):
        find_mesh(stage)
    with pytest.raises(UserError, match=r"/balls/prototypes/sphere: is drawn as copies .* /balls,"):
        find_mesh(stage, "/balls/prototypes/sphere")
    define_sphere(stage, "/single")
    assert find_mesh(stage).GetPath() == "/single"


def test_shapes_that_are_no_meshes_are_named():
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.Sphere.Define(stage, "/World/ball")
    with pytest.raises(UserError, match=r"no mesh \(/World/ball is a Sphere\)"):
        find_mesh(stage)


@pytest.mark.parametrize("scale", [(-1, 1, 1), (1, 2, -0.5), (-3, -1, -2)])
def test_mirrored_and_squeezed_from_above(scale):
    """Faces look outward and normals stay normal under any scale above; a reset stack drops the rest."""
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.Xform.Define(stage, "/junk").AddScaleOp().Set(Gf.Vec3f(1, 7, 1))
    group = UsdGeom.Xform.Define(stage, "/junk/group")
    group.AddTransformOp().Set(
        Gf.Matrix4d().SetRotate(Gf.Rotation(Gf.Vec3d(1, 2, 3), 40)) * Gf.Matrix4d().SetScale(Gf.Vec3d(*scale))
    )
    group.SetResetXformStack(True)
    mesh = read_mesh(define_sphere(stage, "/junk/group/sphere", 48, 24), 1)
    inverse_square = 1 / np.square(scale)
    on_surface = (mesh.vertices**2 * inverse_square).sum(axis=1)
    np.testing.assert_allclose(on_surface, RADIUS**2, rtol=1e-5)  # an ellipsoid along the axes, no junk
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    assert (np.einsum("ij,ij->i", a, np.cross(b, c)) > -1e-9).all()  # all faces look away from the center
    gradient = mesh.vertices * inverse_square
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    assert mesh.normals is not None
    np.testing.assert_allclose(mesh.normals[mesh.normal_faces], gradient[mesh.faces], atol=1e-5)


NESTED_VARIANTS = """#usda 1.0
def Xform "a" (
    variants = { string shape = "none" }
    prepend variantSets = "shape"
)
{
    variantSet "shape" = {
        "none" {
        }
        "ball" {
            def Xform "b" (
                variants = { string look = "red" }
                prepend variantSets = "look"
            )
            {
                variantSet "look" = {
                    "red" {
                    }
                    "blue" {
                        def Xform "blue"
                        {
                        }
                    }
                }
            }
        }
    }
}
"""


def test_variant_that_another_variant_brings(tmp_path):
    """Choices are made in the order they are given."""
    (tmp_path / "a.usda").write_text(NESTED_VARIANTS)
    with pytest.raises(UserError, match="--variant look=blue: not in the stage; no prim has such a set"):
        open_stage(tmp_path / "a.usda", ["look=blue", "shape=ball"])
    assert open_stage(tmp_path / "a.usda", ["shape=ball", "look=blue"]).GetPrimAtPath("/a/b/blue")


def test_deformations_are_told(tmp_path, caplog):
    def edit(stage):
        UsdSkel.Root.Define(stage, "/World/character")
        skeleton = UsdSkel.Skeleton.Define(stage, "/World/character/skeleton")
        mesh = define_sphere(stage, "/World/character/skin")
        UsdSkel.BindingAPI.Apply(mesh.GetPrim()).CreateSkeletonRel().AddTarget(skeleton.GetPath())
        points = mesh.GetPointsAttr()
        for frame in (1, 2):
            points.Set(points.Get(), frame)

    scene = write_scene(tmp_path, edit=edit)
    request = Request(str(scene.stage), object="/World/character", ground_truth=False)
    with caplog.at_level("WARNING"):
        plan_dataset(request)
    animated, skinned = (record.message for record in caplog.records)
    assert "/World/character/skin: its points are animated; the shape of frame 1" in animated
    assert "/World/character/skin: has a skeleton" in skinned


def test_group_without_a_type(tmp_path):
    """A plain `def` is no transform, and may hold the object all the same."""

    def edit(stage):
        stage.DefinePrim("/World/plain")
        for name, x in (("left", -0.1), ("right", 0.5)):
            define_sphere(stage, f"/World/plain/{name}").AddTranslateOp().Set(Gf.Vec3d(x, 0, 0))

    scene = write_scene(tmp_path, edit=edit)
    job = plan_dataset(
        Request(str(scene.stage), images=str(scene.images), object="/World/plain", ground_truth=False)
    )
    assert job.description["object"] == "/World/plain"
    center = np.linalg.inv(np.array(job.description["stage_to_dataset"]))[:3, 3]
    np.testing.assert_allclose(center, [0.2, 0, 0], atol=1e-6)
