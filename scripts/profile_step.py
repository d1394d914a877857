"""Where the time of a training step goes: part, milliseconds, share, and what it could cost at best.

    python scripts/profile_step.py --data DATASET [--stage coarse fine] [--set KEY=VALUE ...]

Parts are functions that this script wraps from outside, so a run that is not profiled pays nothing. A
backward operation belongs to the part whose forward operation it differentiates. On CUDA times are those of
the GPU's kernels, and "waiting" is when it had none to run; on the CPU they are the operations' own times.

A step that training captures as a CUDA graph is launched here kernel by kernel, since a replayed graph does
not tell its parts apart; what the captured one takes stands in a line of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function
from training_steps import Problem, Problems, milliseconds_per_step

import recon.render.render_pixels as render_pixels
import recon.render.render_views as render_views
from recon.backend import BACKENDS, DEVICES, choose_backend, choose_device
from recon.config import Config, load_config
from recon.material.texture_maps import TextureMaps
from recon.run_record import device_description
from recon.stages.coarse_scene import CoarseScene
from recon.stages.run_stage import StepResult, pixels_per_step, run_stage
from recon.warp_runtime import compile_kernels
from usd_tools.console import setup_logging
from usd_tools.errors import run_command
from usd_tools.files import atomic_file

SURFACE, RASTER, MATERIAL = "surface", "rasterize, interpolate, antialias", "material"
OCCLUSION = "occlusion"
PARTS = (
    SURFACE,
    RASTER,
    MATERIAL,
    OCCLUSION,
    "shading",
    "light",
    "losses",
    "regularizers",
    "optimizer",
    "rest",
)
_PREFIX = "part: "


@dataclass(frozen=True)
class Floor:
    """What a part costs on an NVIDIA H200 at best: `milliseconds` at `sizes` (see `sizes_of`)."""

    sizes: tuple[float, ...]
    milliseconds: tuple[float, ...]

    def at(self, size: float) -> float:
        """Between the measured sizes and below them linear, above them as steep as at the end."""
        x, y = np.array([0.0, *self.sizes]), np.array([0.0, *self.milliseconds])
        if size > x[-1]:
            return float(y[-1] * size / x[-1])
        return float(np.interp(size, x, y))


# Measured on an NVIDIA H200 with torch 2.11, CUDA 13, nvdiffrast 0.4.0 and tiny-cuda-nn 2.0, forward and
# backward. Material: points times levels of a hash grid, two features, with a 2x32 MLP: tiny-cuda-nn's
# encoding with torch's MLP took 3.0 ms for 16 levels at 0.5 million points and 15 ms at 2.1 million. Raster:
# nvdiffrast took 0.86 ms for 8 views of 512x512 with 65 thousand triangles.
FLOORS = {
    MATERIAL: Floor((16 * 0.5e6, 16 * 2.1e6), (3.0, 15.0)),
    RASTER: Floor((8 * 512.0 * 512.0,), (0.86,)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="profile_step.py", description="Where a training step's time goes.")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as for recon.train")
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument(
        "--set", dest="overrides", metavar="KEY=VALUE", action="extend", nargs="+", default=[]
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--stage", choices=("coarse", "fine"), nargs="+", default=["coarse", "fine"])
    parser.add_argument("--warm-up", type=int, default=20, help="steps before measuring (%(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps to average (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write the tables to as well")
    options = parser.parse_args(arguments)

    device = choose_device(options.device)
    backend = choose_backend(options.backend, device)
    config = load_config(options.config, options.overrides)
    compile_kernels(device)
    problems = Problems(options.data, device)
    tables = {}
    for stage in options.stage:
        make = partial(getattr(problems, stage), config, backend, options.warm_up + options.steps)
        captured = captured_milliseconds(make(), options.warm_up, device)
        lookups = lookups_per_pixel(config, stage)
        table = profile_problem(make(), lookups, options.warm_up, options.steps, device)
        tables[stage] = table | {"captured_step_ms": captured}
        print(f"\n{stage}, {config.material.model}, {backend.name}, {device_description(device)}")
        print(table_text(tables[stage]), flush=True)
    if options.out is not None:
        content = {"device": device_description(device), "backend": backend.name, "stages": tables}
        with atomic_file(options.out) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def captured_milliseconds(problem: Problem, warm_up: int, device: torch.device) -> float | None:
    """The median step where training captures it, in milliseconds; None where it does not."""
    if device.type != "cuda" or pixels_per_step(problem.stage, problem.setup) == 0:
        return None
    return statistics.median(milliseconds_per_step(problem, warm_up, device))


def profile_problem(
    problem: Problem, lookups: float, warm_up: int, steps: int, device: torch.device
) -> dict[str, Any]:
    """Milliseconds per step by part, forward and backward, with floors, and the step's wall time.

    lookups: as of `lookups_per_pixel`.
    """
    sizes: dict[str, float] = {}
    problem = with_named_parts(problem)
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if device.type == "cuda" else []
    recorder = profile(activities=activities)
    clock = {"start": 0.0}

    def on_step(result: StepResult) -> None:
        if result.iteration + 1 == warm_up:
            synchronize(device)
            recorder.start()
            clock["start"] = time.perf_counter()
        elif result.iteration + 1 == warm_up + steps:
            synchronize(device)
            clock["seconds"] = time.perf_counter() - clock["start"]
            recorder.stop()
            sizes.update(sizes_of(result, lookups))

    run_stage(problem.stage, problem.setup, on_step)
    return tabulate(list(recorder.events()), steps, 1000 * clock["seconds"] / steps, sizes, device)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def sizes_of(result: StepResult, lookups: float) -> dict[str, float]:
    """What the floors are measured by: looked-up points times levels, and pixels."""
    raster = result.rendered.raster
    pixels = len(raster.cameras) * raster.cameras.height * raster.cameras.width
    sizes = {RASTER: float(pixels)}
    return sizes | ({MATERIAL: lookups * len(raster.pixels)} if lookups > 0 else {})


def lookups_per_pixel(config: Config, stage: str) -> float:
    """Levels of hash grids that the coarse stage evaluates per covered pixel, the regularizers' included."""
    if stage != "coarse":
        return 0.0
    branches = ("a", "b") if config.material.model == "split" else (None,)
    levels = sum(config.material.encoder(branch).hash_levels for branch in branches)
    weights = config.regularizer
    again = max(weights.albedo_smoothness, weights.roughness_smoothness, weights.metallic_smoothness) > 0
    return levels * (1.0 + (weights.subset if again else 0.0))


def with_named_parts(problem: Problem) -> Problem:
    """`problem` with its parts' functions wrapped into ranges that the profiler sees."""
    setup, stage, scene = problem.setup, problem.stage, problem.scene
    rasterizer = setup.rasterizer
    for name in ("rasterize", "visible", "interpolate", "uv_footprint", "antialias"):
        wrap(rasterizer, name, RASTER)
    for name in ("raster_of", "interpolate", "antialias"):
        wrap(setup.of_pixels, name, RASTER)
    wrap(render_pixels, "choose_pixels", RASTER)
    wrap(scene, "mesh", SURFACE)
    if isinstance(scene, CoarseScene):
        wrap(scene.field, "sample", MATERIAL)
    else:
        wrap(rasterizer, "texture", MATERIAL)
        wrap(scene.material, "pyramid" if isinstance(scene.material, TextureMaps) else "sample", MATERIAL)
        if scene.occlusion is not None:
            wrap(setup, "trace_occlusion", OCCLUSION)
            wrap(scene.occlusion, "forward", OCCLUSION)
            wrap(scene.occlusion, "follow", OCCLUSION)
    for module in (render_views, render_pixels):
        wrap(module, "fused_shade", "shading")
    wrap(setup, "prefiltered_light", "light")
    for name in ("step", "set_rates", "step_at_set_rates", "zero_grad"):
        wrap(stage.optimizers, name, "optimizer")
    setup.objective = _Named(setup.objective, "losses")  # type: ignore[assignment]
    return replace(
        problem,
        stage=replace(
            stage,
            regularize=named(stage.regularize, "regularizers"),
            after_step=named(stage.after_step, "optimizer"),
            captured=False,
        ),
    )


class _Named:
    """An objective whose calls are named ranges."""

    def __init__(self, objective: Any, part: str) -> None:
        self.routes = objective.routes
        self.of_pixels = named(objective.of_pixels, part)
        self._call = named(objective, part)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


def wrap(owner: Any, name: str, part: str) -> None:
    function = getattr(owner, name)
    if not getattr(function, "is_named_part", False):
        setattr(owner, name, named(function, part))


def named(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    def inside(*arguments: Any, **keywords: Any) -> Any:
        with record_function(_PREFIX + part):
            return function(*arguments, **keywords)

    inside.is_named_part = True  # type: ignore[attr-defined]
    return inside


def tabulate(
    events: list[FunctionEvent], steps: int, wall: float, sizes: dict[str, float], device: torch.device
) -> dict[str, Any]:
    on_cuda = device.type == "cuda"
    spent = {place: time / 1000.0 / steps for place, time in microseconds(events, on_cuda).items()}
    busy = sum(spent.values())
    rows = []
    for part in PARTS:
        forward, backward = spent.get((part, "forward"), 0.0), spent.get((part, "backward"), 0.0)
        known = on_cuda and part in FLOORS and part in sizes
        floor = FLOORS[part].at(sizes[part]) if known else None
        rows.append({"part": part, "forward_ms": forward, "backward_ms": backward, "floor_ms": floor})
    waiting = max(wall - busy, 0.0) if on_cuda else 0.0
    return {"parts": rows, "waiting_ms": waiting, "step_ms": wall, "sizes": sizes}


def microseconds(events: list[FunctionEvent], on_cuda: bool) -> dict[tuple[str, str], float]:
    """Time by (part, "forward" or "backward"): of kernels on CUDA, else of the operations themselves."""
    forward_part = parts_by_sequence(events)
    spent: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        if event.device_type == DeviceType.CPU:
            own = event.self_device_time_total if on_cuda else event.self_cpu_time_total
            spent[part_of(event, forward_part)] += max(own, 0.0)
    if on_cuda:
        kernels = [e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation]
        for part, time in launched_by_others(kernels, events):
            spent[part, "forward"] += time
        total = sum(kernel.time_range.elapsed_us() for kernel in kernels)
        spent["rest", "forward"] += max(total - sum(spent.values()), 0.0)
    return spent


def launched_by_others(
    kernels: list[FunctionEvent], events: list[FunctionEvent]
) -> Iterator[tuple[str, float]]:
    """(part, time) of kernels that no torch operation launched, such as Warp's outside of autograd functions.

    The profiler knows when they were launched; the innermost part that was running then is theirs.
    """
    launches = {e.id: e for e in events if e.device_type == DeviceType.CPU and e.name.startswith("cu")}
    ranges = [e for e in events if e.device_type == DeviceType.CPU and e.name.startswith(_PREFIX)]
    for kernel in kernels:
        launch = launches.get(kernel.id)
        # Older torch does not tell which kernels these are; what is left over then counts as "rest".
        if launch is None or getattr(kernel, "linked_correlation_id", 1) != 0:
            continue
        at = launch.time_range.start
        around = [r for r in ranges if r.time_range.start <= at <= r.time_range.end]
        innermost = max(around, key=lambda r: r.time_range.start, default=None)
        part = "rest" if innermost is None else innermost.name.removeprefix(_PREFIX)
        yield part, kernel.time_range.elapsed_us()


def parts_by_sequence(events: list[FunctionEvent]) -> dict[int, str]:
    """The part of every forward operation that autograd recorded, by the number its backward has as well."""
    found = {}
    for event in events:
        if event.sequence_nr >= 0 and not is_backward(event):
            part = enclosing_part(event)
            if part is not None:
                found[event.sequence_nr] = part
    return found


def part_of(event: FunctionEvent, forward_part: dict[int, str]) -> tuple[str, str]:
    """(part, "forward" or "backward") of an operation, by what encloses it."""
    at: FunctionEvent | None = event
    while at is not None:
        if at.name.startswith(_PREFIX):
            return at.name.removeprefix(_PREFIX), "forward"
        if is_backward(at):
            return forward_part.get(at.sequence_nr, "rest"), "backward"
        at = at.cpu_parent
    return "rest", "forward"


def is_backward(event: FunctionEvent) -> bool:
    return event.name.startswith("autograd::engine::evaluate_function")


def enclosing_part(event: FunctionEvent) -> str | None:
    at: FunctionEvent | None = event
    while at is not None:
        if is_backward(at):
            return None
        if at.name.startswith(_PREFIX):
            return at.name.removeprefix(_PREFIX)
        at = at.cpu_parent
    return None


def table_text(table: dict[str, Any]) -> str:
    step = table["step_ms"]
    lines = [
        "| part | forward, ms | backward, ms | together, ms | share | floor, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["parts"]:
        total = row["forward_ms"] + row["backward_ms"]
        floor = "" if row["floor_ms"] is None else f"{row['floor_ms']:.2f}"
        lines.append(
            f"| {row['part']} | {row['forward_ms']:.2f} | {row['backward_ms']:.2f} | {total:.2f} | "
            f"{total / step:.0%} | {floor} |"
        )
    lines.append(f"| waiting | | | {table['waiting_ms']:.2f} | {table['waiting_ms'] / step:.0%} | |")
    captured = table["captured_step_ms"]
    lines.append(f"| step{'' if captured is None else ', one by one'} | | | {step:.2f} | 100% | |")
    if captured is not None:
        lines.append(f"| step, captured as a CUDA graph | | | {captured:.2f} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    setup_logging()
    run_command(main)
