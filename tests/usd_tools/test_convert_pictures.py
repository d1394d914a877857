"""Converting pictures one by one and on several processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from tests.usd_tools.stages import fake_render, write_scene
from usd_tools.convert_pictures import FOLDERS, Conversion, Picture, convert_pictures
from usd_tools.errors import UserError
from usd_tools.images import read_exr, read_png, write_exr, write_png
from usd_tools.render_pixels import RenderReading
from usd_tools.usd_to_llff import main

ROOT = Path(__file__).resolve().parents[2]
HOW = Conversion(RenderReading("lin_rec709"))


@pytest.fixture
def pictures(tmp_path):
    made = []
    for frame in range(1, 6):
        path = tmp_path / "renders" / f"a.{frame}.exr"
        write_exr(path, fake_render((24, 16), frame))
        made.append(Picture(f"frame_{frame:04d}", str(path)))
    return made


def dataset_folder(path):
    for name in FOLDERS:
        (path / name).mkdir(parents=True)
    return path


def test_processes_write_what_one_writes(tmp_path, pictures):
    alone, together = dataset_folder(tmp_path / "alone"), dataset_folder(tmp_path / "together")
    expected = list(convert_pictures(pictures, alone, HOW, workers=1))
    assert list(convert_pictures(pictures, together, HOW, workers=2)) == expected
    files = sorted(path.relative_to(alone) for path in alone.rglob("*.*"))
    assert len(files) == 4 * len(pictures)
    for path in files:
        assert (alone / path).read_bytes() == (together / path).read_bytes()


def test_the_first_bad_picture_is_named(tmp_path, pictures):
    for index in (2, 3):
        write_exr(pictures[index].image, np.zeros((24, 16, 4)))
    with pytest.raises(UserError, match=r"a\.3\.exr: its mask is empty"):
        list(convert_pictures(pictures, dataset_folder(tmp_path / "out"), HOW, workers=2))


def test_a_reader_that_crashes_is_told(tmp_path, pictures):
    """A crash in a picture library must not end in a hanging or silent command."""
    script = tmp_path / "crash.py"
    script.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from usd_tools import convert_pictures as module\n"
        "from usd_tools.errors import run_command\n"
        "from usd_tools.render_pixels import RenderReading\n"
        "def crash(picture, folder, how):\n"
        "    if picture.name != 'frame_0001': os.abort()\n"
        "module.convert_picture = crash\n"
        f"pictures = [module.Picture(f'frame_000{{i}}', {pictures[0].image!r}) for i in (1, 2, 3)]\n"
        "how = module.Conversion(RenderReading('lin_rec709'))\n"
        "if __name__ == '__main__':\n"
        "    run_command(lambda: list(module.convert_pictures(pictures, Path('.'), how, workers=2)) and 0)\n"
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and "crashed" in result.stderr and "Traceback" not in result.stderr


def test_masks_of_their_own(tmp_path):
    scene = write_scene(tmp_path / "scene")
    for frame in scene.frames:
        path = scene.images / f"sphere.{frame:04d}.exr"
        pixels = read_exr(path)[0]
        write_png(tmp_path / "masks" / f"mask_{frame}.png", pixels[..., 3])
        write_exr(path, pixels[..., :3] + 0.1 * (1 - pixels[..., 3:]))
    arguments = scene.arguments(tmp_path / "out", "--no-ground-truth")
    with pytest.raises(UserError, match=r"sphere\.0001\.exr: has no alpha.*--masks"):
        main(arguments)
    main([*arguments, "--masks", str(tmp_path / "masks")])
    for frame in scene.frames:
        expected = read_png(tmp_path / "masks" / f"mask_{frame}.png")[..., 0]
        np.testing.assert_array_equal(
            read_png(tmp_path / "out" / "masks" / f"frame_{frame:04d}.png")[..., 0], expected
        )
    (tmp_path / "masks" / "mask_2.png").unlink()
    with pytest.raises(UserError, match=r"--masks .*no picture of 1 frames \(2\)"):
        main([*arguments, "--masks", str(tmp_path / "masks")])


@pytest.mark.parametrize("frames_with", [(1, 2, 3, 4), (1, 2)])
def test_auxiliary_pictures_are_named_in_the_dataset(tmp_path, frames_with, capsys):
    scene = write_scene(tmp_path / "scene")
    for frame in scene.frames:
        path = scene.images / f"sphere.{frame:04d}.exr"
        pixels = read_exr(path)[0]
        planes = {name: np.ascontiguousarray(pixels[..., i]) for i, name in enumerate("RGBA")}
        if frame in frames_with:
            planes["Z"] = np.full(pixels.shape[:2], frame, np.float32)
        with OpenEXR.File({}, planes) as file:
            file.write(str(path))
    main(scene.arguments(tmp_path / "out", "--no-ground-truth"))
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    if len(frames_with) < 4:
        assert description["aovs"] == {} and not (tmp_path / "out" / "aovs").exists()
        assert "only some renders have depth" in capsys.readouterr().err
        return
    assert description["aovs"] == {"depth": "aovs/depth"}
    for frame in scene.frames:
        depth = read_exr(tmp_path / "out" / "aovs" / "depth" / f"frame_{frame:04d}.exr")[0]
        mask = read_exr(tmp_path / "out" / "hdr" / f"frame_{frame:04d}.exr")[0][..., 3:] > 0
        np.testing.assert_array_equal(depth, np.where(mask, frame, 0))
