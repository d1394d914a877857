"""Other programs find the same cameras and pictures in a dataset.

Each reader here is written from the convention that its program documents or is known for, and shares no code
with the package; all must send a point to the pixel at which USD's own camera sees it.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pxr import Gf, Usd, UsdGeom

from tests.usd_tools.stages import write_scene
from usd_tools.usd_to_llff import main

SIZE = (64, 48)
POINTS = np.random.default_rng(6).uniform(-0.4, 0.4, (20, 3))


def offset_lens(stage):
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/World/camera"))
    camera.CreateHorizontalApertureOffsetAttr(1.5)
    camera.CreateVerticalApertureOffsetAttr(-0.75)


@pytest.fixture(scope="module", params=["Y", "Z"])
def dataset(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    scene = write_scene(folder / "scene", up_axis=request.param, frames=5, size=SIZE)
    main(scene.arguments(folder / "data", "--test-frames", "3"))
    return scene, folder / "data"


def usd_pixels(stage_path, frame, points):
    """Where USD's own camera sees points of the stage, from the picture's top-left edge."""
    stage = Usd.Stage.Open(str(stage_path))
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/World/camera")).GetCamera(frame)
    # The picture's shape, as UsdRenderSettings' default policy (expandAperture) fits the aperture to it.
    shape, aperture = SIZE[0] / SIZE[1], camera.aspectRatio
    camera.horizontalAperture *= max(1.0, shape / aperture)
    camera.verticalAperture *= max(1.0, aperture / shape)
    frustum = camera.frustum
    matrix = frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()
    projected = np.array([matrix.Transform(Gf.Vec3d(*point)) for point in points])
    return np.stack([(projected[:, 0] + 1) * SIZE[0] / 2, (1 - projected[:, 1]) * SIZE[1] / 2], axis=1)


def in_dataset(data, points):
    """Points of the stage in the dataset frame, by dataset.json's documented matrix."""
    matrix = np.array(json.loads((data / "dataset.json").read_text())["stage_to_dataset"])
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def gl_pixels(view, fovy, points):
    """By an OpenGL view matrix and a symmetric perspective, as rasterizers of nvdiffrec's kind use them."""
    local = points @ view[:3, :3].T + view[:3, 3]
    scale = 1 / math.tan(0.5 * fovy)
    x = scale * SIZE[1] / SIZE[0] * local[:, 0] / -local[:, 2]
    y = scale * local[:, 1] / -local[:, 2]
    return np.stack([(x + 1) * SIZE[0] / 2, (1 - y) * SIZE[1] / 2], axis=1)


def load_llff_with_masks(folder):
    """nvdiffrec's way with LLFF: sorted images and masks of equal number; 3x5 poses whose columns are down,
    right, back, position and (H, W, f); the vertical angle is from H and f."""
    rows = np.load(folder / "poses_bounds.npy")
    images, masks = (sorted((folder / name).glob("*.png")) for name in ("images", "masks"))
    assert len(images) == len(masks) == len(rows)
    views = []
    for row, image, mask in zip(rows, images, masks):
        pose = row[:15].reshape(3, 5)
        right_up_back = np.stack([pose[:, 1], -pose[:, 0], pose[:, 2], pose[:, 3]], axis=1)
        view = np.linalg.inv(np.vstack([right_up_back, [0, 0, 0, 1]]))
        height, _, focal = pose[:, 4]
        views.append((view, 2 * math.atan(0.5 * height / focal), image, mask, row[15:]))
    return views


def load_nerf_synthetic(folder, split):
    """The way of NeRF's Blender scenes, and of nvdiffrec with them: one horizontal angle, RGBA at file_path
    plus .png, OpenGL camera-to-world in a Z-up world that is turned by -90 degrees about x to be Y-up."""
    content = json.loads((folder / f"transforms_{split}.json").read_text())
    fovy = 2 * math.atan(math.tan(0.5 * content["camera_angle_x"]) * SIZE[1] / SIZE[0])
    # What takes Y-up points to the Z-up world: y becomes z, z becomes -y.
    turn = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    return [
        (
            np.linalg.inv(np.array(frame["transform_matrix"])) @ turn,
            fovy,
            folder / (frame["file_path"] + ".png"),
        )
        for frame in content["frames"]
    ]


def load_pixel_intrinsics(folder, split):
    """The way of instant-ngp and nerfstudio: fl_x, fl_y, cx, cy, w, h at the top or per frame, pixels from
    the picture's edge, OpenGL camera-to-world in a Z-up world; file_path may lack its suffix."""
    content = json.loads((folder / f"transforms_{split}.json").read_text())
    return [
        (
            np.array(frame["transform_matrix"]),
            [{**content, **frame}[key] for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")],
            Path(folder, frame["file_path"]).with_suffix(".png"),
        )
        for frame in content["frames"]
    ]


def pinhole_pixels(camera_to_world, figures, points):
    fx, fy, cx, cy, _, _ = figures
    local = (points - camera_to_world[:3, 3]) @ camera_to_world[:3, :3]
    return np.stack([cx + fx * local[:, 0] / -local[:, 2], cy - fy * local[:, 1] / -local[:, 2]], axis=1)


def test_llff(dataset):
    scene, data = dataset
    points = in_dataset(data, POINTS)
    for frame, (view, fovy, image, mask, bounds) in enumerate(load_llff_with_masks(data), start=1):
        expected = usd_pixels(scene.stage, frame, POINTS)
        np.testing.assert_allclose(gl_pixels(view, fovy, points), expected, atol=1e-4)
        assert Image.open(image).mode == "RGB" and Image.open(mask).mode == "L"
        assert Image.open(image).size == Image.open(mask).size == SIZE
        depth = -(in_dataset(data, 0.5 * POINTS) @ view[:3, :3].T + view[:3, 3])[:, 2]
        assert bounds[0] < depth.min() and depth.max() < bounds[1]


def test_nerf_synthetic(dataset):
    scene, data = dataset
    points = in_dataset(data, POINTS)
    for split, frames in (("train", (1, 2, 4, 5)), ("test", (3,))):
        loaded = load_nerf_synthetic(data, split)
        assert len(loaded) == len(frames)
        for frame, (view, fovy, picture) in zip(frames, loaded):
            expected = usd_pixels(scene.stage, frame, POINTS)
            np.testing.assert_allclose(gl_pixels(view, fovy, points), expected, atol=1e-4)
            assert Image.open(picture).mode == "RGBA"


def test_instant_ngp_and_nerfstudio(tmp_path):
    """With an aperture offset, which only pixel figures can tell."""
    scene = write_scene(tmp_path / "scene", up_axis="Z", frames=3, size=SIZE, edit=offset_lens)
    main(scene.arguments(tmp_path / "data"))
    x, y, z = in_dataset(tmp_path / "data", POINTS).T
    z_up = np.stack([x, -z, y], axis=1)
    for frame, (pose, figures, picture) in enumerate(
        load_pixel_intrinsics(tmp_path / "data", "train"), start=1
    ):
        expected = usd_pixels(scene.stage, frame, POINTS)
        np.testing.assert_allclose(pinhole_pixels(pose, figures, z_up), expected, atol=1e-4)
        assert Image.open(picture).size == SIZE == tuple(figures[4:])
        assert figures[2] != SIZE[0] / 2 and figures[3] != SIZE[1] / 2
