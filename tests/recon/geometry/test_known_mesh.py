"""The artist's mesh: from an OBJ, or from a stage through the dataset's frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pxr import Gf, Sdf, Usd, UsdGeom

from recon.geometry.known_mesh import load_known_mesh
from recon.geometry.mesh import Mesh
from tests.shapes import uv_sphere
from tests.usd_tools.stages import RADIUS, Scene, define_material, define_sphere, write_scene
from usd_tools import usd_to_llff
from usd_tools.errors import UserError
from usd_tools.obj import ObjMesh, read_obj, write_obj

PRIM = "/World/sphere"


def place(stage: Usd.Stage) -> None:
    """Off the origin, larger, and turning with the frames."""
    sphere = UsdGeom.Xformable(stage.GetPrimAtPath(PRIM))
    turn = sphere.AddRotateYOp()
    for frame in range(1, 9):
        turn.Set(40.0 * frame, frame)
    sphere.AddTranslateOp().Set(Gf.Vec3d(0.2, 0.1, 0.0))
    sphere.AddScaleOp().Set(Gf.Vec3f(1.5, 1.0, 1.0))


def convert(scene: Scene, out: Path, *more: str) -> Path:
    usd_to_llff.main(scene.arguments(out, *more))
    return out


def assert_is_ground_truth(mesh: Mesh, dataset: Path) -> None:
    """The dataset's own ground truth went another way: through usd_to_llff."""
    truth = read_obj(dataset / "ground_truth" / "mesh.obj")
    np.testing.assert_allclose(mesh.vertices.numpy(), truth.vertices, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces.numpy(), truth.faces)
    np.testing.assert_allclose(mesh.uvs.numpy()[mesh.uv_faces.numpy()], truth.uvs[truth.uv_faces], atol=1e-6)
    np.testing.assert_allclose(
        mesh.normals.numpy()[mesh.normal_faces.numpy()], truth.normals[truth.normal_faces], atol=1e-5
    )


def test_obj_is_taken_as_it_is(tmp_path):
    sphere = uv_sphere(6, 8)
    write_obj(tmp_path / "mesh.obj", sphere)
    mesh = load_known_mesh(str(tmp_path / "mesh.obj"), tmp_path / "no dataset is needed")
    assert mesh.vertices.dtype == torch.float32 and mesh.faces.dtype == torch.int64
    np.testing.assert_allclose(mesh.vertices.numpy(), sphere.vertices, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces.numpy(), sphere.faces)
    np.testing.assert_allclose(mesh.uvs.numpy(), sphere.uvs, atol=1e-6)
    np.testing.assert_allclose(mesh.normals.numpy(), sphere.normals, atol=1e-6)


@pytest.mark.parametrize("up_axis", ["Y", "Z"])
def test_prim_comes_in_the_dataset_frame(tmp_path, up_axis):
    scene = write_scene(tmp_path / "scene", up_axis=up_axis, edit=place)
    dataset = convert(scene, tmp_path / "dataset")
    mesh = load_known_mesh(f"{scene.stage}:{PRIM}", dataset)
    assert_is_ground_truth(mesh, dataset)
    half_extents = (mesh.vertices.amax(0) - mesh.vertices.amin(0)) / 2
    assert half_extents.max() == pytest.approx(0.9, abs=1e-5)
    torch.testing.assert_close(mesh.normals.norm(dim=1), torch.ones(len(mesh.normals)))


def test_turning_prim_is_held_where_the_dataset_holds_it(tmp_path):
    """The dataset's poses are relative to the object on the first converted frame, not the stage's first."""
    scene = write_scene(tmp_path / "scene", frames=6, edit=place)
    dataset = convert(scene, tmp_path / "dataset", "--frames", "4:6")
    assert_is_ground_truth(load_known_mesh(f"{scene.stage}:{PRIM}", dataset), dataset)


def test_variant_is_the_datasets(tmp_path):
    def edit(stage: Usd.Stage) -> None:
        prim = stage.GetPrimAtPath(PRIM)
        shapes = prim.GetVariantSets().AddVariantSet("shape")
        points = np.array(UsdGeom.Mesh(prim).GetPointsAttr().Get())
        prim.RemoveProperty("points")
        for name, height in (("ball", 1.0), ("disc", 0.5)):
            shapes.AddVariant(name)
            shapes.SetVariantSelection(name)
            with shapes.GetVariantEditContext():
                attribute = prim.CreateAttribute("points", Sdf.ValueTypeNames.Point3fArray)
                attribute.Set([Gf.Vec3f(*map(float, point)) for point in points * [1.0, height, 1.0]])
        shapes.SetVariantSelection("ball")

    scene = write_scene(tmp_path / "scene", edit=edit)
    dataset = convert(scene, tmp_path / "dataset", "--variant", "shape=disc")
    mesh = load_known_mesh(f"{scene.stage}:{PRIM}", dataset)
    assert_is_ground_truth(mesh, dataset)
    assert mesh.vertices[:, 1].max() == pytest.approx(0.45, abs=1e-5)


def test_normals_are_turned_and_unit_length(tmp_path):
    """A similarity that scales by 3 and turns x to y."""
    scene = write_scene(tmp_path / "scene")
    matrix = [[0, -3, 0, 1], [3, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]
    (tmp_path / "dataset.json").write_text(json.dumps({"stage_to_dataset": matrix}), encoding="utf-8")
    mesh = load_known_mesh(f"{scene.stage}:{PRIM}", tmp_path)
    center = torch.tensor([1.0, 0.0, 0.0])
    corners = mesh.vertices[mesh.faces] - center
    torch.testing.assert_close(corners.norm(dim=-1), torch.full(corners.shape[:2], 3 * RADIUS))
    torch.testing.assert_close(mesh.normals[mesh.normal_faces], corners / (3 * RADIUS), rtol=0, atol=1e-5)


def test_mesh_without_uvs_is_refused(tmp_path):
    sphere = uv_sphere(4, 6)
    write_obj(tmp_path / "bare.obj", ObjMesh(sphere.vertices, sphere.faces))
    with pytest.raises(UserError, match=r"geometry\.mesh=.*bare\.obj: expected a mesh with UVs.*unwrap"):
        load_known_mesh(str(tmp_path / "bare.obj"), tmp_path)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.obj: no such file"):
        load_known_mesh(str(tmp_path / "none.obj"), tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[]",
        "{}",
        '{"stage_to_dataset": 3}',
        '{"stage_to_dataset": [[1, 0], [0, 1]]}',
        '{"stage_to_dataset": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1]]}',
        '{"stage_to_dataset": [[NaN, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}',
        '{"stage_to_dataset": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "variants": 3}',
        '{"stage_to_dataset": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],'
        ' "reference_frame": "first"}',
    ],
)
def test_unusable_dataset_json_is_told(tmp_path, content):
    scene = write_scene(tmp_path / "scene")
    if content is not None:
        (tmp_path / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"dataset\.json: .*convert the stage again"):
        load_known_mesh(f"{scene.stage}:{PRIM}", tmp_path)


@pytest.mark.parametrize("name", ["missing stage", "missing prim", "not a mesh"])
def test_wrong_prim_is_told(tmp_path, name):
    scene = write_scene(tmp_path / "scene")
    dataset = convert(scene, tmp_path / "dataset")
    source, told = {
        "missing stage": (f"{tmp_path}/none.usda:{PRIM}", "none.usda"),
        "missing prim": (f"{scene.stage}:/World/cube", "/World/cube"),
        "not a mesh": (f"{scene.stage}:/World/camera", "/World/camera"),
    }[name]
    with pytest.raises(UserError, match=told):
        load_known_mesh(source, dataset)


def test_several_meshes_are_told_what_to_name_instead(tmp_path):
    """Their UVs lie over each other; the ground truth has them side by side."""

    def edit(stage: Usd.Stage) -> None:
        define_sphere(stage, "/World/other").AddTranslateOp().Set(Gf.Vec3d(2, 0, 0))
        define_material(stage, "/World/materials/look", "/World/other")

    scene = write_scene(tmp_path / "scene", edit=edit)
    dataset = convert(scene, tmp_path / "dataset", "--object", "/World")
    with pytest.raises(UserError, match=r"scene\.usda:/World: has 2 meshes.*ground_truth/mesh\.obj"):
        load_known_mesh(f"{scene.stage}:/World", dataset)
    both = load_known_mesh(str(dataset / "ground_truth" / "mesh.obj"), dataset)
    assert both.vertices[:, 0].min() == pytest.approx(-0.9, abs=1e-5)
    assert both.vertices[:, 0].max() == pytest.approx(0.9, abs=1e-5)
