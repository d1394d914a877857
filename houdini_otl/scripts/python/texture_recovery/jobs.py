"""The recovery's long steps as background jobs: export, training and comparison."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from texture_recovery import environment_relay
from texture_recovery.background_job import BackgroundJob, Step
from texture_recovery.export_request import ExportRequest
from texture_recovery.pipeline_commands import (
    JobFolder,
    Training,
    command_environment,
    compare_command,
    convert_command,
    render_command,
    resume_command,
    train_command,
)
from texture_recovery.run_status import read_run_status
from usd_tools.errors import UserError

EXPORT, TRAIN, COMPARE = "Export Dataset", "Train", "Compare Textures"


def export_job(request: ExportRequest, training: Training, environment: Mapping[str, str]) -> BackgroundJob:
    """Renders the exported stage with husk and converts the pictures."""
    folder = request.folder
    render = render_command(
        training,
        folder.stage,
        folder.renders,
        cameras=request.camera_paths,
        frames=request.frames,
        resolution=request.resolution,
        samples=request.samples,
    )
    convert = convert_command(
        training,
        folder.stage,
        folder.renders / request.picture_names,
        folder.dataset,
        cameras=request.camera_paths,
        object_path=request.object_path,
        frames=request.frames,
        test_every=request.test_every,
        color_space=request.color_space,
        ground_truth=request.ground_truth,
    )
    total = len(request.numbers) * len(request.camera_paths)
    steps = [
        Step(
            "rendering",
            husk_command(render),
            husk_environment(environment),
            lambda: f"{_pictures_in_progress(folder.renders)} of {total} pictures",
        ),
        Step("converting", convert, command_environment(environment)),
    ]
    return BackgroundJob(EXPORT, steps, folder.path / "export.log", Path(training.root))


def train_job(
    folder: JobFolder,
    training: Training,
    environment: Mapping[str, str],
    *,
    config: str | None = None,
    settings: Sequence[str] = (),
    device: str = "auto",
) -> BackgroundJob:
    """Trains on the folder's dataset, into a new run."""
    command = train_command(
        training,
        folder.dataset,
        folder.run,
        config=None if config is None else training.config(config),
        settings=settings,
        device=device,
    )
    return _training(folder, command, training, environment)


def resume_job(folder: JobFolder, training: Training, environment: Mapping[str, str]) -> BackgroundJob:
    """Goes on with the folder's interrupted run."""
    return _training(folder, resume_command(training, folder.run), training, environment)


def compare_job(folder: JobFolder, training: Training, environment: Mapping[str, str]) -> BackgroundJob:
    """Compares the run with the true textures of the dataset."""
    command = compare_command(training, folder.run, folder.dataset, folder.report)
    step = Step("comparing", command, command_environment(environment))
    return BackgroundJob(COMPARE, [step], folder.path / "compare.log", Path(training.root))


def put_run_aside(folder: JobFolder) -> Path:
    """Renames the folder's run to the first free of run_1, run_2, ...; returns its new path.

    Raises:
        UserError: it cannot be renamed, because something uses it.
    """
    number = 1
    while (aside := folder.run.with_name(f"{folder.run.name}_{number}")).exists():
        number += 1
    try:
        return folder.run.rename(aside)
    except OSError as error:
        raise UserError(f"{folder.run}: cannot be renamed to {aside.name} ({error.strerror})") from None


def remove_earlier_pictures(folder: JobFolder) -> None:
    """Deletes what an earlier export rendered, so that frames of two exports are never mixed."""
    for picture in _pictures(folder.renders):
        picture.unlink()


def husk_command(command: Sequence[str]) -> list[str]:
    """`command` (Python, -E, script, arguments), for the environment that `husk_environment` makes."""
    return [*command[:2], environment_relay.__file__, *command[2:]]


def husk_environment(houdini: Mapping[str, str]) -> dict[str, str]:
    """For `husk_command`: the training Python is apart from the environment `houdini`, husk is not.

    The husk of this Houdini comes before any other on PATH.
    """
    clean = command_environment(houdini)
    withheld = {name: value for name, value in houdini.items() if clean.get(name) != value}
    if houdini.get("HFS"):
        binaries = str(Path(houdini["HFS"]) / "bin")
        clean["PATH"] = os.pathsep.join(filter(None, [binaries, clean.get("PATH")]))
    return {**clean, environment_relay.VARIABLE: json.dumps(withheld)}


def _training(
    folder: JobFolder, command: Sequence[str], training: Training, environment: Mapping[str, str]
) -> BackgroundJob:
    def progress() -> str:
        return str(read_run_status(folder.run) or "starting")

    step = Step("training", command, command_environment(environment), progress)
    return BackgroundJob(TRAIN, [step], folder.path / "train.log", Path(training.root))


def _pictures_in_progress(renders: Path) -> int:
    """Pictures written so far, those in husk's temporary folder included."""
    return sum(1 for _ in _pictures(renders))


def _pictures(renders: Path) -> Iterator[Path]:
    """Of all cameras; folders that husk's process removes meanwhile are passed over."""
    for folder, _, names in os.walk(renders):
        yield from (Path(folder) / name for name in fnmatch.filter(names, "stage.*.exr"))
