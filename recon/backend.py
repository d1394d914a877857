"""Chooses where to compute, and which implementation renders and evaluates the material networks there."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass

import torch

from recon.material.encoded_network import EncodedNetwork, EncoderSettings, NetworkFactory
from recon.render.interface import Rasterizer
from recon.render.warp_backend import WarpRasterizer
from usd_tools.errors import UserError

_LOG = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")
BACKENDS = ("auto", "warp", "nvdiffrast")

_MODULES = {"nvdiffrast": "nvdiffrast.torch", "tinycudann": "tinycudann"}


@dataclass(frozen=True)
class Backend:
    """What a run computes with. networks: "warp" or "tinycudann", see `network_factory`."""

    rasterizer: Rasterizer
    networks: str

    @property
    def name(self) -> str:
        """Such as "warp" or "nvdiffrast + tinycudann": rasterizer first, networks second if they differ."""
        return " + ".join(dict.fromkeys((self.rasterizer.name, self.networks)))


def choose_device(name: str, index: int = 0) -> torch.device:
    """The device called `name` in `DEVICES`, GPU `index`; "auto" takes CUDA where there is a GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch sees no NVIDIA GPU; use --device cpu, or install a CUDA build of torch"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if index >= torch.cuda.device_count():
        raise UserError(
            f"process {index} has no GPU, there are {torch.cuda.device_count()}; start as many processes as "
            "GPUs (--nproc-per-node), or use --device cpu"
        )
    return torch.device("cuda", index)


def choose_backend(name: str, device: torch.device) -> Backend:
    """The backend called `name` in `BACKENDS`, on `device`. One line of the log says what was chosen and why.

    "auto" and "nvdiffrast" take tinycudann for the networks where it can be used; "nvdiffrast" insists on
    nvdiffrast, "auto" takes Warp where it cannot be used.

    Raises:
        UserError: nvdiffrast is asked for and cannot be used.
    """
    if name == "warp":
        _LOG.info("rendering and hash grids with Warp on %s (as asked)", device)
        return Backend(WarpRasterizer(device), "warp")
    obstacles = {package: obstacle(package, device) for package in _MODULES}
    if name == "nvdiffrast" and obstacles["nvdiffrast"] is not None:
        raise UserError(
            f"--backend nvdiffrast: {obstacles['nvdiffrast']}; use --backend warp, or see the README's "
            '"CUDA packages"'
        )
    rasterizer = _nvdiffrast(device) if obstacles["nvdiffrast"] is None else WarpRasterizer(device)
    networks = "tinycudann" if obstacles["tinycudann"] is None else "warp"
    reasons = "; ".join(dict.fromkeys(reason for reason in obstacles.values() if reason is not None))
    _LOG.info(
        "rendering with %s, hash grids with %s on %s (%s)",
        "nvdiffrast" if rasterizer.name == "nvdiffrast" else "Warp",
        "tinycudann" if networks == "tinycudann" else "Warp",
        device,
        reasons or "CUDA and both packages are there",
    )
    return Backend(rasterizer, networks)


def network_factory(networks: str, mixed_precision: bool) -> NetworkFactory:
    """What makes the material networks: "warp", or "tinycudann", fused in half precision where that is asked
    for and there is a fused kernel of that width."""
    if networks == "warp":
        return EncodedNetwork
    from recon.material.tcnn_network import FUSED_WIDTHS, FusedTcnnNetwork, TcnnNetwork

    def make(settings: EncoderSettings, outputs: int, generator: torch.Generator | None) -> torch.nn.Module:
        fused = mixed_precision and settings.width in FUSED_WIDTHS
        return (FusedTcnnNetwork if fused else TcnnNetwork)(settings, outputs, generator)

    return make


def _nvdiffrast(device: torch.device) -> Rasterizer:
    from recon.render.nvdiffrast_backend import NvdiffrastRasterizer

    return NvdiffrastRasterizer(device)


def obstacle(package: str, device: torch.device) -> str | None:
    """Why `package` cannot be used on `device`; None if it can."""
    if device.type != "cuda":
        return "nvdiffrast and tinycudann need a CUDA device"
    try:
        importlib.import_module(_MODULES[package])
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == package:
            return f"{package} is not installed"
        return f"{package} cannot be imported: {_one_line(error)}"
    except (ImportError, OSError, RuntimeError) as error:  # built for another torch, libstdc++ or GPU
        return f"{package} cannot be imported: {_one_line(error)}"
    return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
