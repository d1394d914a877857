"""Composed meshes: triangles, winding, UVs, normals; which prim is the object; nothing is edited."""

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom

from tests.usd_tools.stages import RADIUS, define_sphere, write_scene
from usd_tools.errors import UserError
from usd_tools.mesh_reading import load_mesh, read_mesh
from usd_tools.stage import find_mesh, open_stage
from usd_tools.winding import is_inside, winding_number


def volume(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def corner_normals(mesh):
    return mesh.normals[mesh.normal_faces]


def face_normals(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_sphere_in_stage_space():
    stage = Usd.Stage.CreateInMemory()
    parent = UsdGeom.Xform.Define(stage, "/parent")
    parent.AddTranslateOp().Set(Gf.Vec3d(1, 2, 3))
    parent.AddScaleOp().Set(Gf.Vec3f(2, 4, 2))
    mesh = read_mesh(define_sphere(stage, "/parent/sphere", 48, 24), 1)
    center = np.array([1, 2, 3])
    np.testing.assert_allclose(np.abs(mesh.vertices - center).max(0), np.array([2, 4, 2]) * RADIUS, atol=1e-6)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * RADIUS**3 * 16, rel=0.02)
    # Normals of an ellipsoid: the gradient of its equation.
    expected = (mesh.vertices - center) / np.array([2, 4, 2]) ** 2
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(corner_normals(mesh), expected[mesh.faces], atol=1e-5)
    # The poles' row of UVs is v = 1 at +y.
    top = mesh.vertices[mesh.faces][..., 1] > 2 + 4 * RADIUS - 1e-6
    assert (mesh.uvs[mesh.uv_faces][top][:, 1] == 1).all()


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_faces_look_outward(left_handed, mirrored):
    stage = Usd.Stage.CreateInMemory()
    sphere = define_sphere(stage, "/sphere")
    if mirrored:
        sphere.AddScaleOp().Set(Gf.Vec3f(-1, 1, 1))
    uvs_before = read_mesh(sphere, 1)
    if left_handed:
        sphere.CreateOrientationAttr("leftHanded")
        counts = sphere.GetFaceVertexCountsAttr().Get()
        st = UsdGeom.PrimvarsAPI(sphere).GetPrimvar("st")
        for get, put in (
            (sphere.GetFaceVertexIndicesAttr().Get, sphere.GetFaceVertexIndicesAttr().Set),
            (st.GetIndices, st.SetIndices),
        ):
            values, turned, start = list(get()), [], 0
            for count in counts:
                turned += values[start : start + count][::-1]
                start += count
            put(turned)
    mesh = read_mesh(sphere, 1)
    assert volume(mesh) > 0
    assert (np.einsum("ij,ikj->ik", face_normals(mesh), corner_normals(mesh)) > 0.8).all()

    def corners(m):  # position and UV of all corners, in any order
        return np.unique(
            np.concatenate([m.vertices[m.faces], m.uvs[m.uv_faces]], 2).reshape(-1, 5).round(6), axis=0
        )

    np.testing.assert_array_equal(corners(mesh), corners(uvs_before))


def test_missing_normals_are_faceted_or_smooth():
    stage = Usd.Stage.CreateInMemory()
    sphere = define_sphere(stage, "/sphere")
    sphere.GetNormalsAttr().Clear()
    mesh = read_mesh(sphere, 1)
    difference = corner_normals(mesh) - face_normals(mesh)[:, None]
    assert np.abs(difference).max() < 0.02  # quads of a sphere's grid are flat
    sphere.CreateSubdivisionSchemeAttr("catmullClark")
    smooth = read_mesh(sphere, 1)
    distance = np.linalg.norm(smooth.vertices, axis=1, keepdims=True)
    assert distance.min() > 0.8 * RADIUS and distance.max() < RADIUS  # the limit lies inside the cage
    radial = (smooth.vertices / distance)[smooth.faces]
    assert np.einsum("fij,fij->fi", corner_normals(smooth), radial).min() > 0.98
    assert len(smooth.faces) > 20 * len(mesh.faces)


def test_primvar_normals_win():
    stage = Usd.Stage.CreateInMemory()
    sphere = define_sphere(stage, "/sphere")
    primvar = UsdGeom.PrimvarsAPI(sphere).CreatePrimvar(
        "normals", Sdf.ValueTypeNames.Normal3fArray, "constant"
    )
    primvar.Set([Gf.Vec3f(0, 0, 2)])
    np.testing.assert_allclose(corner_normals(read_mesh(sphere, 1)).reshape(-1, 3), [[0, 0, 1]] * 672)


@pytest.mark.parametrize(
    "name, kind", [("UVMap", "TexCoord2fArray"), ("map1", "TexCoord2fArray"), ("st", "Float2Array")]
)
def test_uv_primvar_names(name, kind):
    stage = Usd.Stage.CreateInMemory()
    sphere = define_sphere(stage, "/sphere")
    st = UsdGeom.PrimvarsAPI(sphere).GetPrimvar("st")
    expected = read_mesh(sphere, 1)
    values, indices = st.Get(), st.GetIndices()
    UsdGeom.PrimvarsAPI(sphere).RemovePrimvar("st")
    primvar = UsdGeom.PrimvarsAPI(sphere).CreatePrimvar(
        name, getattr(Sdf.ValueTypeNames, kind), "faceVarying"
    )
    primvar.Set([values[i] for i in indices])  # not indexed
    mesh = read_mesh(sphere, 1)
    np.testing.assert_array_equal(mesh.uvs[mesh.uv_faces], expected.uvs[expected.uv_faces])


def broken(attribute, value):
    def edit(sphere):
        sphere.GetPrim().GetAttribute(attribute).Set(value)

    return edit


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda sphere: UsdGeom.PrimvarsAPI(sphere).RemovePrimvar("st"), "no UVs"),
        (broken("points", []), "no points"),
        (broken("points", [Gf.Vec3f(float("nan"))] * 114), "not finite"),
        (broken("faceVertexCounts", [4] * 128), "faceVertexCounts"),
        (broken("faceVertexIndices", [999] * 480), "do not exist"),
        (broken("primvars:st:indices", [0]), "st has 1 values"),
        (broken("primvars:st:indices", [9999] * 480), "st:indices"),
        (broken("primvars:st", [Gf.Vec2f(float("inf"))]), "not finite"),
        (broken("normals", [Gf.Vec3f(1)]), "normals has 1 values"),
        (lambda sphere: sphere.AddScaleOp().Set(Gf.Vec3f(1, 0, 1)), "singular"),
    ],
)
def test_broken_meshes_are_named(edit, message):
    stage = Usd.Stage.CreateInMemory()
    sphere = define_sphere(stage, "/sphere")
    edit(sphere)
    with pytest.raises(UserError, match=f"/sphere.*{message}"):
        read_mesh(sphere, 1)


def test_choosing_the_object():
    stage = Usd.Stage.CreateInMemory()
    with pytest.raises(UserError, match="no mesh"):
        find_mesh(stage)
    define_sphere(stage, "/a/sphere")
    hidden = define_sphere(stage, "/b/hidden")
    hidden.CreateVisibilityAttr("invisible")
    define_sphere(stage, "/b/proxy").CreatePurposeAttr("proxy")
    assert find_mesh(stage).GetPath() == "/a/sphere"
    assert find_mesh(stage, "/b/hidden").GetPath() == "/b/hidden"
    assert find_mesh(stage, "/a").GetPath() == "/a/sphere"
    with pytest.raises(UserError, match="invisible"):
        find_mesh(stage, "/b")
    define_sphere(stage, "/c")
    with pytest.raises(UserError, match="/a/sphere, /c"):
        find_mesh(stage)
    for wrong in ("/nothing", "a", "//", "not a path"):
        with pytest.raises(UserError, match="--object"):
            find_mesh(stage, wrong)


def test_reading_with_a_variant_leaves_the_file_alone(tmp_path):
    def edit(stage):
        variants = stage.GetPrimAtPath("/World").GetVariantSets().AddVariantSet("size")
        for name, scale in (("small", 1), ("large", 3)):
            variants.AddVariant(name)
            variants.SetVariantSelection(name)
            with variants.GetVariantEditContext():
                UsdGeom.Xformable(stage.GetPrimAtPath("/World")).MakeMatrixXform().Set(
                    Gf.Matrix4d().SetScale(scale)
                )
        variants.SetVariantSelection("small")

    scene = write_scene(tmp_path, edit=edit)
    before = scene.stage.read_bytes()
    stage = open_stage(scene.stage, ["size=large"])
    large = read_mesh(find_mesh(stage), 1)
    assert scene.stage.read_bytes() == before and not stage.GetRootLayer().dirty
    small = load_mesh(scene.stage, "/World/sphere")
    np.testing.assert_allclose(large.vertices, 3 * small.vertices, atol=1e-6)
    with pytest.raises(UserError, match=r"large, small"):
        open_stage(scene.stage, ["size=huge"])
    with pytest.raises(UserError, match="no prim has such a set"):
        open_stage(scene.stage, ["color=red"])
    with pytest.raises(UserError, match="SET=CHOICE"):
        open_stage(scene.stage, ["color"])


@pytest.mark.parametrize("content", [b"", b"junk", b"#usda 1.0\ndef Mesh {", b"PXR-USDC\0\0\0"])
def test_unreadable_stages(tmp_path, content):
    path = tmp_path / "scene.usd"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"scene\.usd: cannot be read as USD"):
        open_stage(path)
    with pytest.raises(UserError, match="no such stage"):
        open_stage(tmp_path / "absent.usd")
    with pytest.raises(UserError, match="URL"):
        open_stage("https://example.org/scene.usd")


def test_winding_number():
    stage = Usd.Stage.CreateInMemory()
    mesh = read_mesh(define_sphere(stage, "/sphere"), 1)
    assert winding_number(np.array([0.1, 0.2, 0]), mesh.vertices, mesh.faces) == pytest.approx(1)
    assert winding_number(np.array([1.0, 0, 0]), mesh.vertices, mesh.faces) == pytest.approx(0, abs=1e-9)
    assert is_inside(np.zeros(3), mesh.vertices, mesh.faces)
    assert not is_inside(np.full(3, 0.95 * RADIUS), mesh.vertices, mesh.faces)  # in the box's corner only
    half = mesh.faces[mesh.vertices[mesh.faces].mean(axis=1)[:, 1] > 0]
    assert winding_number(np.array([0.0, 0, 0]), mesh.vertices, half) == pytest.approx(0.5)
