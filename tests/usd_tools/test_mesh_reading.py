"""What composed meshes may hold: holes, subdivision, creases, concave faces, any interpolation."""

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom

from tests.usd_tools.stages import define_sphere
from usd_tools.errors import UserError
from usd_tools.mesh_reading import read_mesh, read_triangles

KINDS = Sdf.ValueTypeNames
CUBE = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
CUBE_FACES = [0, 1, 3, 2, 4, 6, 7, 5, 0, 4, 5, 1, 2, 3, 7, 6, 0, 2, 6, 4, 1, 5, 7, 3]


@pytest.fixture
def stage():
    return Usd.Stage.CreateInMemory()


def define_cube(stage, scheme="catmullClark"):
    """With one UV square per face."""
    mesh = UsdGeom.Mesh.Define(stage, "/cube")
    mesh.CreatePointsAttr([Gf.Vec3f(*point) for point in CUBE])
    mesh.CreateFaceVertexCountsAttr([4] * 6)
    mesh.CreateFaceVertexIndicesAttr(CUBE_FACES)
    mesh.CreateSubdivisionSchemeAttr(scheme)
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", KINDS.TexCoord2fArray, "faceVarying")
    st.Set([(0, 0), (1, 0), (1, 1), (0, 1)] * 6)
    return mesh


def volume(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def turned_inside_out(mesh):
    """The same mesh with every face's corners, and their UVs, in reverse order."""
    st = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st")
    for get, put in (
        (mesh.GetFaceVertexIndicesAttr().Get, mesh.GetFaceVertexIndicesAttr().Set),
        (st.Get, st.Set),
    ):
        values = list(get())
        put([values[4 * face + 3 - corner] for face in range(len(values) // 4) for corner in range(4)])


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_subdivided_surfaces_look_outward(stage, left_handed, mirrored):
    cube = define_cube(stage)
    if mirrored:
        cube.AddScaleOp().Set(Gf.Vec3f(-1, 1, 1))
    if left_handed:
        cube.CreateOrientationAttr("leftHanded")
        turned_inside_out(cube)
    mesh = read_mesh(cube, 1)
    assert 1 < volume(mesh) < 8
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    facets = np.cross(b - a, c - a)
    facets /= np.linalg.norm(facets, axis=1, keepdims=True)
    assert np.einsum("fj,fkj->fk", facets, mesh.normals[mesh.normal_faces]).min() > 0.98
    # By hand: a face's middle after one division has edge points (3/4, 0, 3/4), corners 5/9 around it.
    assert np.abs(mesh.vertices).max() == pytest.approx((16 + 4 * 4 * 3 / 4 + 4 * 5 / 9) / 36)


def test_an_unauthored_scheme_is_catmull_clark(stage):
    """So says the schema, and so renderers draw it."""
    cube = define_cube(stage)
    subdivided = read_mesh(cube, 1)
    cube.GetPrim().RemoveProperty("subdivisionScheme")
    np.testing.assert_array_equal(read_mesh(cube, 1).vertices, subdivided.vertices)


def test_triangles_know_their_faces(stage):
    cube = define_cube(stage)
    found = read_triangles(cube, 1, [None])
    assert len(np.unique(found.polygons)) == 6
    centers = found.mesh.vertices[found.mesh.faces].mean(axis=1)
    for face in range(6):
        corners = np.array(CUBE)[CUBE_FACES[4 * face : 4 * face + 4]]
        outward = corners.mean(axis=0)
        mine = centers[found.polygons == face]
        assert (mine @ outward >= np.abs(mine).max(axis=1) - 0.05).all()  # the nearest of six sides


@pytest.mark.parametrize("scheme", ["none", "catmullClark", "bilinear"])
def test_holes_are_left_out(stage, scheme):
    cube = define_cube(stage, scheme)
    whole = read_triangles(cube, 1, [None])
    cube.CreateHoleIndicesAttr([1, 4])
    open_ = read_triangles(cube, 1, [None])
    assert set(open_.polygons) == {0, 2, 3, 5}
    kept = ~np.isin(whole.polygons, [1, 4])
    # Holes take part in subdivision: what is left lies where it did.
    np.testing.assert_allclose(
        open_.mesh.vertices[open_.mesh.faces], whole.mesh.vertices[whole.mesh.faces[kept]], atol=1e-12
    )
    cube.CreateHoleIndicesAttr([0, 1, 2, 3, 4, 5])
    with pytest.raises(UserError, match="all its faces are holes"):
        read_mesh(cube, 1)


def test_creases_are_read(stage):
    cube = define_cube(stage)
    top = [1, 3, 7, 5, 1]  # z = 1, as one crease of four edges
    cube.CreateCreaseIndicesAttr(top)
    cube.CreateCreaseLengthsAttr([5])
    cube.CreateCreaseSharpnessesAttr([10.0])
    mesh = read_mesh(cube, 1)
    # Flat, a closed B-spline around it, and normals split at the rim.
    flat = mesh.vertices[:, 2] > 1 - 1e-9
    widest = np.abs(mesh.vertices[flat]).max(axis=0)[0]
    assert flat.sum() > 20 and widest == pytest.approx((-1 + 23 + 23 - 1) / 48)
    rim = mesh.normals[mesh.normal_faces][(mesh.vertices[mesh.faces][..., 2] > 1 - 1e-9).all(axis=1)]
    np.testing.assert_allclose(rim.reshape(-1, 3), np.broadcast_to([0, 0, 1], (rim.size // 3, 3)), atol=1e-9)
    cube.CreateCreaseSharpnessesAttr([10.0, 10.0, 10.0, 10.0])  # one figure per edge
    np.testing.assert_array_equal(read_mesh(cube, 1).vertices, mesh.vertices)


def test_boundary_none_leaves_the_border_out(stage):
    cube = define_cube(stage)
    cube.CreateFaceVertexCountsAttr([4] * 5)
    cube.CreateFaceVertexIndicesAttr(CUBE_FACES[:20])  # an open box
    UsdGeom.PrimvarsAPI(cube).GetPrimvar("st").Set([(0, 0), (1, 0), (1, 1), (0, 1)] * 5)
    assert len(set(read_triangles(cube, 1, [None]).polygons)) == 5
    cube.CreateInterpolateBoundaryAttr("none")
    # Every face but the one opposite the opening touches it.
    assert set(read_triangles(cube, 1, [None]).polygons) == {4}


def test_vertex_texture_coordinates_follow_the_points(stage):
    sphere = define_sphere(stage, "/sphere")
    sphere.CreateSubdivisionSchemeAttr("catmullClark")
    st = UsdGeom.PrimvarsAPI(sphere).GetPrimvar("st")
    st.BlockIndices()
    points = np.array(sphere.GetPointsAttr().Get())
    st.Set([Gf.Vec2f(float(x), float(y)) for x, y, _ in points])
    st.SetInterpolation("vertex")
    mesh = read_mesh(sphere, 1)
    np.testing.assert_allclose(mesh.uvs[mesh.uv_faces], mesh.vertices[mesh.faces][..., :2], atol=1e-6)
    st.SetInterpolation("varying")
    linear = read_mesh(sphere, 1)
    assert np.abs(linear.uvs[linear.uv_faces] - linear.vertices[linear.faces][..., :2]).max() > 0.01


def test_concave_polygons_have_their_own_area(stage):
    mesh = UsdGeom.Mesh.Define(stage, "/arrow")
    mesh.CreatePointsAttr([(0, 0, 0), (2, 1, 0), (0, 2, 0), (1, 1, 0)])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    mesh.CreateSubdivisionSchemeAttr("none")
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", KINDS.TexCoord2fArray, "vertex")
    st.Set([(0, 0), (1, 0.5), (0, 1), (0.5, 0.5)])
    found = read_mesh(mesh, 1)
    a, b, c = (found.vertices[found.faces[:, k]] for k in range(3))
    areas = np.cross(b - a, c - a)[:, 2] / 2
    assert areas.min() > 0 and areas.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("interpolation, count", [("uniform", 128), ("constant", 1)])
def test_normals_in_every_interpolation(stage, interpolation, count):
    sphere = define_sphere(stage, "/sphere")
    counts = np.array(sphere.GetFaceVertexCountsAttr().Get())
    sphere.CreateNormalsAttr([Gf.Vec3f(0, 0, face + 1) for face in range(count)])
    sphere.SetNormalsInterpolation(interpolation)
    mesh = read_mesh(sphere, 1)
    assert len(counts) == 128
    np.testing.assert_allclose(mesh.normals[mesh.normal_faces].reshape(-1, 3), [[0, 0, 1]] * 672)


def test_authored_normals_of_subdivision_surfaces_are_told_of(stage, caplog):
    sphere = define_sphere(stage, "/sphere")
    read_mesh(sphere, 1)
    assert not caplog.text
    sphere.CreateSubdivisionSchemeAttr("catmullClark")
    read_mesh(sphere, 1)
    assert "authored normals are not used" in caplog.text


def test_large_cages_are_told_of(stage, caplog, monkeypatch):
    from usd_tools import mesh_reading, subdivision

    def small(cage, layers):
        return subdivision.limit_surface(cage, layers, largest_face_count=100)

    monkeypatch.setattr(mesh_reading, "limit_surface", small)
    read_mesh(define_cube(stage), 1)
    assert "divided 2 times only" in caplog.text


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda cube: cube.CreateHoleIndicesAttr([6]), "holeIndices"),
        (lambda cube: cube.CreateCreaseLengthsAttr([3]), "crease"),
        (lambda cube: cube.CreateCornerIndicesAttr([0]), "corner"),
        (
            lambda cube: (cube.CreateCornerIndicesAttr([99]), cube.CreateCornerSharpnessesAttr([1.0])),
            "corner",
        ),
        (lambda cube: cube.CreateSubdivisionSchemeAttr("loop"), "loop wants triangles"),
        (lambda cube: cube.CreateSubdivisionSchemeAttr("doo"), "subdivisionScheme doo"),
    ],
)
def test_broken_meshes_are_named(stage, edit, message):
    cube = define_cube(stage)
    edit(cube)
    with pytest.raises(UserError, match=f"/cube.*{message}"):
        read_mesh(cube, 1)


def test_loop_rounds_a_tetrahedron(stage):
    mesh = UsdGeom.Mesh.Define(stage, "/tetrahedron")
    mesh.CreatePointsAttr([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
    mesh.CreateFaceVertexCountsAttr([3] * 4)
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 0, 3, 1, 0, 2, 3, 1, 3, 2])
    mesh.CreateSubdivisionSchemeAttr("loop")
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", KINDS.TexCoord2fArray, "vertex")
    st.Set([(0, 0), (1, 0), (0, 1), (1, 1)])
    found = read_mesh(mesh, 1)
    assert 0 < volume(found) < 8 / 3
    # Its corners' limit is 2/5 of themselves and 1/5 of their neighbors, whose sum is their opposite.
    assert np.linalg.norm(found.vertices, axis=1).max() == pytest.approx(0.2 * np.sqrt(3))
