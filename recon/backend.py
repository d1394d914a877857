"""Chooses where to compute and which rendering backend does it."""

from __future__ import annotations

import logging

import torch

from recon.render.interface import Rasterizer
from recon.render.warp_backend import WarpRasterizer
from usd_tools.errors import UserError

_LOG = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")
BACKENDS = ("auto", "warp", "nvdiffrast")


def choose_device(name: str) -> torch.device:
    """The device called `name` in `DEVICES`; "auto" takes CUDA where there is a GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch sees no NVIDIA GPU; use --device cpu, or install a CUDA build of torch"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


def choose_rasterizer(name: str, device: torch.device) -> Rasterizer:
    """The backend called `name` in `BACKENDS`, on `device`. Says in the log what was chosen and why."""
    if name == "nvdiffrast":
        raise UserError("--backend nvdiffrast: not available in this version; use --backend warp")
    reason = "as asked" if name == "warp" else "it needs no compiler and runs on every device"
    _LOG.info("rendering with Warp on %s (%s)", device, reason)
    return WarpRasterizer(device)
