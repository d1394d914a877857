"""COLMAP's text models, both ways."""

import json
import re

import numpy as np
import pytest

from tests.usd_tools.stages import write_scene
from tests.usd_tools.test_check_dataset import FOCAL, SIZE, poses, traced
from usd_tools import colmap_to_dataset, dataset_to_colmap, usd_to_llff
from usd_tools.colmap_model import ColmapImage, read_colmap, write_colmap
from usd_tools.dataset_views import read_views
from usd_tools.errors import UserError
from usd_tools.images import read_png, write_png


def random_rotations(count):
    """Uniform ones, and the half turns that formulas with a division get wrong."""
    random = np.random.default_rng(2)
    made = [np.linalg.qr(random.normal(size=(3, 3)))[0] for _ in range(count)]
    made = [rotation * np.sign(np.linalg.det(rotation)) for rotation in made]
    return [*made, np.eye(3), np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])]


def posed(rotation, position, name="a b.png", intrinsics=(500.25, 499.5, 63.0, 50.5)):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, position
    return ColmapImage(name, pose, intrinsics, (128, 96))


def test_written_models_are_read_back(tmp_path):
    random = np.random.default_rng(1)
    images = [
        posed(
            rotation, random.normal(size=3) * 10, f"folder/a b {i:02d}.png", (500.0 + i % 3, 499.5, 63, 50.5)
        )
        for i, rotation in enumerate(random_rotations(20))
    ]
    write_colmap(tmp_path / "model", images, random.normal(size=(5, 3)))
    found = read_colmap(tmp_path / "model")
    assert len((tmp_path / "model" / "cameras.txt").read_text().splitlines()) == 1 + 3
    assert len((tmp_path / "model" / "points3D.txt").read_text().splitlines()) == 1 + 5
    for image, expected in zip(found, images):
        assert (image.name, image.intrinsics, image.size) == (
            expected.name,
            expected.intrinsics,
            expected.size,
        )
        np.testing.assert_allclose(image.camera_to_world, expected.camera_to_world, atol=1e-12)


HAND_MADE = {
    "cameras.txt": "# comment\n1 SIMPLE_PINHOLE 200 100 150.5 101 49\n2 PINHOLE 200 100 150 160 100 50\n",
    # A quarter turn about the camera's x axis and a translation; then nothing at all.
    "images.txt": "# comment\n"
    "7 0.70710678118654757 0.70710678118654757 0 0 1 2 3 1 b.jpg\n10.5 20.5 -1 3 4 5\n"
    "8 1 0 0 0 0 0 5 2 a.jpg\n\n",
}


def write_model(folder, **changed):
    folder.mkdir()
    for name, text in {**HAND_MADE, **{f"{key}.txt": value for key, value in changed.items()}}.items():
        (folder / name).write_text(text)
    return folder


def test_the_convention_by_hand(tmp_path):
    """A point's pixel by COLMAP's documentation is its pixel by the pose that is read."""
    first, second = read_colmap(write_model(tmp_path / "model"))
    assert (first.name, second.name) == ("a.jpg", "b.jpg")
    # a.jpg: world (1, 2, 0) is 5 in front of the camera, right by 1 and down by 2.
    local = np.linalg.inv(first.camera_to_world) @ [1, 2, 0, 1]
    np.testing.assert_allclose(local, [1, -2, -5, 1], atol=1e-12)
    assert first.intrinsics == (150, 160, 100, 50)
    # b.jpg: R(q) turns (x, y, z) into (x, -z, y), then t = (1, 2, 3) is added.
    local = np.linalg.inv(second.camera_to_world) @ [0.5, 4, 1, 1]
    np.testing.assert_allclose(local[:3] * [1, -1, -1], [1.5, 1, 7], atol=1e-12)
    assert second.intrinsics == (150.5, 150.5, 101, 49)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"cameras": "1 OPENCV 200 100 150 150 100 50 0 0 0 0\n"}, "OPENCV has lens distortion.*undistorter"),
        ({"cameras": "1 PINHOLE 200 100 150 150 100\n"}, "line 1: PINHOLE has 4 parameters, found 3"),
        ({"cameras": "1 PINHOLE 200 100 nan 150 100 50\n"}, "cameras.txt, line 1: expected numbers"),
        ({"cameras": "1 PINHOLE 200.5 1e9 150 150 100 50\n"}, "expected whole WIDTH"),
        ({"cameras": "1 PINHOLE\n"}, "line 1: expected CAMERA_ID"),
        ({"images": "7 1 0 0 0 0 0 5 9 a.jpg\n\n"}, "camera 9 is not in cameras.txt"),
        ({"images": "7 0 0 0 0 0 0 5 1 a.jpg\n\n"}, "unit quaternion"),
        ({"images": "7 1 0 0 x 0 0 5 1 a.jpg\n\n"}, "images.txt, line 1: expected numbers"),
        ({"images": "7 1 0\n"}, "expected IMAGE_ID"),
        ({"images": "# nothing\n"}, "holds no images"),
    ],
)
def test_malformed_models(tmp_path, changed, message):
    with pytest.raises(UserError, match=message):
        read_colmap(write_model(tmp_path / "model", **changed))


def test_missing_and_binary_models(tmp_path):
    with pytest.raises(UserError, match=r"cameras\.txt: no such file"):
        read_colmap(tmp_path)
    (tmp_path / "images.bin").write_bytes(b"")
    with pytest.raises(UserError, match="model_converter"):
        read_colmap(tmp_path)
    (tmp_path / "cameras.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "images.txt").write_bytes(b"")
    with pytest.raises(UserError, match="is no text"):
        read_colmap(tmp_path)


def test_dataset_to_colmap_and_back(tmp_path):
    scene = write_scene(tmp_path / "scene", up_axis="Z", size=(48, 32))
    usd_to_llff.main(scene.arguments(tmp_path / "data"))
    dataset_to_colmap.main([str(tmp_path / "data"), "--out", str(tmp_path / "model")])
    colmap_to_dataset.main(
        [
            str(tmp_path / "model"),
            "--images",
            str(tmp_path / "data"),
            "--no-normalize",
            "--out",
            str(tmp_path / "back"),
        ]
    )
    there, back = read_views(tmp_path / "data"), read_views(tmp_path / "back")
    assert len(there) == len(back) == len(scene.frames)
    for view, expected in zip(back, there):
        np.testing.assert_allclose(view.camera_to_world, expected.camera_to_world, atol=1e-6)
        np.testing.assert_allclose(view.intrinsics, expected.intrinsics, atol=1e-6)
        assert (view.size, view.split) == (expected.size, expected.split)
        np.testing.assert_array_equal(read_png(view.picture), read_png(expected.picture))
    points = np.loadtxt(tmp_path / "model" / "points3D.txt")
    assert points.shape == (dataset_to_colmap.POINTS, 8)
    assert np.abs(points[:, 1:4]).max() == pytest.approx(0.9, abs=0.02)  # the normalized sphere
    dataset_to_colmap.main([str(tmp_path / "back"), "--out", str(tmp_path / "again")])
    for image, expected in zip(read_colmap(tmp_path / "again"), read_colmap(tmp_path / "model")):
        np.testing.assert_allclose(image.camera_to_world, expected.camera_to_world, atol=1e-6)
        np.testing.assert_allclose(image.intrinsics, expected.intrinsics, atol=1e-6)


def photographs(folder):
    """A model of any scale, place and orientation, its photographs without alpha, and their masks."""
    turn = random_rotations(1)[0]
    images = []
    for i, pose in enumerate(poses()):
        pixels = traced(pose)
        write_png(folder / "photos" / "set" / f"{i:02d}.png", pixels[..., :3] * 0.5 + 0.5)
        write_png(folder / "masks" / "set" / f"{i:02d}.png.png", pixels[..., 3])
        moved = np.eye(4)
        moved[:3, :3] = turn @ pose[:3, :3]
        moved[:3, 3] = 7 * turn @ pose[:3, 3] + [10, -20, 30]
        intrinsics = (FOCAL, FOCAL, SIZE[0] / 2, SIZE[1] / 2)
        images.append(ColmapImage(f"set/{i:02d}.png", moved, intrinsics, SIZE))
    write_colmap(folder / "model", images)
    return [str(folder / "model"), "--images", str(folder / "photos"), "--masks", str(folder / "masks")]


def test_photographs_become_a_dataset(tmp_path):
    arguments = photographs(tmp_path)
    colmap_to_dataset.main([*arguments, "--test-every", "7", "--out", str(tmp_path / "data")])
    views = read_views(tmp_path / "data")
    assert [i for i, view in enumerate(views) if view.split == "test"] == [0, 7]
    found, expected = np.array([view.camera_to_world for view in views]), poses()
    # Up to a turn about the vertical, a shift, and one scale: distances between cameras keep their ratios.
    gaps, wanted = (np.linalg.norm(np.diff(p[:, :3, 3], axis=0), axis=1) for p in (found, expected))
    np.testing.assert_allclose(gaps / wanted, (gaps / wanted).mean(), rtol=1e-6)
    assert abs((gaps / wanted).mean() - 0.9) < 0.25  # the object's half extent is about 1
    assert unit_mean(found[:, :3, 1])[1] == pytest.approx(1, abs=1e-9)
    description = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert description["source_stage"] is None and description["frames"][3]["camera"] == "set/03.png"
    bounds = np.load(tmp_path / "data" / "poses_bounds.npy")[:, 15:]
    assert (bounds[:, 0] > 0).all() and (bounds[:, 1] - bounds[:, 0] == pytest.approx(1.8, abs=1e-6))


def unit_mean(vectors):
    mean = vectors.mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: (folder / "photos/set/03.png").unlink(), r"--images .*has no set/03\.png"),
        (lambda folder: (folder / "masks/set/03.png.png").unlink(), r"--masks .*has no set/03\.png or"),
        (lambda folder: write_png(folder / "photos/set/03.png", np.ones((5, 5, 3))), r"03\.png"),
        (
            lambda folder: (folder / "model/images.txt").write_text("1 1 0 0 0 0 0 0 1 ../../secret.png\n\n"),
            "leads out of",
        ),
    ],
)
def test_broken_photographs(tmp_path, spoil, message):
    arguments = photographs(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError) as told:
        colmap_to_dataset.main([*arguments, "--out", str(tmp_path / "data")])
    assert re.search(message, str(told.value)), told.value
    assert not (tmp_path / "data").exists()
