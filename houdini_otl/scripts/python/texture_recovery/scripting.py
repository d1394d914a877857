"""The shelf's steps for scripts and hython: no questions, and each returns when it is done.

    hython -c "import hou; hou.hipFile.load('shot.hip'); from texture_recovery import scripting; \\
        scripting.export('/stage/OUT', '/jobs/teapot', object_path='/World/teapot')"

`train`, `import_recovered` and `compare` need no scene.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import hou

from texture_recovery import jobs, session
from texture_recovery.export_request import ExportRequest
from texture_recovery.pipeline_commands import JobFolder
from texture_recovery.render_color_space import render_color_space
from texture_recovery.stage_defaults import stage_defaults
from texture_recovery.stage_export import check_stage, finish_stage
from texture_recovery.stage_source import lop_at, write_stage
from texture_recovery.training_presets import knows_light
from usd_tools.console import setup_logging
from usd_tools.import_materials import import_run

log = logging.getLogger(__name__)


def export(
    node_path: str,
    folder: str | Path,
    *,
    object_path: str,
    cameras: str | Sequence[str] = (),
    frames: str | None = None,
    resolution: tuple[int, int] | None = None,
    samples: int | None = None,
    test_every: int = 8,
    color_space: str | None = None,
    ground_truth: bool = True,
) -> JobFolder:
    """Writes the stage of the LOP node, renders it with husk and converts it, all below `folder`.

    cameras: one prim path or several; none for a new turntable. frames: SPEC. frames, resolution, samples:
    None for what the stage tells, as on the shelf; of a new turntable, 64 frames, 512x512 and 128.
    color_space: of the renders; None for what Houdini is set to.

    Raises:
        UserError: in one line, what does not fit or failed.
    """
    setup_logging()
    training = session.training()
    node = lop_at(node_path)
    through = [cameras] if isinstance(cameras, str) else list(cameras)
    told = stage_defaults(node.stage(), through, hou.frame(), tuple(hou.playbar.frameRange()))
    request = ExportRequest(
        JobFolder(Path(folder).absolute()),
        object_path,
        through,
        frames or told.frames,
        resolution or told.resolution,
        samples or told.samples,
        test_every,
        color_space or render_color_space(session.environment()),
        ground_truth,
    )
    still = request.turntable is not None
    write_stage(node, request.folder.stage, [int(hou.frame())] if still else request.numbers)
    finish_stage(request)
    check_stage(request)
    jobs.remove_earlier_pictures(request.folder)
    jobs.export_job(request, training, session.environment()).run(log.info)
    return request.folder


def train(
    folder: str | Path, *, config: str | None = None, settings: Sequence[str] = (), device: str = "auto"
) -> Path:
    """Trains on the dataset below `folder`; returns the run folder.

    config: settings file of recon/configs, such as `cpu.yaml`, or a full path; None for the defaults, which
    want a GPU. settings: `KEY=VALUE`. A light that the dataset lacks is learnt, unless they tell of it.

    Raises:
        UserError: in one line, what failed.
    """
    setup_logging()
    place = JobFolder(Path(folder).absolute())
    training, values = session.training(), session.environment()
    if not knows_light(place.dataset) and not any(setting.startswith("light.") for setting in settings):
        settings = [*settings, "light.mode=learnt"]
    job = jobs.train_job(place, training, values, config=config, settings=settings, device=device)
    job.run(log.info)
    return place.run


def import_recovered(folder: str | Path) -> Path:
    """Writes the finished run as a layer over the exported stage; returns its path.

    Raises:
        UserError: the run is not finished.
    """
    place = JobFolder(Path(folder).absolute())
    import_run(place.run, place.recovered, place.stage)
    return place.recovered


def compare(folder: str | Path) -> Path:
    """Compares run and dataset below `folder`; returns the report's page.

    Raises:
        UserError: in one line, what failed.
    """
    setup_logging()
    place = JobFolder(Path(folder).absolute())
    jobs.compare_job(place, session.training(), session.environment()).run(log.info)
    return place.report / "index.html"
