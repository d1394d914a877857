"""How this project uses NVIDIA Warp: quiet start-up, and launches that use every CPU core.

Warp runs a CPU launch on one core. `launch` cuts the index range into one slice per torch thread; Warp
releases the GIL inside a launch, so the slices run side by side.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
import warp as wp

from recon.warp_command import launch_command, record_command

wp.config.log_level = 40  # errors only; the driver warning on machines without CUDA is native, and stays
wp.init()

# Every module that defines kernels at import, for `compile_kernels`.
KERNEL_MODULES = (
    "recon.fused_jitter",
    "recon.fused_losses",
    "recon.geometry.diffusion",
    "recon.geometry.fused_normals",
    "recon.geometry.fused_smoothness",
    "recon.geometry.fused_tets",
    "recon.light.cubemap",
    "recon.light.prefilter",
    "recon.render.warp_kernels.barycentrics",
    "recon.render.warp_kernels.blending",
    "recon.render.warp_kernels.edges",
    "recon.render.warp_kernels.interpolation",
    "recon.render.warp_kernels.normal_variance",
    "recon.render.warp_kernels.occlusion",
    "recon.render.warp_kernels.pixel_choice",
    "recon.render.warp_kernels.shading",
    "recon.render.warp_kernels.silhouettes",
    "recon.render.warp_kernels.texture_lookup",
    "recon.render.warp_kernels.visibility",
)

# Below this many indices a slice costs more to hand over than to run.
_MIN_SLICE = 2048


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="warp-cpu")


def warp_device(device: torch.device | str) -> wp.Device:
    """Warp's name for a torch device; "cuda" without a number is torch's current one, which Warp refuses."""
    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return _warp_device(device)


@lru_cache(maxsize=64)
def _warp_device(device: torch.device) -> wp.Device:
    return wp.device_from_torch(device)


def launch(
    kernel: wp.Kernel,
    count: int,
    inputs: Sequence[Any],
    device: torch.device | str,
    *,
    parallel: bool = True,
    together: int = 1,
) -> None:
    """Launches `kernel` over `count` indices on `device`.

    The kernel's first argument is `start: int`, and its index is `start + wp.tid()`; `inputs` are the
    arguments after it: numbers, `wp.array`s, or torch tensors (passed as they are, without a copy).

    `parallel=False` keeps a CPU launch on one core: needed where indices add into the same output, since
    Warp's CPU atomics assume one thread (and the order of float additions would vary). `together`: so many
    neighboring indices, of which `count` is a multiple, stay on one core: enough where only they do so.
    """
    if count <= 0:
        return
    target = warp_device(device)
    if not target.is_cpu:
        launch_command(kernel, 0, count, inputs, target, torch_stream(device))
        return
    groups = count // together
    slices = min(torch.get_num_threads(), max(1, count // _MIN_SLICE), groups) if parallel else 1
    bounds = [together * (groups * i // slices) for i in range(slices + 1)]

    def run(i: int) -> None:
        launch_command(kernel, bounds[i], bounds[i + 1] - bounds[i], inputs, target, None)

    # The first launch loads (perhaps compiles) and links the kernel, so it must not race with the others.
    record_command(kernel, inputs, target)
    others = [_pool().submit(run, i) for i in range(1, slices)]
    run(0)
    for other in others:
        other.result()


def stream_scope(device: torch.device | str) -> AbstractContextManager[Any]:
    """Makes Warp's own work on `device` (building a BVH, say) run in order with torch's current stream."""
    target = torch.device(device)
    if target.type != "cuda":
        return nullcontext()
    return wp.ScopedStream(torch_stream(target))


def torch_stream(device: torch.device | str) -> wp.Stream:
    """Torch's current stream on a CUDA device, as Warp's."""
    return _warp_stream(torch.cuda.current_stream(device))


@lru_cache(maxsize=64)
def _warp_stream(stream: torch.cuda.Stream) -> wp.Stream:
    return wp.stream_from_torch(stream)  # which registers it with Warp's runtime: worth doing once


def compile_kernels(device: torch.device | str, kernels: Iterable[wp.Kernel] = ()) -> float:
    """Loads all kernels for `device`, compiling those that Warp's cache lacks; returns the seconds spent.

    Without it each module compiles at its first launch, in the middle of whatever is being timed.
    kernels: further ones to load, for kernels that are generated for given settings.
    """
    begin = time.perf_counter()
    modules = [wp.get_module(importlib.import_module(name).__name__) for name in KERNEL_MODULES]
    modules += [kernel.module for kernel in kernels]
    wp.force_load(warp_device(device), modules, max_workers=torch.get_num_threads())
    return time.perf_counter() - begin
