"""Subdivision against a slow, plain reference, B-splines and what creases, borders and seams have to keep."""

import itertools

import numpy as np
import pytest

from usd_tools.subdivision import Cage, CornerValues, _shape_channel, boundary_faces, limit_surface

CUBE_POINTS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
CUBE_FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
TETRAHEDRON = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
TETRAHEDRON_FACES = [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]


def cage(points, faces, **options):
    counts = np.array([len(face) for face in faces])
    return Cage(np.asarray(points, float), counts, np.concatenate(faces), **options)


def grid(n):
    """n x n points in a plane with bumps, (n - 1) x (n - 1) quads."""
    x, y = np.meshgrid(np.arange(n, dtype=float), np.arange(n, dtype=float), indexing="ij")
    points = np.stack([x, y, np.sin(2 * x) + np.cos(3 * y) * x], axis=-1).reshape(-1, 3)
    faces = [
        [i * n + j, (i + 1) * n + j, (i + 1) * n + j + 1, i * n + j + 1]
        for i in range(n - 1)
        for j in range(n - 1)
    ]
    return points, faces


def slow_catmull_clark(points, faces, sharp):
    """One division, by dictionaries. sharp: {edge: sharpness}; returns the same three, one level finer."""
    centers = [points[face].mean(axis=0) for face in faces]
    beside = {}
    for number, face in enumerate(faces):
        for a, b in zip(face, face[1:] + face[:1]):
            beside.setdefault((min(a, b), max(a, b)), []).append(number)
    sharp = {edge: 99.0 if len(beside[edge]) == 1 else sharp.get(edge, 0.0) for edge in beside}
    new = []
    for v, point in enumerate(points):
        edges = [edge for edge in beside if v in edge]
        others = [points[a if b == v else b] for a, b in edges]
        around = {face for edge in edges for face in beside[edge]}
        n = len(edges)
        f = np.mean([centers[face] for face in around], axis=0)
        r = np.mean([(point + other) / 2 for other in others], axis=0)
        smooth = (f + 2 * r + (n - 3) * point) / n

        def by_rule(values, edges=edges, others=others, point=point, smooth=smooth):
            ends = [other for edge, other in zip(edges, others) if values[edge] > 0]
            if len(ends) > 2:
                return point
            return (6 * point + ends[0] + ends[1]) / 8 if len(ends) == 2 else smooth

        later = {edge: value if value >= 10 else max(value - 1, 0) for edge, value in sharp.items()}
        leaving = [sharp[edge] for edge in edges if sharp[edge] > 0 and later[edge] == 0]
        weight = min(np.mean(leaving), 1) if leaving else 1
        new.append(weight * by_rule(sharp) + (1 - weight) * by_rule(later))
    number_of = {}
    for (a, b), sides in sorted(beside.items()):
        number_of[a, b] = len(new)
        middle = (points[a] + points[b]) / 2
        smooth = (points[a] + points[b] + sum(centers[face] for face in sides)) / (2 + len(sides))
        weight = min(sharp[a, b], 1)
        new.append(weight * middle + (1 - weight) * smooth)
    finer, finer_sharp = [], {}
    for number, face in enumerate(faces):
        size = len(face)
        ends = [number_of[min(a, b), max(a, b)] for a, b in zip(face, face[1:] + face[:1])]
        finer += [[face[k], ends[k], len(new) + number, ends[k - 1]] for k in range(size)]
    for (a, b), middle in number_of.items():
        for end in (a, b):
            finer_sharp[end, middle] = later[a, b]
    return np.array(new + centers), finer, finer_sharp


@pytest.mark.parametrize("sharpness", [0.0, 0.4, 1.0, 1.7, 2.5, 10.0])
def test_agrees_with_the_slow_reference(sharpness):
    faces = [*CUBE_FACES[:-1], [1, 5, 7], [1, 7, 3]]  # quads and triangles
    edges = [(0, 1), (1, 5), (4, 5), (0, 4), (5, 7)]
    ours = _shape_channel(
        cage(
            CUBE_POINTS,
            faces,
            crease_edges=np.array(edges),
            crease_sharpness=np.full(len(edges), sharpness),
        )
    )
    points, reference, sharp = CUBE_POINTS, faces, {edge: sharpness for edge in edges}
    for _ in range(3):
        ours = ours.divided()
        points, reference, sharp = slow_catmull_clark(points, reference, sharp)
        np.testing.assert_allclose(ours.values, points, atol=1e-12)
        np.testing.assert_array_equal(ours.ids.reshape(-1, 4), reference)


def test_regular_grid_is_a_bicubic_b_spline():
    n = 9
    points, faces = grid(n)
    result = limit_surface(cage(points, faces), tolerance=1.0)
    assert result.levels == 0
    inner = points.reshape(n, n, 3)
    spline = (inner[:-2] + 4 * inner[1:-1] + inner[2:]) / 6
    spline = (spline[:, :-2] + 4 * spline[:, 1:-1] + spline[:, 2:]) / 6
    np.testing.assert_allclose(result.points.reshape(n, n, 3)[1:-1, 1:-1], spline, atol=1e-12)
    border = result.points.reshape(n, n, 3)[0, 1:-1]  # a cubic B-spline as well
    edge = points.reshape(n, n, 3)[0]
    np.testing.assert_allclose(border, (edge[:-2] + 4 * edge[1:-1] + edge[2:]) / 6, atol=1e-12)
    np.testing.assert_array_equal(result.points[0], points[0])  # edgeAndCorner
    rounded = limit_surface(cage(points, faces, boundary="edgeOnly"), tolerance=1.0)
    assert np.abs(rounded.points[0] - points[0]).max() > 0.1


@pytest.mark.parametrize(
    "scheme, points, faces",
    [("catmullClark", CUBE_POINTS, CUBE_FACES), ("loop", TETRAHEDRON, TETRAHEDRON_FACES)],
)
def test_limit_points_do_not_depend_on_the_level(scheme, points, faces):
    coarse = limit_surface(cage(points, faces, scheme=scheme), tolerance=10)
    fine = limit_surface(cage(points, faces, scheme=scheme), tolerance=1e-3)
    assert coarse.levels == 0 and fine.levels >= 3
    np.testing.assert_allclose(fine.points[: len(points)], coarse.points, atol=1e-12)
    assert fine.deviation < 1e-3
    # By symmetry the surface is centered, and its normals point away from the center.
    outward = np.einsum("qkj,qkj->qk", fine.normals[fine.normal_faces], fine.points[fine.faces])
    assert outward.min() > 0
    np.testing.assert_allclose(fine.points.mean(axis=0), 0, atol=1e-9)


def test_deviation_is_measured_truly():
    reference = limit_surface(cage(CUBE_POINTS, CUBE_FACES), tolerance=2e-5)
    coarse = limit_surface(cage(CUBE_POINTS, CUBE_FACES), tolerance=1e-2)
    assert 2e-3 < coarse.deviation <= 1e-2 and coarse.levels < reference.levels
    # Distance of the fine surface's points from the planes of the coarse quads they came from.
    share = len(reference.faces) // len(coarse.faces)
    centers = reference.points[reference.faces].mean(axis=1).reshape(len(coarse.faces), share, 3)
    a, b, c, d = (coarse.points[coarse.faces[:, k]] for k in range(4))
    normal = np.cross(c - a, d - b)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    height = np.abs(np.einsum("qsj,qj->qs", centers - a[:, None], normal)).max()
    assert 0.5 * coarse.deviation < height < 1.6 * coarse.deviation


def test_a_large_cage_stops_where_it_is_told():
    result = limit_surface(cage(CUBE_POINTS, CUBE_FACES), tolerance=1e-6, largest_face_count=400)
    assert len(result.faces) == 384 and result.deviation > 1e-6


def test_infinite_creases_keep_the_cube():
    edges = np.array([(a, b) for a, b in itertools.combinations(range(8), 2) if (a ^ b) in (1, 2, 4)])
    sharp = cage(CUBE_POINTS, CUBE_FACES, crease_edges=edges, crease_sharpness=np.full(12, 10.0))
    for solid in (sharp, cage(CUBE_POINTS, CUBE_FACES, scheme="bilinear")):
        result = limit_surface(solid, tolerance=1e-3)
        assert result.levels == 0
        np.testing.assert_allclose(result.points, CUBE_POINTS, atol=1e-12)
        normals = result.normals[result.normal_faces]
        assert (np.abs(normals).max(axis=-1) > 0.999999).all()  # faceted: along the axes
        np.testing.assert_allclose(normals, normals[:, :1].repeat(4, axis=1), atol=1e-12)


def test_a_sharp_corner_stays():
    result = limit_surface(
        cage(CUBE_POINTS, CUBE_FACES, corners=np.array([7]), corner_sharpness=np.array([10.0])),
        tolerance=1e-2,
    )
    np.testing.assert_array_equal(result.points[7], [1, 1, 1])
    assert np.abs(result.points[0]).max() < 0.9


def test_flat_texture_coordinates_follow_the_surface():
    # Coordinates that are a linear function of the points stay that function everywhere on the limit surface,
    # if they are as smooth as the points.
    points, faces = grid(6)
    layer = CornerValues(points[:, :2] * 0.1, np.concatenate(faces), "vertex")
    result = limit_surface(cage(points, faces), [layer], tolerance=1e-3)
    values, rows = result.layers[0]
    np.testing.assert_allclose(values[rows], result.points[result.faces][..., :2] * 0.1, atol=1e-12)


@pytest.mark.parametrize(
    "mode, corner, border, junction",
    [
        ("none", False, False, False),
        ("cornersOnly", True, False, False),
        ("cornersPlus1", True, False, True),
        ("cornersPlus2", True, False, True),
        ("boundaries", True, True, True),
        ("all", True, True, True),
    ],
)
def test_what_face_varying_modes_pin(mode, corner, border, junction):
    # Three charts on a 5 x 5 grid: left half, right lower, right upper; all bent, so that smoothing shows.
    points, faces = grid(5)
    chart = [0 if face[0] // 5 < 2 else 1 if face[0] % 5 < 2 else 2 for face in faces]
    flat = np.concatenate(faces)
    bent = points[flat, :2] ** 2
    values = bent + 100.0 * np.repeat(chart, 4)[:, None]
    result = limit_surface(
        cage(points, faces), [CornerValues(values, np.arange(len(flat)), mode)], tolerance=10.0
    )
    moved = result.layers[0][0][result.layers[0][1]].reshape(-1, 2) - values
    moved = np.abs(moved).max(axis=1)

    def is_pinned(point, number):
        corners = np.flatnonzero((flat == point) & (np.repeat(chart, 4) == number))
        assert len(corners)
        return bool((moved[corners] < 1e-12).all())

    assert is_pinned(0, 0)  # the mesh's own corner, by edgeAndCorner
    assert is_pinned(10, 1) == corner  # on the border: one face of chart 1
    assert is_pinned(11, 1) == border  # on the seam between charts 0 and 1
    assert is_pinned(12, 0) == junction  # where three charts meet
    assert is_pinned(6, 0) == (mode == "all")  # inside a chart


def test_faces_at_the_border():
    _, faces = grid(6)
    border = boundary_faces(np.full(25, 4), np.concatenate(faces)).reshape(5, 5)
    assert border.sum() == 16 and not border[1:-1, 1:-1].any()


def test_cages_too_large_to_measure_stay_as_they_are(monkeypatch):
    monkeypatch.setattr("usd_tools.subdivision.MEASURABLE_FACE_COUNT", 20)
    result = limit_surface(cage(CUBE_POINTS, CUBE_FACES))
    assert result.levels == 0 and np.isnan(result.deviation)
    np.testing.assert_allclose(np.abs(result.points), 0.5, atol=1e-12)  # on the limit all the same
