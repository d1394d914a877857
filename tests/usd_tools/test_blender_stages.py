"""Stages as Blender's own exporter writes them (optional, see blender.py)."""

import json

import numpy as np
import pytest
from pxr import UsdGeom, UsdShade

from tests.usd_tools.blender import ROOT, export_scene, needs_blender
from tests.usd_tools.blender_scene import TILING
from tests.usd_tools.round_trip import KNOWN_LIGHT, LEARNT_LIGHT, assert_nothing_is_lost, measure_round_trip
from usd_tools.cameras import camera_to_world
from usd_tools.color import srgb_to_linear
from usd_tools.compare_textures import main as compare
from usd_tools.comparison.asset import load_asset
from usd_tools.comparison.surface import Surface, SurfacePoints
from usd_tools.images import read_image
from usd_tools.looks.texture_lookup import lookup
from usd_tools.mesh_reading import read_triangles
from usd_tools.stage import find_mesh, open_stage
from usd_tools.usd_to_llff import main as convert

pytestmark = needs_blender


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Folders by how the subdivision modifier is exported."""
    base = tmp_path_factory.mktemp("blender")
    for mode in ("none", "BEST_MATCH", "TESSELLATE"):
        export_scene(base / mode, mode)
    return base


def read(folder):
    """The cube's mesh in stage space, with the faces of the stage."""
    stage = open_stage(folder / "scene.usdc")
    return read_triangles(find_mesh(stage), 1, [None])


def points_on(mesh, count=3000):
    random = np.random.default_rng(1)
    weights = random.dirichlet([1, 1, 1], count)
    return SurfacePoints(random.integers(0, len(mesh.faces), count), weights)


@pytest.mark.parametrize("mode", ["none", "BEST_MATCH", "TESSELLATE"])
def test_maps_show_what_the_pictures_show(exported, tmp_path, mode):
    folder = exported / mode
    assert convert([str(folder / "scene.usdc"), "--ground-truth-only", "--out", str(tmp_path / "data")]) == 0
    asset = load_asset(tmp_path / "data" / "ground_truth")
    source = read(folder)
    assert len(asset.mesh.faces) == len(source.mesh.faces)  # triangle by triangle
    points = points_on(source.mesh)
    found = asset.material(points)
    uv = points.interpolate(source.mesh.uvs, source.mesh.uv_faces)
    color, rough = (read_image(folder / "textures" / f"{name}.png") for name in ("color", "rough"))
    painted = np.isin(source.polygons[points.face], np.flatnonzero(plain_faces(folder) == 0))
    expected = lookup(srgb_to_linear(color), uv * [TILING, 1])
    # Beyond resampling there is nothing but the border of the two materials, where texels show both.
    assert np.abs(found.albedo - expected)[painted].mean() < 0.004
    assert np.abs(found.roughness - lookup(rough, uv)[:, 0])[painted].mean() < 0.004
    assert np.abs(found.metallic - ~painted).mean() < 0.004
    assert np.abs(found.roughness[~painted] - 0.25).mean() < 0.004
    assert np.abs(found.albedo[~painted] - [0.1, 0.4, 0.7]).mean() < 0.004


def plain_faces(folder):
    """1 for each of the stage's faces that is of the plain material."""
    stage = open_stage(folder / "scene.usdc")
    mesh = find_mesh(stage)
    faces = np.zeros(len(mesh.GetFaceVertexCountsAttr().Get()), int)
    for subset in UsdShade.MaterialBindingAPI(mesh.GetPrim()).GetMaterialBindSubsets():
        if subset.GetPrim().GetName() == "plain":
            faces[np.array(subset.GetIndicesAttr().Get())] = 1
    assert faces.any()
    return faces


@pytest.mark.parametrize("mode", ["none", "BEST_MATCH"])
def test_ground_truth_agrees_with_its_own_stage(exported, tmp_path, mode):
    stage = str(exported / mode / "scene.usdc")
    convert([stage, "--ground-truth-only", "--out", str(tmp_path / "data")])
    assert (
        compare([str(tmp_path / "data"), stage, "--samples", "5000", "--out", str(tmp_path / "report")]) == 0
    )

    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert max(metrics[f"{name}_mae"] for name in ("albedo", "roughness", "metallic")) < 1e-5
    assert metrics["normal_deg"] < 0.01 and metrics["coverage"] == 1


@pytest.mark.parametrize(
    "config", [KNOWN_LIGHT, LEARNT_LIGHT, f"geometry:\n  mesh: scene.usdc:/{ROOT}/Box/Cube\n"]
)
@pytest.mark.parametrize("mode", ["none", "BEST_MATCH"])
def test_round_trip(exported, tmp_path, mode, config):
    """Z-up, two materials by GeomSubsets on one mesh, the world's picture as a dome."""
    assert_nothing_is_lost(measure_round_trip(tmp_path, exported / mode / "scene.usdc", config))


def distances(points, mesh):
    surface = Surface(mesh.vertices, mesh.faces)
    return np.linalg.norm(surface.positions(surface.closest(points.vertices)) - points.vertices, axis=1)


def test_limit_surface_is_blenders(exported):
    """Blender's modifier puts its vertices on the limit surface, by OpenSubdiv; ours passes through them."""
    ours, theirs = read(exported / "BEST_MATCH").mesh, read(exported / "TESSELLATE").mesh
    assert len(theirs.vertices) > 300
    assert distances(theirs, ours).max() < 2e-3
    assert distances(ours, theirs).max() < 0.02  # their facets are larger


def test_frame_is_upright(exported, tmp_path):
    """Z-up: what is above in Blender is above in the dataset."""
    convert(
        [
            str(exported / "none" / "scene.usdc"),
            "--ground-truth-only",
            "--no-normalize",
            "--out",
            str(tmp_path / "d"),
        ]
    )
    mesh = load_asset(tmp_path / "d" / "ground_truth").mesh
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [-0.5, 0, -1], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [1.5, 2, 1], atol=1e-6)


def test_camera_is_blenders(exported):
    stage = open_stage(exported / "none" / "scene.usdc")
    camera = UsdGeom.Camera(next(prim for prim in stage.Traverse() if prim.IsA(UsdGeom.Camera)))
    for frame in range(1, 5):
        angle = np.pi / 2 * (frame - 1)
        pose = camera_to_world(camera, frame)
        np.testing.assert_allclose(pose[:3, 3], [0.5 + 6 * np.cos(angle), 6 * np.sin(angle), 3], atol=1e-5)
        to_cube = np.array([0.5, 0, 1]) - pose[:3, 3]
        np.testing.assert_allclose(-pose[:3, 2], to_cube / np.linalg.norm(to_cube), atol=1e-5)
