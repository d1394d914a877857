"""MikkTSpace tangents against surfaces whose tangents are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.shapes import uv_sphere
from usd_tools.errors import UserError
from usd_tools.obj import ObjMesh
from usd_tools.tangents import mikk_tangents, tangent_groups


def _sheet(uvs, vertices=None, faces=((0, 1, 2), (0, 2, 3))):
    """A square in the xy plane, facing +z, corner i with the i-th uv."""
    if vertices is None:
        vertices = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    vertices, faces = np.array(vertices, float), np.array(faces)
    normals = np.array([[0.0, 0.0, 1.0]])
    return ObjMesh(vertices, faces, np.array(uvs, float), faces, normals, np.zeros_like(faces))


def test_plane_with_rotated_uvs():
    # u grows along +y, v along -x: a quarter turn, not mirrored.
    tangents, index = mikk_tangents(_sheet([[0, 0], [0, -1], [1, -1], [1, 0]]))
    assert np.allclose(tangents, [[0, 1, 0, 1]] * len(tangents))
    assert np.array_equal(index, [[0, 1, 2], [0, 2, 3]])


def test_mirrored_uvs_turn_the_sign_and_keep_b_up():
    mesh = _sheet([[1, 0], [0, 0], [0, 1], [1, 1]])
    tangents, _ = mikk_tangents(mesh)
    assert np.allclose(tangents, [[-1, 0, 0, -1]] * len(tangents))
    bitangent = tangents[:, 3:] * np.cross([0.0, 0.0, 1.0], tangents[:, :3])
    assert np.allclose(bitangent, [0, 1, 0])  # v grows along +y


@pytest.mark.parametrize("mirrored", [False, True])
def test_sphere_against_analytic(mirrored):
    mesh = uv_sphere(32, 64, mirrored)
    tangents, index = mikk_tangents(mesh)
    points = mesh.vertices[mesh.faces].reshape(-1, 3)
    found = tangents[index.ravel()]
    away = np.abs(points[:, 1]) < 0.99  # at the poles u has no direction
    east = np.stack([points[:, 2], np.zeros(len(points)), -points[:, 0]], axis=1)[away]
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    if mirrored:
        east = -east
    cosine = (found[away, :3] * east).sum(1)
    # Inside, the chords of the columns left and right cancel; at the uv seam one side alone counts, whose
    # chord is off by half a column.
    assert cosine.min() > np.cos(np.radians(360 / 64 / 2 + 0.01))
    seam = np.isin(mesh.uvs[mesh.uv_faces].reshape(-1, 2)[away, 0], [0.0, 1.0])
    assert cosine[~seam].min() > np.cos(np.radians(0.2))
    assert (found[:, 3] == (-1 if mirrored else 1)).all()
    assert np.allclose(np.linalg.norm(found[:, :3], axis=1), 1)
    assert np.abs((found[:, :3] * points).sum(1)).max() < 1e-9


def test_tangents_are_weighted_by_angle():
    # Two faces around corner 0 with tangents t1 and t2 in the normal's plane, seen under 90 and 45 degrees.
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 1, 0]]
    uvs = [[0, 0], [1, 0], [0, 1], [-2, 1]]
    tangents, index = mikk_tangents(_sheet(uvs, vertices, ((0, 1, 2), (0, 2, 3))))
    second = np.array([-1.0, 0.0, 0.0]) * -2  # dp/du of the second face: p(-1, 1) - p(0, 1) over u -2 - 0
    mean = np.pi / 2 * np.array([1.0, 0, 0]) + np.pi / 4 * second / 2
    assert np.allclose(tangents[index[0, 0], :3], mean / np.linalg.norm(mean))
    # A sheared third face changes direction; the same rule by hand.
    uvs[3] = [-1, 2]
    tangents, index = mikk_tangents(_sheet(uvs, vertices, ((0, 1, 2), (0, 2, 3))))
    # Solve dp = T du + B dv on the second face: edges (0, 1) -> (0, 1), (-1, 1) -> (-1, 2).
    jacobian = np.linalg.inv(np.array([[0.0, 1.0], [-1.0, 2.0]])) @ np.array([[0.0, 1.0], [-1.0, 1.0]])
    direction = jacobian[0] / np.linalg.norm(jacobian[0])
    mean = np.pi / 2 * np.array([1.0, 0]) + np.pi / 4 * direction
    assert np.allclose(tangents[index[0, 0], :2], mean / np.linalg.norm(mean))


def test_mirror_seam_and_uv_seam_split_groups():
    # Faces share an edge, but u is mirrored across it.
    mesh = _sheet([[0, 0], [1, 0], [1, 1], [1, 0]])
    groups = tangent_groups(mesh.faces, mesh.uv_faces, mesh.normal_faces, mesh.uvs, mesh.vertices)
    assert len(groups.signs) == 6
    assert sorted(groups.signs) == [-1] * 3 + [1] * 3
    # One orientation, one sheet: the shared edge's corners share tangents.
    mesh = _sheet([[0, 0], [1, 0], [1, 1], [0, 1]])
    groups = tangent_groups(mesh.faces, mesh.uv_faces, mesh.normal_faces, mesh.uvs, mesh.vertices)
    assert len(groups.signs) == 4
    # A uv seam along the diagonal.
    uv_faces = np.array([[0, 1, 2], [4, 5, 3]])
    uvs = np.concatenate([mesh.uvs, mesh.uvs[[0, 2]] + 0.5])
    groups = tangent_groups(mesh.faces, uv_faces, mesh.normal_faces, uvs, mesh.vertices)
    assert len(groups.signs) == 6


def test_faces_that_only_touch_in_a_vertex_do_not_share():
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]
    uvs = [row[:2] for row in vertices]
    mesh = _sheet(uvs, vertices, ((0, 1, 2), (0, 3, 4)))
    groups = tangent_groups(mesh.faces, mesh.uv_faces, mesh.normal_faces, mesh.uvs, mesh.vertices)
    assert groups.corners[0, 0] != groups.corners[1, 0]


def test_duplicate_vertices_and_uvs_are_welded_by_value():
    mesh = _sheet([[0, 0], [1, 0], [1, 1], [0, 1]])
    split = mesh.faces.copy()
    split[1] = [4, 5, 3]
    loose = ObjMesh(
        np.concatenate([mesh.vertices, mesh.vertices[[0, 2]]]),
        split,
        np.concatenate([mesh.uvs, mesh.uvs[[0, 2]]]),
        split,
        mesh.normals,
        mesh.normal_faces,
    )
    assert np.allclose(mikk_tangents(loose)[0], mikk_tangents(mesh)[0])
    assert np.array_equal(mikk_tangents(loose)[1], mikk_tangents(mesh)[1])


def test_degenerate_uv_face_inherits_and_never_contributes():
    # The second face has no uv area; the first is mirrored.
    mesh = _sheet([[0, 0], [-1, 0], [-1, 1], [-0.5, 0.5]])
    tangents, index = mikk_tangents(mesh)
    assert np.isfinite(tangents).all()
    assert (tangents[:, 3] == -1).all()
    assert np.array_equal(index[1, :2], index[0, [0, 2]])
    assert np.allclose(tangents[index[0], :3], [-1, 0, 0])


def test_face_without_area_takes_its_neighbours_tangent():
    mesh = _sheet([[0, 0], [0, -1], [1, -1], [1, 0]], faces=((0, 1, 2), (0, 2, 2), (0, 2, 3)))
    tangents, index = mikk_tangents(mesh)
    assert np.allclose(tangents, [0, 1, 0, 1])
    assert np.array_equal(index[1], [index[0, 0], index[0, 2], index[0, 2]])


def test_all_uvs_equal_gives_unit_tangents_across_the_normal():
    tangents, _ = mikk_tangents(_sheet([[0.5, 0.5]] * 4))
    assert np.allclose(np.linalg.norm(tangents[:, :3], axis=1), 1)
    assert np.allclose(tangents[:, 2], 0)


def test_mesh_without_uvs_is_refused():
    sphere = uv_sphere(4, 6)
    with pytest.raises(UserError, match="texture coordinates"):
        mikk_tangents(ObjMesh(sphere.vertices, sphere.faces))


def test_missing_normals_are_replaced_by_smooth_ones():
    sphere = uv_sphere(24, 48)
    bare = ObjMesh(sphere.vertices, sphere.faces, sphere.uvs, sphere.uv_faces)
    tangents, index = mikk_tangents(bare)
    reference, reference_index = mikk_tangents(sphere)
    assert np.array_equal(index, reference_index)
    assert (tangents[:, :3] * reference[:, :3]).sum(1).min() > np.cos(np.radians(1))
