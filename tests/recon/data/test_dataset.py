"""The three dataset formats lead to the same views, and unusable ones are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recon.data.dataset import load_probe, load_views
from usd_tools.color import linear_to_srgb, srgb_to_linear
from usd_tools.errors import UserError
from usd_tools.images import write_exr, write_png

WIDTH, HEIGHT, FOCAL = 12, 8, 10.0


def look_at_origin(origin: np.ndarray) -> np.ndarray:
    """Y-up, OpenGL camera-to-world."""
    back = origin / np.linalg.norm(origin)
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(back, right), back, origin
    return pose


def poses(count: int) -> list[np.ndarray]:
    angles = np.linspace(0.1, 5.0, count)
    return [look_at_origin(3 * np.array([np.cos(a), 0.4, np.sin(a)])) for a in angles]


def picture(seed: int) -> np.ndarray:
    """(H, W, 4) 8-bit levels: straight sRGB color, mask with a background."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 4)) / 255
    pixels[..., 3] = 0.0
    pixels[2:6, 3:9, 3] = generator.integers(1, 256, (4, 6)) / 255
    return pixels


def premultiplied(pixels: np.ndarray) -> np.ndarray:
    alpha = pixels[..., 3:]
    return np.concatenate([srgb_to_linear(pixels[..., :3]) * alpha, alpha], axis=-1)


def z_up(pose: np.ndarray) -> list[list[float]]:
    """(x, y, z) -> (x, -z, y), as the contract has it."""
    turn = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    return (turn @ pose).tolist()


def write_nerf(folder: Path, count: int = 3, split: str = "train", suffix: str = "", **extra: object) -> Path:
    frames = []
    for i, pose in enumerate(poses(count)):
        write_png(folder / "rgba" / f"{split}_{i:04d}.png", picture(i))
        frames.append({"file_path": f"./rgba/{split}_{i:04d}{suffix}", "transform_matrix": z_up(pose)})
    content = {"camera_angle_x": 2 * np.arctan(0.5 * WIDTH / FOCAL), "frames": frames, **extra}
    (folder / f"transforms_{split}.json").write_text(json.dumps(content))
    return folder


def write_own(folder: Path, count: int = 3, **info: object) -> Path:
    write_nerf(folder, count)
    path = folder / "transforms_train.json"
    content = json.loads(path.read_text())
    for i, frame in enumerate(content["frames"]):
        write_exr(folder / "hdr" / f"{i}.exr", 4 * premultiplied(picture(i)) * [1, 1, 1, 0.25])
        frame["hdr_path"] = f"hdr/{i}.exr"
    path.write_text(json.dumps(content))
    (folder / "dataset.json").write_text(json.dumps({"schema_version": 1, **info}))
    return folder


def write_llff(folder: Path, count: int = 3) -> Path:
    rows = []
    for i, pose in enumerate(poses(count)):
        write_png(folder / "images" / f"{i:03d}.png", picture(i)[..., :3])
        write_png(folder / "masks" / f"{i:03d}.png", picture(i)[..., 3:])
        matrix = np.stack(
            [-pose[:3, 1], pose[:3, 0], pose[:3, 2], pose[:3, 3], [HEIGHT, WIDTH, FOCAL]], axis=1
        )
        rows.append(np.concatenate([matrix.reshape(-1), [0.1, 10.0]]))
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder


def edit(folder: Path, name: str, **changes: object) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**content, **changes}))


def edit_frame(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "transforms_train.json").read_text())
    content["frames"][1].update(changes)
    (folder / "transforms_train.json").write_text(json.dumps(content))


def refusal(folder: Path, split: str = "train", resolution: int | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_views(folder, split, resolution)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_nerf(tmp_path, suffix):
    views = load_views(write_nerf(tmp_path, suffix=suffix))
    assert views.names == ("train_0000", "train_0001", "train_0002")
    assert views.ldr and views.light_rotation is None
    assert views.images.dtype == torch.float32 and views.images.shape == (3, HEIGHT, WIDTH, 4)
    for i, pose in enumerate(poses(3)):
        np.testing.assert_allclose(views.cameras.camera_to_world[i], pose, atol=1e-6)
        np.testing.assert_allclose(views.images[i], premultiplied(picture(i)), atol=1e-6)
    np.testing.assert_allclose(views.cameras.focal, np.full((3, 2), FOCAL), rtol=1e-6)
    np.testing.assert_allclose(views.cameras.principal, np.tile([WIDTH / 2, HEIGHT / 2], (3, 1)))
    centre, depth = views.cameras.project(torch.zeros(1, 3))
    np.testing.assert_allclose(centre[:, 0], np.tile([WIDTH / 2, HEIGHT / 2], (3, 1)), atol=1e-4)
    assert (depth > 0).all()


def test_nerf_holds_out_test_else_val_else_nothing(tmp_path):
    write_nerf(tmp_path)
    nothing = load_views(tmp_path, "test")
    assert len(nothing) == 0 and len(nothing.cameras) == 0
    write_nerf(tmp_path, 1, "val")
    assert load_views(tmp_path, "test").names == ("val_0000",)
    write_nerf(tmp_path, 2, "test")
    assert load_views(tmp_path, "test").names == ("test_0000", "test_0001")


def test_intrinsics_in_pixels_per_frame(tmp_path):
    write_nerf(tmp_path, fl_x=20.0, fl_y=22.0, cx=13.0, cy=7.0, w=2 * WIDTH, h=2 * HEIGHT)
    edit_frame(tmp_path, fl_x=40.0)
    views = load_views(tmp_path)
    np.testing.assert_allclose(views.cameras.focal, [[10, 11], [20, 11], [10, 11]])
    np.testing.assert_allclose(views.cameras.principal, [[6.5, 3.5]] * 3)


def test_own_prefers_the_exr_and_turns_the_light(tmp_path):
    write_own(tmp_path)
    angle = 0.3
    turn = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    edit_frame(tmp_path, light_rotation=turn)
    views = load_views(tmp_path)
    assert not views.ldr
    for i in range(3):
        expected = premultiplied(picture(i)) * [4, 4, 4, 1]
        np.testing.assert_allclose(views.images[i], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(views.light_rotation, [np.eye(3), turn, np.eye(3)], atol=1e-6)
    assert len(load_views(tmp_path, "test")) == 0
    (tmp_path / "hdr" / "1.exr").unlink()
    np.testing.assert_allclose(load_views(tmp_path).images[1], premultiplied(picture(1)), atol=1e-6)


def test_llff_equals_nerf_and_holds_out_every_eighth(tmp_path):
    train = load_views(write_llff(tmp_path / "llff", 10))
    test = load_views(tmp_path / "llff", "test")
    whole = load_views(write_nerf(tmp_path / "nerf", 10))
    assert test.names == ("000", "008") and len(train) == 8
    index = torch.tensor([0, 8])
    other = torch.tensor([i for i in range(10) if i % 8])
    for held, expected in ((test, whole.select(index)), (train, whole.select(other))):
        torch.testing.assert_close(held.images, expected.images, atol=1e-6, rtol=0)
        torch.testing.assert_close(held.cameras.camera_to_world, expected.cameras.camera_to_world)
        torch.testing.assert_close(held.cameras.focal, expected.cameras.focal)
        torch.testing.assert_close(held.cameras.principal, expected.cameras.principal)


def test_resolution_averages_linear_premultiplied_and_scales_the_camera(tmp_path):
    write_own(tmp_path)
    full, half = load_views(tmp_path), load_views(tmp_path, resolution=WIDTH // 2)
    assert half.images.shape == (3, HEIGHT // 2, WIDTH // 2, 4)
    blocks = full.images.reshape(3, HEIGHT // 2, 2, WIDTH // 2, 2, 4).mean(dim=(2, 4))
    torch.testing.assert_close(half.images, blocks)
    torch.testing.assert_close(half.cameras.focal, full.cameras.focal / 2)
    points = torch.tensor([[0.2, 0.3, -0.1]])
    torch.testing.assert_close(half.cameras.project(points)[0], full.cameras.project(points)[0] / 2)
    assert "train.resolution" in refusal(tmp_path, resolution=WIDTH + 1)


def test_traces_of_compression_are_removed(tmp_path):
    write_own(tmp_path)
    pixels = premultiplied(picture(0))
    pixels[0, 0, :3], pixels[3, 4, 0], pixels[3, 5, 3] = 1e-3, -1e-3, 1.001
    write_exr(tmp_path / "hdr" / "0.exr", pixels)
    image = load_views(tmp_path).images[0]
    assert (image[0, 0] == 0).all() and image[3, 4, 0] == 0 and image[3, 5, 3] == 1


def test_select_and_to(tmp_path):
    views = load_views(write_nerf(tmp_path)).select(torch.tensor([2, 0])).to("cpu")
    assert views.names == ("train_0002", "train_0000") and len(views.cameras) == 2


def test_pictures_that_cannot_be_used_are_named(tmp_path):
    def broken(pixels: np.ndarray) -> str:
        write_own(tmp_path)
        write_exr(tmp_path / "hdr" / "1.exr", pixels)
        message = refusal(tmp_path)
        assert str(tmp_path / "hdr" / "1.exr") in message
        return message

    good = premultiplied(picture(1))
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[3, 4, 1] = value
        write_own(tmp_path)
        write_exr(tmp_path / "hdr" / "1.exr", bad, half=False)
        assert "1.exr: holds NaN or Inf" in refusal(tmp_path)
    assert "mask is empty" in broken(good * 0)
    assert "expected 12x8" in broken(good[:, :6])
    assert "render alpha too" in broken(good[..., :3])
    write_own(tmp_path)
    (tmp_path / "hdr" / "1.exr").write_bytes((tmp_path / "hdr" / "2.exr").read_bytes()[:200])
    assert "1.exr" in refusal(tmp_path)


def test_pictures_without_mask(tmp_path):
    write_nerf(tmp_path)
    for i in range(3):
        write_png(
            tmp_path / "rgba" / f"train_{i:04d}.png",
            np.concatenate([picture(i)[..., :3], np.ones((8, 12, 1))], -1),
        )
    assert "there is no mask" in refusal(tmp_path)
    write_png(tmp_path / "rgba" / "train_0001.png", picture(1)[..., :3])
    assert "train_0001.png: expected RGBA" in refusal(tmp_path)


def test_masks_of_any_layout(tmp_path):
    write_llff(tmp_path, 2)
    alpha = picture(1)[..., 3:]
    expected = load_views(tmp_path).images
    for mask in (np.repeat(alpha, 3, 2), np.concatenate([np.ones((8, 12, 3)), alpha], 2)):
        write_png(tmp_path / "masks" / "001.png", mask)
        torch.testing.assert_close(load_views(tmp_path).images, expected)
    write_png(tmp_path / "masks" / "001.png", alpha[:4])
    assert "001.png: is 12x4 pixels" in refusal(tmp_path)
    write_png(tmp_path / "masks" / "001.png", alpha * 0)
    assert "masks" in refusal(tmp_path) and "mask is empty" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"file_path": "../../etc/passwd"}, "leads out of"),
        ({"file_path": "/etc/passwd"}, "leads out of"),
        ({"file_path": "./rgba/none"}, "no picture"),
        ({"file_path": 3}, "file_path"),
        ({"transform_matrix": [[1, 2], [3, 4]]}, "4x4"),
        ({"transform_matrix": [[1, 2], [3]]}, "expected numbers"),
        ({"transform_matrix": None}, "frame 1, transform_matrix"),
        ({"transform_matrix": (2 * np.eye(4)).tolist()}, "transform_matrix"),
        ({"transform_matrix": np.diag([2.0, 2, 2, 1]).tolist()}, "orthonormal"),
        ({"transform_matrix": np.diag([-1.0, 1, 1, 1]).tolist()}, "not mirrored"),
        ({"transform_matrix": np.diag([np.nan, 1, 1, 1]).tolist()}, "NaN"),
        ({"light_rotation": [[1, 0], [0, 1]]}, "light_rotation"),
        ({"camera_angle_x": 4.0}, "camera_angle_x"),
        ({"camera_angle_x": -1.0}, "camera_angle_x"),
        ({"camera_angle_x": "wide"}, "camera_angle_x"),
        ({"fl_x": 0, "w": 1, "h": 1}, "fl_x"),
    ],
)
def test_transforms_that_cannot_be_used(tmp_path, changes, told):
    write_nerf(tmp_path)
    edit_frame(tmp_path, **changes)
    message = refusal(tmp_path)
    assert told in message
    assert "frame 1" in message or "passwd" in message


def test_folders_that_cannot_be_used(tmp_path):
    assert "no such dataset folder" in refusal(tmp_path / "none")
    assert "expected a dataset" in refusal(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    assert "expected JSON" in refusal(tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    assert "JSON object" in refusal(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema_version": 99}')
    assert "schema_version" in refusal(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema_version": 1}')
    assert "transforms_train.json: no such file" in refusal(tmp_path)
    write_own(tmp_path)
    edit(tmp_path, "transforms_train.json", frames=[])
    assert "no training frames" in refusal(tmp_path)
    edit(tmp_path, "transforms_train.json", frames="none")
    assert "'frames'" in refusal(tmp_path)
    write_nerf(tmp_path)
    content = json.loads((tmp_path / "transforms_train.json").read_text())
    del content["camera_angle_x"]
    (tmp_path / "transforms_train.json").write_text(json.dumps(content))
    assert "camera_angle_x" in refusal(tmp_path)


def test_llff_that_cannot_be_used(tmp_path):
    write_llff(tmp_path, 3)
    (tmp_path / "masks" / "001.png").unlink()
    assert "holds 2 pictures, but poses_bounds.npy has 3 rows" in refusal(tmp_path)
    write_llff(tmp_path, 3)
    np.save(tmp_path / "poses_bounds.npy", np.zeros((3, 14)))
    assert "17 numbers" in refusal(tmp_path)
    np.save(tmp_path / "poses_bounds.npy", np.array([{"pickled": 1}], dtype=object), allow_pickle=True)
    assert "expected a numpy array file" in refusal(tmp_path)
    (tmp_path / "poses_bounds.npy").write_bytes(b"")
    assert "expected a numpy array file" in refusal(tmp_path)


def test_probe(tmp_path):
    probe = np.random.default_rng(0).random((4, 8, 3)).astype(np.float32) * 10
    probe[0, 0] = -1.0
    write_exr(tmp_path / "ground_truth" / "probe.exr", probe, half=False)
    for path in (tmp_path, tmp_path / "ground_truth" / "probe.exr"):
        loaded = load_probe(path)
        assert loaded.dtype == torch.float32
        np.testing.assert_allclose(loaded, np.maximum(probe, 0))
    probe[1, 1] = np.inf
    write_exr(tmp_path / "bad.exr", probe, half=False)
    write_png(tmp_path / "ldr.png", np.clip(linear_to_srgb(np.abs(probe[2:])), 0, 1))
    for path, told in (
        (tmp_path / "bad.exr", "NaN or Inf"),
        (tmp_path / "ldr.png", "high dynamic range"),
        (tmp_path / "ground_truth", "light.probe"),
        (tmp_path / "none.exr", "none.exr"),
    ):
        with pytest.raises(UserError, match=told):
            load_probe(path)
