"""The five tools of the shelf. Each asks what it needs, starts the work in the background and returns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import hou

from texture_recovery import dialogs, jobs, session
from texture_recovery.background_job import BackgroundJob, warnings
from texture_recovery.export_request import ExportRequest, default_fields, request_from_fields
from texture_recovery.job_monitor import MONITOR
from texture_recovery.pipeline_commands import JobFolder, Training
from texture_recovery.recovered_node import show_recovered
from texture_recovery.render_color_space import render_color_space
from texture_recovery.report import open_report as open_page
from texture_recovery.run_status import read_run_status
from texture_recovery.stage_choices import cameras, most_likely, recoverable_objects
from texture_recovery.stage_defaults import stage_defaults
from texture_recovery.stage_export import check_stage, finish_stage
from texture_recovery.stage_source import StageSource, selected_stage, write_stage
from texture_recovery.training_presets import (
    PRESETS,
    knows_light,
    likely_preset,
    settings_from_fields,
    training_fields,
)
from texture_recovery.training_python import graphics_card, resolved_settings
from usd_tools.errors import UserError
from usd_tools.import_materials import light_was_learnt

IMPORT, REPORT = "Import Recovered", "Open Report"
NEW_TURNTABLE = "New turntable around the object"
WITHOUT_TRUTH = "Go On Without"
RESUME, ANEW, KEEP = "Resume", "Train Anew", "Keep It"
_MOST_WARNINGS = 5


def export_dataset() -> None:
    """Export Dataset: stage, renders and dataset of the selected object."""
    with dialogs.telling_errors(jobs.EXPORT):
        if MONITOR.offer_to_stop(jobs.EXPORT, "Click again to export anew."):
            return
        training = session.training()
        with selected_stage() as source:
            request = _ask_request(source)
            frames = request.numbers if request.turntable is None else [int(hou.frame())]
            write_stage(source.node, request.folder.stage, frames)
        finish_stage(request)
        request = _checked(request)
        jobs.remove_earlier_pictures(request.folder)
        folder = session.remember(request.folder.path)
        job = jobs.export_job(request, training, session.environment())
        _start(job, partial(_tell_end, job, f"The dataset is ready:\n{folder.dataset}", "Next: Train"))


def train() -> None:
    """Train: starts or resumes the run of a recovery, tells how it is doing, or stops it."""
    with dialogs.telling_errors(jobs.TRAIN):
        if MONITOR.offer_to_stop(jobs.TRAIN, "Click Train again to resume from the last checkpoint."):
            return
        training = session.training()
        folder = session.ask_folder(jobs.TRAIN, "Train")
        knows_light(folder.dataset)  # tells at once when there is no dataset
        if not _wants_new_run(folder):
            job = jobs.resume_job(folder, training, session.environment())
        else:
            job = _new_run(folder, training)
        _start(job, partial(_tell_end, job, f"The run is finished:\n{folder.run}", "Next: Import Recovered"))


def import_recovered() -> None:
    """Import Recovered: a LOP node that shows the finished run."""
    with dialogs.telling_errors(IMPORT):
        folder = session.ask_folder(IMPORT, "Import the run")
        node = show_recovered(folder)
        if light_was_learnt(folder.run):
            dialogs.tell(
                f"{node.path()} brings the light that was learnt. Switch the original lights off "
                "to see the object under it.",
                IMPORT,
            )


def compare_textures() -> None:
    """Compare Textures: writes the report in the background and opens it."""
    with dialogs.telling_errors(jobs.COMPARE):
        if MONITOR.offer_to_stop(jobs.COMPARE, "Click again to compare anew."):
            return
        training = session.training()
        folder = session.ask_folder(jobs.COMPARE, "Compare the run with the true textures")
        if not knows_light(folder.dataset):
            raise UserError(
                f"{folder.dataset}: was exported without true textures, there is nothing to compare with"
            )
        _start(jobs.compare_job(folder, training, session.environment()), partial(_open_page, folder))


def open_report() -> None:
    """Open Report: the latest comparison in the browser."""
    with dialogs.telling_errors(REPORT):
        open_page(session.ask_folder(REPORT, "Open the report"))


def _ask_request(source: StageSource) -> ExportRequest:
    """Object, camera and the form's fields, by three questions at most."""
    stage = source.node.stage()
    objects = recoverable_objects(stage, hou.frame())
    chosen = 0
    if len(objects) > 1:
        likely = most_likely(objects, source.hints)
        chosen = dialogs.choose(
            "Object to recover: a mesh, or all meshes below a primitive", objects, jobs.EXPORT, likely
        )
    through = _ask_cameras(stage, source)
    folder = f"$HIP/texture_recovery/{objects[chosen].rsplit('/', 1)[-1]}"
    told = stage_defaults(stage, through, hou.frame(), tuple(hou.playbar.frameRange()))
    fields = default_fields(folder, told, render_color_space(session.environment()))
    filled_in = dialogs.fill_in(f"Export {objects[chosen]}", fields, jobs.EXPORT)
    return request_from_fields(filled_in, dialogs.expanded, objects[chosen], through)


def _ask_cameras(stage: Any, source: StageSource) -> list[str]:
    """Paths of the cameras to render through; none for a new turntable.

    Raises:
        UserError: both were chosen.
    """
    existing = cameras(stage)
    if not existing:
        return []
    choices = [*existing, NEW_TURNTABLE]
    likely = most_likely(choices, source.hints)
    chosen = dialogs.choose_several("Camera to render through, or several", choices, jobs.EXPORT, likely)
    through = [existing[index] for index in chosen if index < len(existing)]
    if through and len(through) < len(chosen):
        raise UserError("cameras and a new turntable were chosen; expected one or the other")
    return through


def _checked(request: ExportRequest) -> ExportRequest:
    """The request as it can be converted; asks whether true textures may be left out where they cannot be."""
    try:
        check_stage(request)
        return request
    except UserError as error:
        without = request.without_ground_truth()
        check_stage(without)  # raises what true textures have no part in
        dialogs.ask(
            f"True textures or light cannot be read:\n{error}\n\nGo on without? The light is learnt then, "
            "and Compare Textures has nothing to compare with.",
            (WITHOUT_TRUTH,),
            jobs.EXPORT,
        )
        return without


def _wants_new_run(folder: JobFolder) -> bool:
    """Whether to train from the start; asks where there is a run, which is then kept under another name.

    Raises:
        CancelledError: the run is to be left as it is.
    """
    status = read_run_status(folder.run)
    if status is None:
        return True
    told = f"{folder.run}\n{status}"
    if status.finished:
        answers: tuple[str, ...] = (KEEP, ANEW)
    elif status.seems_alive():
        told += (
            f"\n\nIt seems to be running outside this session (process {status.pid}, last heard of "
            f"{status.written:%Y-%m-%d %H:%M:%S} UTC). Resume only if it is not."
        )
        answers = (KEEP, RESUME)
    else:
        answers = (RESUME, ANEW)
    answer = dialogs.ask(told, answers, jobs.TRAIN)
    if answer == KEEP:
        raise dialogs.CancelledError
    return answer == ANEW


def _new_run(folder: JobFolder, training: Training) -> BackgroundJob:
    environment = session.environment()
    gpu = graphics_card(training, environment)
    machine = f"This machine has {gpu}" if gpu else "No NVIDIA GPU was found that training could use"
    labels = [preset.label for preset in PRESETS]
    chosen = dialogs.choose(f"What to train. {machine}.", labels, jobs.TRAIN, likely_preset(gpu))
    preset = PRESETS[chosen]
    config = None if preset.config is None else training.config(preset.config)
    usual = resolved_settings(training, config, (), environment)
    fields = training_fields(preset, usual, light_is_known=knows_light(folder.dataset))
    filled_in = dialogs.fill_in(preset.label, fields, jobs.TRAIN)
    settings = settings_from_fields(filled_in, preset, usual, folder)
    resolved_settings(
        training, config, settings, environment
    )  # tells mistakes while the earlier run is there
    if folder.run.exists():
        jobs.put_run_aside(folder)
    return jobs.train_job(folder, training, environment, config=preset.config, settings=settings)


def _open_page(folder: JobFolder) -> None:
    open_page(folder)


def _tell_end(job: BackgroundJob, result: str, next_step: str) -> None:
    """What has come out, what it warned of, and what to click next."""
    dialogs.tell("\n\n".join([result, *warnings(job.log)[:_MOST_WARNINGS], next_step]), job.name)


def _start(job: BackgroundJob, succeeded: Callable[[], None]) -> None:
    MONITOR.start(job, succeeded)
    hou.ui.setStatusMessage(f"{job.name}: started; click the tool again to see or stop it")
