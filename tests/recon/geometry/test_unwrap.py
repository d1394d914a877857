"""Unwrapping: nothing overlaps, nothing moves, charts keep their distance, bad meshes are refused."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from recon.geometry import unwrap as unwrapping
from recon.geometry.dmtet import DMTet
from recon.geometry.mesh import Mesh, MeshTangentGroups
from recon.geometry.tet_grid import build_tet_grid
from recon.geometry.unwrap import unwrap
from usd_tools.errors import UserError


@pytest.fixture(scope="module")
def blob() -> Mesh:
    grid = build_tet_grid(12)
    x, y, z = grid.vertices.unbind(1)
    sdf = torch.sqrt(x**2 + 1.7 * y**2 + z**2) - 0.6 + 0.08 * torch.sin(7 * x) * torch.cos(6 * z)
    vertices, faces = DMTet.from_distance(grid, sdf).extract()
    return Mesh(vertices.detach(), faces).with_smooth_normals()


def _owners(mesh: Mesh, size: int) -> np.ndarray:
    """(size, size) how many triangles hold each texel's center, by testing all triangles."""
    corners = mesh.uvs[mesh.uv_faces].double().numpy() * size
    centers = np.arange(size) + 0.5
    count = np.zeros((size, size), int)
    for triangle in corners:
        low = np.maximum(np.floor(triangle.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(triangle.max(0)).astype(int), size)
        x, y = np.meshgrid(centers[low[0] : high[0]], centers[low[1] : high[1]])
        sides = []
        for i in range(3):
            a, b = triangle[i], triangle[(i + 1) % 3]
            sides.append((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]))
        sides = np.stack(sides)
        # Strictly inside: texels on a shared edge would count twice.
        hit = (sides > 1e-6).all(0) | (sides < -1e-6).all(0)
        count[low[1] : high[1], low[0] : high[0]] += hit
    return count


def _solid(mesh: Mesh) -> torch.Tensor:
    """(F,) faces with uv area: marching tetrahedra also make slivers, which have one point of the atlas."""
    uv = mesh.uvs[mesh.uv_faces].double()
    return torch.linalg.det(uv[:, 1:] - uv[:, :1]).abs() > 1e-12


def test_triangles_do_not_overlap_and_fill_the_square(blob):
    mesh = unwrap(blob, 256)
    assert mesh.uvs.min() >= 0 and mesh.uvs.max() <= 1
    count = _owners(mesh, 256)
    assert count.max() == 1
    assert count.mean() > 0.4


def test_geometry_stays_and_corners_keep_their_positions(blob):
    mesh = unwrap(blob, 128)
    assert torch.equal(mesh.vertices, blob.vertices) and torch.equal(mesh.faces, blob.faces)
    assert torch.equal(mesh.normals, blob.normals)
    assert mesh.uv_faces.shape == mesh.faces.shape
    # A row of uvs belongs to one vertex.
    solid = _solid(mesh)
    assert solid.float().mean() > 0.95
    rows, corners = mesh.uv_faces[solid].reshape(-1), mesh.faces[solid].reshape(-1)
    owner = torch.full((len(mesh.uvs),), -1)
    owner[rows] = corners
    assert torch.equal(owner[rows], corners)
    assert (owner >= 0).all()


def test_uvs_are_not_mirrored_and_isotropic(blob):
    mesh = unwrap(blob, 256)
    groups = MeshTangentGroups.of(mesh)
    assert (groups.signs > 0).float().mean() > 0.99
    uv = mesh.uvs[mesh.uv_faces].double()
    corners = mesh.vertices[mesh.faces].double()
    uv_area = torch.linalg.det(uv[:, 1:] - uv[:, :1]).abs()
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    density = (uv_area / area)[area > area.median() * 0.1]
    assert density.quantile(0.95) / density.quantile(0.05) < 2


@pytest.mark.parametrize(("resolution", "padding"), [(128, 2), (256, 4)])
def test_charts_keep_their_distance(blob, resolution, padding):
    mesh = unwrap(blob, resolution, padding)
    # Charts: faces connected through common uv rows.
    chart = np.arange(len(mesh.uvs))
    faces = mesh.uv_faces[_solid(mesh)].numpy()
    for _ in range(len(chart)):
        lowest = chart[faces].min(1)
        new = chart.copy()
        for i in range(3):
            np.minimum.at(new, faces[:, i], lowest)
        if np.array_equal(new, chart):
            break
        chart = new
    # The nearest uv vertices of two charts are at least the padding apart (up to rounding to texels).
    uvs = mesh.uvs.double() * resolution
    distance = torch.cdist(uvs, uvs)
    other = torch.from_numpy(chart[:, None] != chart[None])
    assert other.any()
    assert distance[other].min() > padding - 0.75


def test_deterministic(blob):
    one, two = unwrap(blob, 128), unwrap(blob, 128)
    assert torch.equal(one.uvs, two.uvs) and torch.equal(one.uv_faces, two.uv_faces)


def test_size_and_place_do_not_matter(blob):
    far = Mesh(blob.vertices.double() * 1e-4 + 3.0, blob.faces)
    found = unwrap(far, 128)
    assert found.uvs.dtype == torch.float64
    assert _owners(found, 128).max() == 1


def test_faces_without_area_and_edges_of_three_faces(blob):
    vertices = torch.cat([blob.vertices, blob.vertices[:1] * 1.5])
    a, b, c = blob.faces[0].tolist()
    fin = len(vertices) - 1
    extra = torch.tensor([[a, a, b], [a, b, fin], [c, c, c]])
    mesh = unwrap(Mesh(vertices, torch.cat([blob.faces, extra])), 256)
    assert torch.isfinite(mesh.uvs).all()
    assert len(mesh.uv_faces) == len(blob.faces) + 3
    assert _owners(mesh, 256).max() == 1
    flat = mesh.uvs[mesh.uv_faces[-1]]
    assert torch.equal(flat[0], flat[1]) and torch.equal(flat[0], flat[2])


def test_impossible_meshes_are_refused(blob):
    with pytest.raises(UserError, match="no faces"):
        unwrap(Mesh(blob.vertices, blob.faces[:0]), 128)
    with pytest.raises(UserError, match="not finite"):
        unwrap(Mesh(blob.vertices * torch.nan, blob.faces), 128)
    with pytest.raises(UserError, match="without area"):
        unwrap(Mesh(torch.zeros_like(blob.vertices), blob.faces), 128)
    with pytest.raises(UserError, match=r"textures\.resolution"):
        unwrap(blob, 8)


def test_no_atlas_is_ever_destroyed(blob, monkeypatch):
    """xatlas's destructor may wait for its own threads forever."""
    import xatlas

    made, destroyed = [], []

    class Watched:
        def __init__(self, atlas=xatlas.Atlas):
            self.atlas = atlas()
            made.append(id(self))

        def __getattr__(self, name):
            return getattr(self.atlas, name)

        def __getitem__(self, number):
            return self.atlas[number]

        def __del__(self):
            destroyed.append(id(self))

    monkeypatch.setattr(xatlas, "Atlas", Watched)
    unwrap(blob, 256)
    gc.collect()
    assert made and not destroyed


def test_packing_again_repeats_no_charts(blob, monkeypatch):
    """On a small texture xatlas's first packing leaves too little padding."""
    calls = {"_charts": 0, "_packed": 0}
    for name in calls:
        original = getattr(unwrapping, name)

        def counted(*arguments, name=name, original=original):
            calls[name] += 1
            return original(*arguments)

        monkeypatch.setattr(unwrapping, name, counted)
    mesh = unwrap(blob, 48)
    assert calls["_charts"] == 1 and calls["_packed"] >= 1
    assert _owners(mesh, 48).max() == 1


def test_pieces_hold_every_face_once_and_stay_small():
    points = np.random.default_rng(3).normal(size=(1001, 3)) * [3.0, 1.0, 0.1]
    pieces = unwrapping._pieces(points, 100)
    assert max(map(len, pieces)) <= 100 and min(map(len, pieces)) > 50
    assert np.array_equal(np.sort(np.concatenate(pieces)), np.arange(1001))
    # The first cut is across the longest extent.
    assert len(unwrapping._pieces(points, 600)) == 2
    left, right = (points[piece, 0] for piece in unwrapping._pieces(points, 600))
    assert left.max() <= right.min()


def test_many_pieces_make_one_atlas(blob, monkeypatch):
    monkeypatch.setattr(unwrapping, "_PIECE", 100)
    mesh = unwrap(blob, 512)
    count = _owners(mesh, 512)
    assert count.max() == 1 and count.mean() > 0.3
    corners = mesh.uvs[mesh.uv_faces].double()
    density = torch.linalg.det(corners[:, 1:] - corners[:, :1])[_solid(mesh)]
    assert (density > 0).all()
    # Every face got the uvs of its own corners: edges keep their proportions.
    assert len(mesh.uvs) > len(blob.vertices)
    uv_edge = (corners[:, 1] - corners[:, 0]).norm(dim=1)
    edge = (blob.vertices[blob.faces[:, 1]] - blob.vertices[blob.faces[:, 0]]).double().norm(dim=1)
    ratio = (uv_edge / edge)[_solid(mesh) & (edge > 0.1 * edge.median())]
    assert ratio.quantile(0.99) / ratio.quantile(0.01) < 2
