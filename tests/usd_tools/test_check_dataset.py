"""check_dataset finds the mistakes that people make, and none where there are none.

The object is two boxes, whose pictures are ray traced by the slab test: nothing of the code under test.
"""

import json
import re

import numpy as np
import pytest
from PIL import Image, ImageFilter

from usd_tools.check_dataset import main
from usd_tools.checking.coverage import azimuth_elevation, view_coverage
from usd_tools.checking.projection import Cameras
from usd_tools.checking.silhouettes import mesh_silhouette, object_bounds
from usd_tools.dataset_views import read_views
from usd_tools.errors import UserError
from usd_tools.images import read_png, write_png
from usd_tools.obj import ObjMesh, write_obj

SIZE = (120, 96)
FOCAL = 150.0
BOXES = np.array([[[-0.8, -0.5, -0.3], [0.7, -0.1, 0.3]], [[0.3, -0.1, -0.3], [0.7, 0.8, 0.1]]])
COUNT = 14
Y_UP_TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def poses(count=COUNT):
    """Cameras around the object at changing heights, OpenGL, Y-up."""
    made = []
    for i in range(count):
        angle, height = 2 * np.pi * i / count, 1.2 * np.sin(3 * i)
        back = np.array([np.sin(angle), height / 3, np.cos(angle)])
        back /= np.linalg.norm(back)
        right = np.cross([0, 1, 0], back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(back, right), back, 4 * back], axis=1)
        made.append(pose)
    return np.array(made)


def traced(pose):
    """(H, W, 4) straight color and mask: a checkered pattern on the boxes."""
    width, height = SIZE
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    local = np.stack(
        [(columns - width / 2) / FOCAL, (height / 2 - rows) / FOCAL, -np.ones_like(rows)], axis=-1
    )
    directions = local @ pose[:3, :3].T
    nearest = np.full((height, width), np.inf)
    for low, high in BOXES:
        with np.errstate(divide="ignore"):
            slabs = np.sort(
                np.stack([low - pose[:3, 3], high - pose[:3, 3]])[:, None, None] / directions, axis=0
            )
        near, far = slabs[0].max(axis=-1), slabs[1].min(axis=-1)
        nearest = np.where((near < far) & (far > 0), np.minimum(nearest, near), nearest)
    mask = np.isfinite(nearest)
    points = pose[:3, 3] + directions * np.where(mask, nearest, 0)[..., None]
    checkered = 0.4 + 0.2 * ((np.floor(points * 12 + 1e-6).sum(axis=-1) % 2) > 0)
    return np.concatenate([np.repeat(checkered[..., None], 3, axis=2), mask[..., None]], axis=2)


def boxes_mesh():
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                      [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])  # fmt: skip
    vertices = np.concatenate([low + corners * (high - low) for low, high in BOXES])
    return ObjMesh(vertices, np.concatenate([faces, faces + 8]))


def write_dataset(folder, mesh=True, change_pose=lambda pose: pose, order=None):
    """A NeRF folder. change_pose: of the file's matrices. order: whose picture each frame shows."""
    frames = []
    for i, pose in enumerate(poses()):
        shown = poses()[i if order is None else order[i]]
        write_png(folder / "rgba" / f"{i:02d}.png", traced(shown))
        frames.append(
            {"file_path": f"./rgba/{i:02d}", "transform_matrix": change_pose(Y_UP_TO_Z_UP @ pose).tolist()}
        )
    settings = {"fl_x": FOCAL, "w": SIZE[0], "h": SIZE[1]}
    for split, chosen in (("train", frames[:-2]), ("test", frames[-2:])):
        (folder / f"transforms_{split}.json").write_text(json.dumps({**settings, "frames": chosen}))
    if mesh:
        write_obj(folder / "ground_truth" / "mesh.obj", boxes_mesh())
    return folder


def checked(folder):
    assert main([str(folder)]) == 0
    out = folder.parent / f"{folder.name}_check"
    return json.loads((out / "check.json").read_text()), out


def problems(report):
    return {view["name"]: view["problems"] for view in report["views"] if view["problems"]}


@pytest.mark.parametrize("mesh", [True, False])
def test_a_sound_dataset(tmp_path, mesh, capsys):
    report, out = checked(write_dataset(tmp_path / "data", mesh))
    assert report["problems"] == [] and problems(report) == {}
    assert min(view["iou"] for view in report["views"]) > (0.97 if mesh else 0.8)
    page = (out / "index.html").read_text()
    for view in report["views"]:
        assert f'src="overlays/{view["split"]}_{view["name"]}.jpg"' in page
    assert len(list((out / "overlays").iterdir())) == COUNT
    assert "14 views, 0 problems" in capsys.readouterr().err


@pytest.mark.parametrize("mesh", [True, False])
@pytest.mark.parametrize(
    "change, order, told",
    [
        (lambda pose: pose @ np.diag([1.0, -1, -1, 1]), None, "OpenCV"),
        (np.linalg.inv, None, "world-to-camera"),
        (lambda pose: pose, np.arange(COUNT)[::-1], "backwards"),
    ],
)
def test_systematic_mistakes_are_named(tmp_path, mesh, change, order, told):
    report, _ = checked(write_dataset(tmp_path / "data", mesh, change, order))
    assert len(report["problems"]) == 1 and re.search(told, report["problems"][0]), report["problems"]


def test_a_shift_is_named(tmp_path):
    """Against the mesh: around a turntable, a shift is the same as another object, turned."""
    report, _ = checked(write_dataset(tmp_path / "data", order=np.roll(np.arange(COUNT), 2)))
    assert "2 frame(s) late" in report["problems"][0]


def test_a_world_on_its_side_shows_only_against_the_mesh(tmp_path):
    def turned(pose):
        return Y_UP_TO_Z_UP @ pose

    report, _ = checked(write_dataset(tmp_path / "data", True, turned))
    assert "Z-up and was taken as Y-up" in report["problems"][0]
    report, _ = checked(write_dataset(tmp_path / "hull", False, turned))
    assert report["problems"] == []


@pytest.mark.parametrize("mesh", [True, False])
def test_single_frames(tmp_path, mesh, capsys):
    folder = write_dataset(tmp_path / "data", mesh, order=[0, 1, 2, 7, 4, 5, 6, 3, *range(8, COUNT)])

    def edit(index, change):
        path = folder / "rgba" / f"{index:02d}.png"
        write_png(path, change(read_png(path)))

    def blurred(pixels):
        picture = Image.fromarray(np.round(pixels[..., :3] * 255).astype(np.uint8))
        soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(2))) / 255
        return np.concatenate([soft, pixels[..., 3:]], axis=2)

    edit(5, blurred)
    edit(9, lambda pixels: pixels * [0.4, 0.4, 0.4, 1])
    edit(10, lambda pixels: np.maximum(pixels, [1, 1, 1, 0]))
    report, out = checked(folder)
    found = problems(report)
    assert set(found) == {"03", "05", "07", "09", "10"}, found
    assert "the mask of 07 fits here" in found["03"][0] and "the mask of 03 fits here" in found["07"][0]
    assert found["05"][0].startswith("blurred") and "darker" in found["09"][0]
    assert any("100% of the object is clipped" in text for text in found["10"])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == sum(map(len, found.values()))
    assert (out / "index.html").read_text().count('class="problem"') == len(lines)


def test_masks_that_are_cut_inverted_or_empty(tmp_path):
    folder = write_dataset(tmp_path / "data")
    path = folder / "rgba" / "04.png"
    pixels = read_png(path)
    write_png(path, np.concatenate([pixels[..., :3], 1 - pixels[..., 3:]], axis=2))
    found = problems(checked(folder)[0])
    assert any("inverted" in text for text in found["04"])
    for other in folder.glob("rgba/*.png"):
        write_png(other, np.zeros_like(pixels))
    with pytest.raises(UserError, match="every mask is empty"):
        main([str(folder)])


def test_mesh_silhouettes_and_bounds():
    made = poses()
    cameras = Cameras(made, np.tile([FOCAL, FOCAL, SIZE[0] / 2, SIZE[1] / 2], (COUNT, 1)), SIZE)
    mesh = boxes_mesh()
    masks = np.array([traced(pose)[..., 3] > 0 for pose in made])
    for index in range(COUNT):
        drawn = mesh_silhouette(mesh.vertices, mesh.faces, cameras, index)
        wrong = drawn ^ masks[index]
        assert wrong.sum() < 0.03 * masks[index].sum()
    center, radius = object_bounds(cameras, masks)
    assert np.linalg.norm(center - [0, 0.1, 0]) < 0.3 and 0.8 < radius < 1.3
    behind = made[0] @ np.diag([1.0, 1, -1, 1])
    away = Cameras(behind[None], cameras.intrinsics[:1], SIZE)
    assert not mesh_silhouette(mesh.vertices, mesh.faces, away, 0).any()


def test_coverage():
    above = np.array([[0.0, 1, 0], [0, -1, 0]])
    coverage = view_coverage(above, np.array([True, False]))
    # A cap of 45 degrees has (1 - cos 45) / 2 of the sphere's area.
    assert coverage.uncovered == pytest.approx(1 - (1 - np.sqrt(0.5)) / 2, abs=2e-3)
    assert coverage.gap_angle > 177 and azimuth_elevation(np.array([1.0, 0, 0])) == (90, 0)


def test_llff_folders(tmp_path):
    rows = []
    for i, pose in enumerate(poses()):
        pixels = traced(pose)
        write_png(tmp_path / "data" / "images" / f"{i:02d}.png", pixels[..., :3])
        write_png(tmp_path / "data" / "masks" / f"{i:02d}.png", pixels[..., 3])
        right, up, back, position = pose[:3].T
        columns = np.stack([-up, right, back, position, [SIZE[1], SIZE[0], FOCAL]], axis=1)
        rows.append([*columns.ravel(), 3, 5])
    np.save(tmp_path / "data" / "poses_bounds.npy", rows)
    report, _ = checked(tmp_path / "data")
    assert report["problems"] == [] and problems(report) == {}
    np.testing.assert_allclose([view.camera_to_world for view in read_views(tmp_path / "data")], poses())


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: (folder / "rgba" / "03.png").unlink(), "no picture ./rgba/03"),
        (lambda folder: write_png(folder / "rgba" / "03.png", np.ones((9, 9, 4))), r"03\.png: is 9x9"),
        (lambda folder: (folder / "transforms_train.json").write_text("{"), "expected JSON"),
        (lambda folder: (folder / "rgba" / "03.png").write_text("x"), r"03\.png: cannot be read"),
    ],
)
def test_broken_datasets(tmp_path, spoil, message):
    folder = write_dataset(tmp_path / "data")
    spoil(folder)
    with pytest.raises(UserError, match=message):
        main([str(folder)])
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
