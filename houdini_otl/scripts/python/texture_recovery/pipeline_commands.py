"""The pipeline's commands as argument lists, for subprocesses, farms and TOPs alike. Standard library only.

Every list starts with the training Python and `-E`: it ignores PYTHONPATH and PYTHONHOME, which point into
Houdini. So the same list works in Houdini's own process, on a farm machine and in a shell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

_LIBRARY_PATHS = frozenset({"LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH"})


@dataclass(frozen=True)
class Training:
    """Where training lives. python: of the environment that has the project installed. root: the clone."""

    python: str
    root: str

    def script(self, name: str) -> list[str]:
        """The start of a command of usd_tools, such as `usd_to_llff`."""
        return [self.python, "-E", str(Path(self.root) / "usd_tools" / f"{name}.py")]

    def config(self, name: str) -> str:
        """A settings file's path: one in recon/configs, such as `cpu.yaml`; a full path stays as it is."""
        return str(Path(self.root) / "recon" / "configs" / name)


@dataclass(frozen=True)
class JobFolder:
    """Where one recovery keeps its files: the exported stage and what each step writes."""

    path: Path

    @property
    def stage(self) -> Path:
        return self.path / "stage.usd"

    @property
    def renders(self) -> Path:
        return self.path / "renders"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def recovered(self) -> Path:
        return self.path / "recovered.usda"

    @property
    def report(self) -> Path:
        return self.path / "report"


def render_command(
    training: Training,
    stage: str | PurePath,
    out: str | PurePath,
    *,
    renderer: str = "husk",
    cameras: Sequence[str] = (),
    variants: Sequence[str] = (),
    frames: str | None = None,
    resolution: tuple[int, int] | None = None,
    samples: int | None = None,
) -> list[str]:
    """Renders the frames of `stage` into the folder `out`; husk is found on PATH or in $HFS/bin.

    cameras: prim paths; of several, each gets a folder in `out`. variants: `SET=CHOICE` of the stage.
    """
    command = [*training.script("render_turntable"), str(stage), "--out", str(out), "--renderer", renderer]
    command += options("--camera", cameras) + options("--variant", variants)
    command += _option("--frames", frames)
    command += _option("--resolution", resolution and f"{resolution[0]}x{resolution[1]}")
    return command + _option("--samples", samples)


def convert_command(
    training: Training,
    stage: str | PurePath,
    images: str | PurePath,
    out: str | PurePath,
    *,
    cameras: Sequence[str] = (),
    variants: Sequence[str] = (),
    object_path: str | None = None,
    frames: str | None = None,
    test_every: int | None = None,
    color_space: str | None = None,
    ground_truth: bool = True,
) -> list[str]:
    """Makes the dataset `out` of the stage and its renders.

    images: a folder (that holds one for each of several cameras) or a pattern. cameras, variants: as they
    were rendered.
    """
    command = [*training.script("usd_to_llff"), str(stage), "--images", str(images), "--out", str(out)]
    command += options("--camera", cameras) + options("--variant", variants)
    command += _option("--object", object_path)
    command += _option("--frames", frames) + _option("--test-every", test_every)
    command += _option("--colorspace", color_space)
    return command if ground_truth else [*command, "--no-ground-truth"]


def train_command(
    training: Training,
    dataset: str | PurePath,
    out: str | PurePath,
    *,
    config: str | None = None,
    settings: Sequence[str] = (),
    device: str = "auto",
    resume: bool = False,
) -> list[str]:
    """Trains on `dataset` into the run folder `out`; its status.json tells the progress.

    resume: go on with the same run where there is one, which is what a farm's second try wants.
    """
    command = [training.python, "-E", "-m", "recon.train", *_option("--config", config)]
    command += ["--data", str(dataset), "--out", str(out), "--device", device]
    command += ["--resume"] if resume else []
    return command + (["--set", *settings] if settings else [])


def resume_command(training: Training, run: str | PurePath, *, device: str = "auto") -> list[str]:
    """Goes on with an interrupted run from its last checkpoint."""
    return [training.python, "-E", "-m", "recon.train", "--out", str(run), "--resume", "--device", device]


def import_command(
    training: Training,
    run: str | PurePath,
    out: str | PurePath,
    *,
    stage: str | PurePath | None = None,
    object_path: str | None = None,
) -> list[str]:
    """Writes the run as a USD layer, over `stage` or (without one) alone."""
    command = [*training.script("import_materials"), str(run), "--out", str(out)]
    return command + _option("--stage", stage) + (_option("--object", object_path) if stage else [])


def compare_command(
    training: Training, recovered: str | PurePath, truth: str | PurePath, out: str | PurePath
) -> list[str]:
    """Compares a run (or USD file) with a dataset (or stage); `out` holds metrics.json and index.html."""
    return [*training.script("compare_textures"), str(recovered), str(truth), "--out", str(out)]


def command_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment to start a command in: `base` (this process's) without Houdini's Python and libraries.

    PXR_PLUGINPATH_NAME goes, too: what it names is built for Houdini's USD, and keeps any other from opening
    a file.
    """
    base = os.environ if base is None else base
    foreign = {"PYTHONHOME", "PYTHONPATH", "PXR_PLUGINPATH_NAME"}
    clean = {name: value for name, value in base.items() if name not in foreign}
    if clean.get("HFS"):
        for name in _LIBRARY_PATHS & clean.keys():
            clean[name] = _outside(clean[name], clean["HFS"])
    return clean


def _outside(paths: str, folder: str) -> str:
    """A search path without the entries below `folder`."""
    kept = [path for path in paths.split(os.pathsep) if not PurePath(path).is_relative_to(folder)]
    return os.pathsep.join(kept)


def options(name: str, values: Sequence[str]) -> list[str]:
    """An option that may be repeated, once for each value."""
    return [word for value in values for word in (name, value)]


def _option(name: str, value: object) -> list[str]:
    return [] if value in (None, "") else [name, str(value)]
