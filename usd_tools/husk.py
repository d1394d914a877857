"""Rendering a stage's frames with Houdini's husk, as a subprocess.

husk may exit with 0 after a failure (a layer that does not load, for one), so only the files decide.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from usd_tools.errors import UserError
from usd_tools.frames import format_frames
from usd_tools.images import read_exr

log = logging.getLogger(__name__)

_EXR_MAGIC = b"\x76\x2f\x31\x01"


@dataclass(frozen=True)
class HuskJob:
    """What to render; with Karma, because no other delegate is named, and the engine that the settings name.

    settings: path of the stage's RenderSettings prim, if any. samples: per pixel; None for the stage's own.
    """

    stage: Path
    camera: str
    width: int
    height: int
    settings: str | None = None
    samples: int | None = None

    def command(self, husk: str, pattern: Path, first: float, count: int, step: int) -> list[str]:
        """The command line for `count` frames from `first`; `pattern` holds a printf number if several.

        Frame, count and increment are always given: husk's versions disagree on what they default to.
        """
        command = [husk, "-f", f"{first:.10g}", "-n", str(count), "-i", str(step), "-c", self.camera]
        if self.settings:
            command += ["-s", self.settings]
        if self.samples is not None:
            command += ["-p", str(self.samples)]
        command += ["-r", str(self.width), str(self.height)]
        # A light of husk's own, where the stage has none, would hang on the camera.
        command += ["--headlight", "none"]
        # The camera moves between frames, and pictures to measure by must not blur.
        command += ["--disable-motionblur", "--make-output-path", "-o", str(pattern), str(self.stage)]
        return command


def find_husk() -> str:
    """husk's path: from PATH, or from the Houdini that HFS names.

    Raises:
        UserError: there is none.
    """
    folders = [str(Path(os.environ["HFS"]) / "bin")] if os.environ.get("HFS") else []
    for search in (None, *folders):
        if found := shutil.which("husk", path=search):
            return found
    raise UserError(
        "--renderer husk: husk was not found on PATH or in $HFS/bin; source Houdini's houdini_setup, "
        "or use --renderer mitsuba"
    )


def frame_runs(frames: Iterable[int]) -> list[tuple[int, int, int]]:
    """Ascending frames as few evenly spaced runs (first, count, step), which is how husk takes them."""
    runs: list[tuple[int, int, int]] = []
    for frame in frames:
        if runs:
            first, count, step = runs[-1]
            if count == 1 or frame == first + count * step:
                runs[-1] = (first, count + 1, frame - first if count == 1 else step)
                continue
        runs.append((frame, 1, 1))
    return runs


def render_with_husk(job: HuskJob, frames: Sequence[float], files: Sequence[Path]) -> None:
    """Renders `frames` to `files`, which lie in one folder and are named NAME.FRAME.exr.

    husk writes beside them first: a frame takes its place only when it is a complete EXR file.

    Raises:
        UserError: husk is missing, or some frame was not written (with husk's last words).
    """
    husk = find_husk()
    out = files[0].parent
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--out {out}: is not a folder; name another one") from None
    missing = dict(zip(frames, files))
    with tempfile.TemporaryDirectory(prefix=".husk.", dir=out) as temporary:
        words: list[str] = []
        for name, first, count, step in _runs_by_name(frames, files):
            command = job.command(husk, Path(temporary) / name, first, count, step)
            log.info("%s", " ".join(command))
            result = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
            words += [f"exit code {result.returncode}", *result.stdout.splitlines()[-3:]]
        for frame, file in zip(frames, files):
            written = Path(temporary) / file.name
            if _is_complete(written):
                written.replace(file)
                del missing[frame]
    if missing:
        raise UserError(
            f"husk did not write {len(missing)} of {len(frames)} frames ({format_frames(missing)}); "
            f"it said: {'; '.join(words[-8:])}"
        )


def _runs_by_name(frames: Sequence[float], files: Sequence[Path]) -> list[tuple[str, float, int, int]]:
    """File name (with a printf frame number), first frame, count and step of each run of husk.

    No number that husk's versions agree on tells sub-frames: these are rendered one by one.
    """
    if any(frame % 1 for frame in frames):
        return [(file.name, frame, 1, 1) for frame, file in zip(frames, files)]
    name = files[0].name.rsplit(".", 2)[0]
    return [(f"{name}.%04d.exr", *run) for run in frame_runs(int(frame) for frame in frames)]


def _is_complete(path: Path) -> bool:
    """Whether `path` is a whole EXR; without OpenEXR (Houdini's own Python), whether it begins as one."""
    if not path.is_file():
        return False
    try:
        read_exr(path)
    except UserError:
        return False
    except ImportError:
        with path.open("rb") as file:
            return file.read(4) == _EXR_MAGIC
    return True
