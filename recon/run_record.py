"""run.json: what a run was made with, how long it took and how much memory it needed."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from recon.run_folder import write_json

_PACKAGES = (
    "separate-and-specialize", "torch", "numpy", "warp-lang", "nvdiffrast", "tinycudann", "xatlas",
    "usd-core", "OpenEXR", "safetensors",
)  # fmt: skip


class RunRecord:
    """Collects the figures of a run and rewrites `path` at the end of each stage.

    A resumed run adds to what the earlier one spent; the peak of memory is the larger of both.
    """

    def __init__(self, path: Path, device: torch.device, backend: str) -> None:
        self._path = path
        self._device = device
        earlier = _read(path)
        self._stages: dict[str, dict[str, Any]] = earlier.get("stages", {})
        self._earlier_peak: dict[str, Any] = earlier.get("peak_memory_bytes", {})
        self._about = {
            "versions": package_versions(),
            "device": device_description(device),
            "backend": backend,
        }

    @contextmanager
    def stage(self, name: str, iterations: int | None = None) -> Iterator[None]:
        """Times the body; `iterations` is how many optimization steps it is going to do, if it does any.

        What an interrupted body spent is kept as well, without its iterations.
        """
        start = time.perf_counter()
        completed = False
        try:
            yield
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            completed = True
        finally:
            self._add(name, time.perf_counter() - start, iterations if completed else None)
            self.write()

    def write(self) -> None:
        peaks = peak_memory(self._device)
        for kind, earlier in self._earlier_peak.items():
            peaks[kind] = max(peaks.get(kind) or 0, earlier or 0) or None
        write_json(self._path, {**self._about, "stages": self._stages, "peak_memory_bytes": peaks})

    def _add(self, name: str, seconds: float, iterations: int | None) -> None:
        entry = self._stages.setdefault(name, {"seconds": 0.0})
        entry["seconds"] += seconds
        if iterations:
            entry["timed_iterations"] = entry.get("timed_iterations", 0) + iterations
            entry["timed_seconds"] = entry.get("timed_seconds", 0.0) + seconds
            entry["seconds_per_iteration"] = entry["timed_seconds"] / entry["timed_iterations"]


def package_versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that shape the result; absent ones are left out."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def device_description(device: torch.device) -> str:
    """Such as "cpu, 8 threads" or "cuda:0, NVIDIA H200"."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads"


def peak_memory(device: torch.device) -> dict[str, int | None]:
    """Most bytes used so far: `main` by this process, `device` allocated by torch (CUDA only)."""
    peaks: dict[str, int | None] = {"main": _peak_main_memory()}
    if device.type == "cuda":
        peaks["device"] = torch.cuda.max_memory_allocated(device)
    return peaks


def _peak_main_memory() -> int | None:
    if sys.platform == "win32":
        return _peak_working_set()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _peak_working_set() -> int | None:
    """Windows: PeakWorkingSetSize of PROCESS_MEMORY_COUNTERS."""
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD),
            ("page_fault_count", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in (
                "peak_working_set", "working_set", "peak_paged_pool", "paged_pool", "peak_nonpaged_pool",
                "nonpaged_pool", "pagefile", "peak_pagefile",
            )),
        )  # fmt: skip

    counters = Counters(cb=ctypes.sizeof(Counters))
    query = ctypes.windll.kernel32.K32GetProcessMemoryInfo
    query.argtypes = (wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD)
    process = ctypes.windll.kernel32.GetCurrentProcess
    process.restype = wintypes.HANDLE
    return counters.peak_working_set if query(process(), ctypes.byref(counters), counters.cb) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
