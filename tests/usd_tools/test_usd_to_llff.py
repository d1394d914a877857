"""The whole command: files and figures of a dataset, and one clear line for every kind of bad input."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, UsdGeom

from tests.usd_tools.stages import RADIUS, fake_render, write_scene
from usd_tools.color import ACESCG_TO_REC709, linear_to_srgb
from usd_tools.dataset_job import load_job, save_job
from usd_tools.errors import UserError, run_command
from usd_tools.images import read_exr, read_image, read_png, write_exr, write_png
from usd_tools.pixel_job import run_job
from usd_tools.plan_dataset import Request, plan_dataset
from usd_tools.usd_to_llff import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene"), frames=6)


@pytest.fixture(scope="module")
def dataset(scene, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "dataset"
    assert main(scene.arguments(out, "--frames", "1:4", "--test-frames", "4:6")) == 0
    return out


def transforms(dataset, split):
    return json.loads((dataset / f"transforms_{split}.json").read_text())


def test_frames_and_split(dataset):
    names = [f"frame_{i:04d}" for i in range(1, 7)]
    for folder in ("images", "masks", "rgba"):
        assert sorted(path.name for path in (dataset / folder).iterdir()) == [f"{name}.png" for name in names]
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["schema_version"] == 1
    assert [f["name"] for f in description["frames"]] == names
    assert [f["frame"] for f in description["frames"]] == [1, 2, 3, 4, 5, 6]
    assert [f["split"] for f in description["frames"]] == ["train"] * 3 + ["test"] * 3
    assert (description["width"], description["height"]) == (32, 32)
    assert description["up_axis"] == "Y" and description["metersPerUnit"] == 1
    assert description["color_space"] == {"renders": "lin_rec709", "dataset": "lin_rec709"}
    assert [f["file_path"] for f in transforms(dataset, "train")["frames"]] == [
        f"./rgba/{n}" for n in names[:3]
    ]
    assert [f["hdr_path"] for f in transforms(dataset, "test")["frames"]] == [
        f"./hdr/{n}.exr" for n in names[3:]
    ]


def test_pictures_agree_with_each_other(scene, dataset):
    for frame in (1, 5):
        name = f"frame_{frame:04d}"
        hdr, channels, _ = read_exr(dataset / "hdr" / f"{name}.exr")
        assert channels == ("R", "G", "B", "A")
        np.testing.assert_array_equal(hdr, read_exr(scene.images / f"sphere.{frame:04d}.exr")[0])
        rgba = read_png(dataset / "rgba" / f"{name}.png")
        np.testing.assert_array_equal(rgba[..., :3], read_png(dataset / "images" / f"{name}.png"))
        np.testing.assert_array_equal(rgba[..., 3:], read_png(dataset / "masks" / f"{name}.png"))
        straight = hdr[..., :3] / np.maximum(hdr[..., 3:], 1e-9)
        expected = linear_to_srgb(np.clip(straight, 0, 1))
        np.testing.assert_allclose(rgba[..., :3], expected, atol=0.5 / 255 + 1e-4)
        np.testing.assert_allclose(rgba[..., 3], hdr[..., 3], atol=0.5 / 255 + 1e-4)


def test_poses_bounds_are_llff(dataset):
    poses = np.load(dataset / "poses_bounds.npy", allow_pickle=False)
    entries = transforms(dataset, "train")["frames"] + transforms(dataset, "test")["frames"]
    assert poses.shape == (6, 17) and poses.dtype == np.float64
    figures = transforms(dataset, "train")
    for row, entry in zip(poses, entries):
        matrix = row[:15].reshape(3, 5)
        pose = np.array(entry["transform_matrix"])
        # Z-up (x, y, z) back to the dataset frame's (x, z, -y).
        right, up, back, position = ((pose[[0, 2, 1], i] * [1, 1, -1]) for i in range(4))
        np.testing.assert_allclose(matrix[:, 0], -up, atol=1e-12)
        np.testing.assert_allclose(matrix[:, 1], right, atol=1e-12)
        np.testing.assert_allclose(matrix[:, 2], back, atol=1e-12)
        np.testing.assert_allclose(matrix[:, 3], position, atol=1e-12)
        np.testing.assert_allclose(matrix[:, 4], [32, 32, figures["fl_y"]])
        # The camera looks at the origin from 3 units, in a frame where the radius 0.5 is 0.9.
        distance = 3 * 0.9 / RADIUS
        np.testing.assert_allclose(position, distance * back, atol=1e-5)
        np.testing.assert_allclose(row[15:], [distance - 0.9, distance + 0.9], atol=0.1)


def test_transform_fields(dataset):
    content = transforms(dataset, "train")
    assert content["fl_x"] == content["fl_y"] == pytest.approx(64)
    assert (content["cx"], content["cy"], content["w"], content["h"]) == (16, 16, 32, 32)
    assert content["camera_angle_x"] == pytest.approx(2 * np.arctan(0.25))
    for entry in content["frames"]:
        assert set(entry) == {"file_path", "hdr_path", "transform_matrix", "light_rotation"}
        np.testing.assert_allclose(entry["light_rotation"], np.eye(3), atol=1e-12)


def test_turning_object_turns_the_light(tmp_path):
    """A camera at rest before a turning object is a moving camera before one at rest, in a turning light."""

    def edit(stage):
        camera = UsdGeom.Camera(stage.GetPrimAtPath("/World/camera"))
        camera.ClearXformOpOrder()
        camera.AddTranslateOp(opSuffix="still").Set(Gf.Vec3d(0, 0, 3))
        turn = UsdGeom.Mesh(stage.GetPrimAtPath("/World/sphere")).AddRotateYOp()
        for frame in (1, 2, 3, 4):
            turn.Set(30.0 + 90 * (frame - 1), frame)

    scene = write_scene(tmp_path / "scene", up_axis="Z", edit=edit)
    main(scene.arguments(tmp_path / "out", "--no-normalize", "--no-ground-truth"))
    frames = transforms(tmp_path / "out", "train")["frames"]
    # The stage's y axis is the dataset's -z axis; from frame 1 to 2 the object turns by +90 degrees about it.
    # Seen from the object, camera and light turn by -90 degrees: stage (x, y, z) -> (-z, y, x).
    stage_turn = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])
    to_dataset = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    expected = to_dataset @ stage_turn @ to_dataset.T
    for i, entry in enumerate(frames):
        rotation = np.linalg.matrix_power(expected, i)
        np.testing.assert_allclose(entry["light_rotation"], rotation, atol=1e-6)
        # NeRF world of a Z-up stage is the stage itself.
        position = np.array(entry["transform_matrix"])[:3, 3]
        np.testing.assert_allclose(position, np.linalg.matrix_power(stage_turn, i) @ [0, 0, 3], atol=1e-5)


def test_test_every(scene, tmp_path):
    main(scene.arguments(tmp_path / "out", "--frames", "2:6", "--test-every", "2", "--no-ground-truth"))
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert [f["frame"] for f in description["frames"] if f["split"] == "test"] == [2, 4, 6]
    assert description["light_probe"] is None and not (tmp_path / "out" / "ground_truth").exists()


def test_resolution_and_png_renders(scene, tmp_path):
    folder = tmp_path / "png"
    for frame in scene.frames:
        pixels = fake_render(scene.size, frame)
        straight = pixels[..., :3] / np.maximum(pixels[..., 3:], 1e-9)
        rgba = np.concatenate([linear_to_srgb(np.clip(straight, 0, 1)), pixels[..., 3:]], axis=2)
        write_png(folder / f"x_{frame}.png", rgba)
    arguments = [str(scene.stage), "--images", str(folder / "x_%d.png"), "--no-ground-truth"]
    main([*arguments, "--out", str(tmp_path / "a")])
    # The color of 8-bit pictures comes back as it was stored.
    stored, written = (
        read_png(path) for path in (folder / "x_3.png", tmp_path / "a" / "rgba" / "frame_0003.png")
    )
    np.testing.assert_array_equal(written[..., 3], stored[..., 3])
    np.testing.assert_allclose(written * (stored[..., 3:] > 0), stored * (stored[..., 3:] > 0), atol=1e-6)
    main([*arguments, "--out", str(tmp_path / "b"), "--resolution", "16x16"])
    large, small = (read_exr(tmp_path / name / "hdr" / "frame_0003.exr")[0] for name in "ab")
    np.testing.assert_allclose(small, large.reshape(16, 2, 16, 2, 4).mean((1, 3)), atol=2e-3)
    assert transforms(tmp_path / "b", "train")["fl_x"] == pytest.approx(32)
    with pytest.raises(UserError, match="--resolution 16x8"):
        main([*arguments, "--out", str(tmp_path / "c"), "--resolution", "16x8"])


def test_acescg_renders(scene, tmp_path):
    main(scene.arguments(tmp_path / "out", "--colorspace", "acescg", "--no-ground-truth"))
    source = read_exr(scene.images / "sphere.0002.exr")[0]
    expected = np.maximum(source[..., :3] @ ACESCG_TO_REC709.T, 0)
    np.testing.assert_allclose(
        read_exr(tmp_path / "out" / "hdr" / "frame_0002.exr")[0][..., :3], expected, atol=2e-3
    )


def test_faint_alpha_is_read_as_background(scene, tmp_path):
    renders = tmp_path / "renders"
    shutil.copytree(scene.images, renders)
    pixels = fake_render(scene.size, 2)
    pixels[0, 0] = 1e-3
    pixels[0, 1, :3] = -0.5
    write_exr(renders / "sphere.0002.exr", pixels)
    main([str(scene.stage), "--images", str(renders), "--out", str(tmp_path / "out"), "--no-ground-truth"])
    assert (read_exr(tmp_path / "out" / "hdr" / "frame_0002.exr")[0][0, :2] == 0).all()


def test_job_travels_by_file(scene, dataset, tmp_path):
    """What another Python makes of the saved job is the same dataset, byte for byte."""
    job = plan_dataset(Request(str(scene.stage), images=str(scene.images), frames="1:4", test_frames="4:6"))
    save_job(job, tmp_path)
    run_job(load_job(tmp_path), tmp_path / "out")
    for path in sorted(dataset.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "out" / path.relative_to(dataset)).read_bytes(), path


def without_picture_libraries(folder):
    """A sitecustomize that hides OpenEXR, torch and imageio, as in Houdini's Python."""
    (folder / "sitecustomize.py").write_text(
        "import importlib.abc, sys\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('OpenEXR', 'imageio', 'torch', 'warp', 'PIL', 'tqdm'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.mark.parametrize("way", ["file", "module"])
def test_ways_to_run(scene, tmp_path, way):
    command = {
        "file": [str(ROOT / "usd_tools" / "usd_to_llff.py")],
        "module": ["-m", "usd_tools.usd_to_llff"],
    }[way]
    where = tmp_path if way == "file" else ROOT
    result = subprocess.run(
        [sys.executable, *command, *scene.arguments(tmp_path / "out", "--test-every", "3")],
        cwd=where,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "4 training and 2 test frames" in result.stderr
    assert (tmp_path / "out" / "ground_truth" / "mesh.obj").exists()


def test_in_a_python_without_picture_libraries(scene, tmp_path):
    (tmp_path / "site").mkdir()
    environment = without_picture_libraries(tmp_path / "site")
    environment.pop("SEPARATE_SPECIALIZE_PYTHON", None)
    command = [sys.executable, str(ROOT / "usd_tools" / "usd_to_llff.py"), *scene.arguments(tmp_path / "out")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 2 and "SEPARATE_SPECIALIZE_PYTHON" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()
    environment["SEPARATE_SPECIALIZE_PYTHON"] = sys.executable
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "hdr" / "frame_0006.exr").exists()
    # The child's complaint is the parent's.
    (tmp_path / "empty").mkdir()
    write_exr(tmp_path / "empty" / "a.1.exr", np.zeros((4, 4, 4)))
    command[command.index("--images") + 1] = str(tmp_path / "empty")
    result = subprocess.run([*command, "--frames", "1"], env=environment, capture_output=True, text=True)
    assert result.returncode == 2 and "mask is empty" in result.stderr and "Traceback" not in result.stderr


def failing(arguments, capsys):
    """Runs the command as from a shell; returns its only line on stderr."""
    with pytest.raises(SystemExit) as exit_:
        run_command(lambda: main(arguments))
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert exit_.value.code == 2 and len(errors) == 1 and "Traceback" not in captured.err
    return errors[0]


def spoiled(change):
    """Renders of which frame 3 is `change`d; the frame that the error must name."""

    def spoil(renders):
        path = renders / "sphere.0003.exr"
        pixels = read_exr(path)[0]
        write_exr(path, change(pixels), half=False)

    return spoil


def with_pixel(value):
    def change(pixels):
        pixels[10, 10, 1] = value
        return pixels

    return change


def opaque(pixels):
    pixels[..., 3] = 1
    return pixels


def truncate(renders):
    path = renders / "sphere.0003.exr"
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda renders: (renders / "sphere.0003.exr").unlink(), r"no picture of 1 frames \(3\)"),
        (lambda renders: shutil.copy(renders / "sphere.0001.exr", renders / "sphere.0017.exr"), r"\(17\)"),
        (lambda renders: shutil.rmtree(renders), "expected an existing folder"),
        (spoiled(lambda pixels: pixels[:16]), r"sphere\.0003\.exr: is 32x16, .*sphere\.0001\.exr is 32x32"),
        (spoiled(lambda pixels: pixels * 0), r"sphere\.0003\.exr.*empty"),
        (spoiled(opaque), r"sphere\.0003\.exr.*opaque"),
        (spoiled(lambda pixels: pixels[..., :3]), r"sphere\.0003\.exr.*no alpha"),
        (spoiled(with_pixel(np.nan)), r"sphere\.0003\.exr.*NaN"),
        (spoiled(with_pixel(np.inf)), r"sphere\.0003\.exr.*1 pixels with NaN or infinite"),
        (truncate, r"sphere\.0003\.exr.*truncated"),
    ],
)
def test_bad_renders(scene, tmp_path, capsys, spoil, message):
    renders = tmp_path / "renders"
    shutil.copytree(scene.images, renders)
    spoil(renders)
    before = sorted(tmp_path.iterdir())
    line = failing([str(scene.stage), "--images", str(renders), "--out", str(tmp_path / "out")], capsys)
    assert re.search(message, line), line
    assert sorted(tmp_path.iterdir()) == before


def camera_at(x, y, z):
    def edit(stage):
        camera = UsdGeom.Camera(stage.GetPrimAtPath("/World/camera"))
        camera.ClearXformOpOrder()
        camera.AddTranslateOp(opSuffix="moved").Set(Gf.Vec3d(x, y, z))

    return edit


def scaled_over_time(*end):
    def edit(stage):
        scale = UsdGeom.Xformable(stage.GetPrimAtPath("/World/sphere")).AddScaleOp()
        scale.Set(Gf.Vec3f(1), 1)
        scale.Set(Gf.Vec3f(*end), 4)

    return edit


def second_camera(stage):
    UsdGeom.Camera.Define(stage, "/World/other")


@pytest.mark.parametrize(
    "edit, options, message",
    [
        (scaled_over_time(1, 1, 1.1), (), "/World/sphere: changes its size or shape between frames 1 and 2"),
        (scaled_over_time(-1, 1, 1), ("--frames", "1,4"), "changes its size or shape between frames 1 and 4"),
        (camera_at(0.1, 0.1, 0), (), "inside the object"),
        (camera_at(0, 0, -3), (), "lies behind"),
        (lambda stage: stage.RemovePrim("/World/camera"), (), "no camera"),
        (lambda stage: stage.RemovePrim("/World/dome"), (), "no light"),
        (lambda stage: stage.RemovePrim("/World/sphere"), (), "no mesh"),
        (
            lambda stage: UsdGeom.PrimvarsAPI(stage.GetPrimAtPath("/World/sphere")).RemovePrimvar("st"),
            (),
            "no UVs",
        ),
        (lambda stage: None, ("--frames", "x"), "--frames x"),
        (lambda stage: None, ("--frames", "1:9"), "5:9"),
        (lambda stage: None, ("--camera", "/World/camera", "/World/b"), "--camera /World/b: no such"),
        (second_camera, (), "has 2 cameras (/World/camera, /World/other); name those to use by --camera"),
        (second_camera, ("--camera", "/World"), "put <camera> into a pattern"),
        (lambda stage: None, ("--object", "/World/nothing"), "--object /World/nothing"),
        (lambda stage: None, ("--variant", "a=b"), "--variant a=b"),
        (lambda stage: None, ("--resolution", "0x5"), "--resolution 0x5"),
        (lambda stage: None, ("--ground-truth-only",), "--images"),
    ],
)
def test_bad_stages_and_options(tmp_path, capsys, edit, options, message):
    scene = write_scene(tmp_path / "scene", edit=edit)
    line = failing(scene.arguments(tmp_path / "out", *options), capsys)
    assert message in line, line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene"]


def test_no_light_is_fine_without_ground_truth(tmp_path):
    scene = write_scene(tmp_path / "scene", edit=lambda stage: stage.RemovePrim("/World/dome"))
    assert main(scene.arguments(tmp_path / "out", "--no-ground-truth")) == 0


def test_missing_stage(tmp_path, capsys):
    line = failing([str(tmp_path / "a.usd"), "--ground-truth-only", "--out", str(tmp_path / "out")], capsys)
    assert "no such stage" in line


def test_full_disk(scene, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    main(scene.arguments(out, "--frames", "1:2"))
    before = (out / "dataset.json").read_bytes()
    written = []

    def full(path, pixels):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        write_exr(path, pixels)

    monkeypatch.setattr("usd_tools.convert_pictures.write_exr", full)
    assert "No space left" in failing(scene.arguments(out), capsys)
    assert written and (out / "dataset.json").read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_output_below_a_file_and_over_foreign_files(scene, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "is a file" in failing(scene.arguments(tmp_path / "file" / "out"), capsys)
    assert "not an earlier output" in failing(scene.arguments(tmp_path), capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


BENCHMARK = ROOT / ".." / "shared" / "benchmark"


@pytest.mark.parametrize("name", ["cow", "ball", "bishop"])
def test_benchmark_cameras(tmp_path, name):
    folder = BENCHMARK / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    job = plan_dataset(
        Request(str(folder / "scene.usda"), images=str(folder / "renders"), test_frames="51:58")
    )
    reference = json.loads((folder / "reference_cameras.json").read_text())
    similarity = np.array(job.description["stage_to_dataset"])
    scale = np.cbrt(np.linalg.det(similarity[:3, :3]))
    assert [frame.frame for frame in job.frames if frame.split == "test"] == reference["test_frames"]
    for frame in job.frames:
        expected = similarity @ np.array(reference["camera_to_world"][str(int(frame.frame))])
        expected[:3, :3] /= scale
        np.testing.assert_allclose(frame.camera_to_world, expected, atol=1e-5)
        fx, fy, cx, cy = frame.lens.intrinsics(reference["width"], reference["height"])
        assert 2 * np.arctan(256 / fx) == pytest.approx(reference["camera_angle_x"], abs=1e-6)
        assert fx == fy and cx == cy == 256


def test_benchmark_cow_ground_truth(tmp_path):
    folder = BENCHMARK / "cow"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    main([str(folder / "scene.usda"), "--ground-truth-only", "--out", str(tmp_path / "out")])
    truth = tmp_path / "out" / "ground_truth"
    albedo = read_image(folder / "textures" / "BaseColor.png")
    np.testing.assert_array_equal(read_image(truth / "albedo.png"), albedo)
    for name in ("Roughness", "Metallic"):
        source, baked = (
            read_image(folder / "textures" / f"{name}.png"),
            read_image(truth / f"{name.lower()}.png"),
        )
        assert baked.shape[:2] == albedo.shape[:2]
        np.testing.assert_array_equal(np.unique(baked), np.unique(source))
    np.testing.assert_array_equal(
        read_image(truth / "probe.exr"), read_image(folder / "textures" / "workshop.exr")
    )
