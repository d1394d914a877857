"""husk's command line, and that only files count; a script on PATH stands in for husk."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, UsdRender

from tests.usd_tools.stages import write_scene
from usd_tools.errors import UserError
from usd_tools.husk import HuskJob, find_husk, frame_runs, render_with_husk
from usd_tools.images import write_exr
from usd_tools.render_turntable import render_turntable

posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a shebang")

FAKE = """#!{python}
import sys
from pathlib import Path
arguments = sys.argv[1:]
log = Path({log!r})
with log.open("a") as file:
    file.write("\\t".join(arguments) + "\\n")
value = {{flag: arguments[arguments.index(flag) + 1] for flag in ("-f", "-n", "-i", "-o")}}
for index in range(int(value["-n"])):
    frame = float(value["-f"]) + index * int(value["-i"])
    if frame in {broken!r}:
        continue
    path = Path(value["-o"] % frame if "%" in value["-o"] else value["-o"])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Path({picture!r}).read_bytes()
    path.write_bytes(picture[: {kept} * len(picture) // 100] if frame in {cut!r} else picture)
print("Unable to open layer @fx.usd@")
sys.exit({code})
"""


def install_fake(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: tuple[int, ...] = (),
    cut: tuple[int, ...] = (),
    kept: int = 0,
    code: int = 0,
) -> Path:
    """Puts a husk on PATH that skips frames `broken`, writes `kept` % of frames `cut`, exits with `code`."""
    folder.mkdir()
    log, picture = folder / "log", folder / "picture.exr"
    write_exr(picture, np.random.default_rng(0).random((32, 32, 4)))
    script = folder / "husk"
    script.write_text(
        FAKE.format(
            python=sys.executable,
            log=str(log),
            picture=str(picture),
            broken=broken,
            cut=cut,
            kept=kept,
            code=code,
        )
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("HFS", raising=False)
    return log


def job(tmp_path: Path) -> HuskJob:
    return HuskJob(tmp_path / "scene.usda", "/World/camera", 640, 480, settings="/Render/rs", samples=32)


def named(folder: Path, *frames: float) -> list[Path]:
    return [folder / f"scene.{frame:04d}.exr" for frame in frames]


def test_command_names_frames_camera_settings_and_output(tmp_path: Path) -> None:
    command = job(tmp_path).command("husk", Path("out/scene.%04d.exr"), first=5, count=3, step=2)
    text = " ".join(command)
    assert text.startswith("husk -f 5 -n 3 -i 2 -c /World/camera -s /Render/rs -p 32 -r 640 480 ")
    assert " --headlight none --disable-motionblur " in text, "no light and no blur but the stage's"
    assert command[-4:-1] == ["--make-output-path", "-o", str(Path("out/scene.%04d.exr"))]
    assert command[-1] == str(tmp_path / "scene.usda")
    assert "--disable-motionblur" in command


def test_command_leaves_out_what_the_stage_lacks(tmp_path: Path) -> None:
    command = HuskJob(tmp_path / "s.usda", "/cam", 8, 8).command("husk", Path("o.%04d.exr"), 1, 1, 1)
    assert "-s" not in command and "-p" not in command


@pytest.mark.parametrize(
    ("frames", "runs"),
    [
        ([], []),
        ([7], [(7, 1, 1)]),
        ([1, 2, 3, 4], [(1, 4, 1)]),
        ([1, 3, 5], [(1, 3, 2)]),
        ([1, 2, 3, 10, 20, 30, 31], [(1, 3, 1), (10, 3, 10), (31, 1, 1)]),
    ],
)
def test_frames_become_evenly_spaced_runs(frames: list[int], runs: list[tuple[int, int, int]]) -> None:
    assert frame_runs(frames) == runs
    assert [first + i * step for first, count, step in frame_runs(frames) for i in range(count)] == frames


@posix_only
def test_frames_are_rendered_and_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = install_fake(tmp_path / "bin", monkeypatch)
    files = named(tmp_path / "out", 1, 2, 3, 9)
    render_with_husk(job(tmp_path), [1, 2, 3, 9], files)
    assert sorted((tmp_path / "out").iterdir()) == files
    assert len(log.read_text().splitlines()) == 2  # 1:3 and 9


@posix_only
@pytest.mark.parametrize("code", [0, 3])
def test_missing_frames_fail_whatever_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    install_fake(tmp_path / "bin", monkeypatch, broken=(2,), cut=(3,), code=code)
    with pytest.raises(UserError, match=r"2 of 4 frames \(2:3\).*exit code \d; Unable to open layer"):
        render_with_husk(job(tmp_path), [1, 2, 3, 4], named(tmp_path / "out", 1, 2, 3, 4))
    assert [file.name for file in sorted((tmp_path / "out").iterdir())] == [
        "scene.0001.exr",
        "scene.0004.exr",
    ]


@posix_only
@pytest.mark.parametrize("kept", [0, 1, 10, 50, 99])
def test_picture_cut_short_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """husk that dies or meets a full disk leaves files that begin as EXR; an earlier good one stays."""
    install_fake(tmp_path / "bin", monkeypatch, cut=(2,), kept=kept)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scene.0002.exr").write_bytes(b"earlier")
    with pytest.raises(UserError, match=r"1 of 3 frames \(2\)"):
        render_with_husk(job(tmp_path), [1, 2, 3], named(tmp_path / "out", 1, 2, 3))
    assert (tmp_path / "out/scene.0002.exr").read_bytes() == b"earlier"
    assert (tmp_path / "out/scene.0003.exr").stat().st_size > 1000


@posix_only
def test_without_openexr_the_first_bytes_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Houdini's own Python has no OpenEXR."""
    install_fake(tmp_path / "bin", monkeypatch, cut=(2,))
    monkeypatch.setitem(sys.modules, "OpenEXR", None)  # makes the import fail
    with pytest.raises(UserError, match=r"1 of 2 frames \(2\)"):
        render_with_husk(job(tmp_path), [1, 2], named(tmp_path / "out", 1, 2))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["scene.0001.exr"]


@posix_only
def test_output_folder_that_is_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = install_fake(tmp_path / "bin", monkeypatch)
    (tmp_path / "out").write_text("mine")
    for out in (tmp_path / "out", tmp_path / "out/below"):
        with pytest.raises(UserError, match="is not a folder"):
            render_with_husk(job(tmp_path), [1], named(out, 1))
    assert (tmp_path / "out").read_text() == "mine" and not log.exists()


@posix_only
def test_words_in_another_encoding_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake(tmp_path / "bin", monkeypatch, broken=(1,))
    script = tmp_path / "bin/husk"
    script.write_text(script.read_text().replace("print(", r"sys.stdout.buffer.write(b'caf\xe9 '); print("))
    with pytest.raises(UserError, match=r"caf\ufffd Unable to open layer"):
        render_with_husk(job(tmp_path), [1], named(tmp_path / "out", 1))


@posix_only
def test_all_frames_written_is_success_whatever_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delegate may pass a status of its own."""
    install_fake(tmp_path / "bin", monkeypatch, code=1)
    files = named(tmp_path / "out", 1, 2)
    render_with_husk(job(tmp_path), [1, 2], files)
    assert sorted((tmp_path / "out").iterdir()) == files


@posix_only
def test_pictures_of_an_earlier_run_do_not_pass_for_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_fake(tmp_path / "bin", monkeypatch, broken=(1,))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scene.0001.exr").write_bytes(bytes.fromhex("762f3101"))
    with pytest.raises(UserError, match="1 of 1 frames"):
        render_with_husk(job(tmp_path), [1], named(tmp_path / "out", 1))


@posix_only
def test_stage_gives_camera_settings_and_resolution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(stage: Usd.Stage) -> None:
        UsdRender.Settings.Define(stage, "/Render/rs").CreateResolutionAttr(Gf.Vec2i(20, 12))
        stage.SetMetadata("renderSettingsPrimPath", "/Render/rs")

    scene = write_scene(tmp_path / "s", frames=4, edit=settings)
    log = install_fake(tmp_path / "bin", monkeypatch)
    render_turntable(scene.stage, tmp_path / "out", renderer="husk")
    (line,) = log.read_text().splitlines()
    expected = "-f 1 -n 4 -i 1 -c /World/camera -s /Render/rs -r 20 12"
    assert line.replace("\t", " ").startswith(expected)


@posix_only
def test_husk_is_also_found_in_houdini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HFS", str(tmp_path))
    assert find_husk() == str(tmp_path / "bin/husk")


def test_missing_husk_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HFS", raising=False)
    with pytest.raises(UserError, match=r"husk was not found.*--renderer mitsuba"):
        render_with_husk(job(tmp_path), [1], named(tmp_path / "out", 1))
    assert not (tmp_path / "out").exists()


@posix_only
def test_sub_frames_are_rendered_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "s", frames=4)
    log = install_fake(tmp_path / "bin", monkeypatch)
    files = render_turntable(scene.stage, tmp_path / "out", renderer="husk", frames="1:2:0.5")
    assert [file.name for file in files] == [f"scene.0001.{part}.exr" for part in ("000", "500")] + [
        "scene.0002.000.exr"
    ]
    assert sorted((tmp_path / "out").iterdir()) == files
    assert [line.split("\t")[:6] for line in log.read_text().splitlines()] == [
        ["-f", frame, "-n", "1", "-i", "1"] for frame in ("1", "1.5", "2")
    ]


@posix_only
def test_cameras_get_a_folder_each_and_variants_a_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(stage: Usd.Stage) -> None:
        UsdGeom.Camera.Define(stage, "/World/second")
        variants = stage.GetPrimAtPath("/World").GetVariantSets().AddVariantSet("look")
        for name in ("old", "new"):
            variants.AddVariant(name)

    scene = write_scene(tmp_path / "s", frames=2, edit=edit)
    log = install_fake(tmp_path / "bin", monkeypatch)
    files = render_turntable(
        scene.stage, tmp_path / "out", renderer="husk", cameras=["/World"], variants=["look=new"]
    )
    assert [str(file.relative_to(tmp_path / "out")) for file in files] == [
        str(Path(camera) / f"scene.000{frame}.exr") for camera in ("camera", "second") for frame in (1, 2)
    ]
    assert all(file.is_file() for file in files)
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    assert [line[7] for line in lines] == ["/World/camera", "/World/second"]
    assert {Path(line[-1]).name for line in lines} == {"scene.usda"}
    assert str(scene.stage) not in lines[0] and not Path(lines[0][-1]).exists()  # a passing layer over it
