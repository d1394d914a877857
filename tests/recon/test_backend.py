"""Choosing a device and a backend."""

from __future__ import annotations

import importlib
import logging

import pytest
import torch

import recon.backend as backend_module
from recon.backend import BACKENDS, DEVICES, choose_backend, choose_device
from recon.render.warp_backend import WarpRasterizer
from usd_tools.errors import UserError


def test_names_are_the_contract():
    assert DEVICES == ("auto", "cpu", "cuda") and BACKENDS == ("auto", "warp", "nvdiffrast")


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_without_a_gpu_the_cpu_is_taken(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(name) == torch.device("cpu")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_with_a_gpu_it_is_taken_by_number(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device(name) == torch.device("cuda", 0)
    assert choose_device(name, 1) == torch.device("cuda", 1)
    assert choose_device("cpu", 5) == torch.device("cpu")
    with pytest.raises(UserError, match=r"process 2 has no GPU, there are 2; .*--nproc-per-node"):
        choose_device(name, 2)


def test_cuda_without_a_gpu_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"--device cuda: .*--device cpu"):
        choose_device("cuda")


CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("name", "reason"), [("auto", "need a CUDA device"), ("nvdiffrast", None), ("warp", "as asked")]
)
def test_the_cpu_renders_with_warp_and_the_log_says_why(caplog, name, reason):
    if reason is None:
        with pytest.raises(UserError, match=r"--backend nvdiffrast: .*CUDA device; use --backend warp"):
            choose_backend(name, torch.device("cpu"))
        return
    with caplog.at_level(logging.INFO, "recon.backend"):
        backend = choose_backend(name, torch.device("cpu"))
    assert isinstance(backend.rasterizer, WarpRasterizer)
    assert (backend.networks, backend.name) == ("warp", "warp")
    assert len(caplog.records) == 1 and "Warp on cpu" in caplog.text and reason in caplog.text


@pytest.fixture
def packages(monkeypatch):
    """Pretends that packages are importable, absent or broken, wherever the test runs."""

    class Rasterizer:
        name = "nvdiffrast"

    def install(**state: Exception | None) -> None:
        modules = {"nvdiffrast.torch": "nvdiffrast", "tinycudann": "tinycudann"}
        real = importlib.import_module

        def import_module(name: str) -> object:
            if name not in modules:
                return real(name)
            package = modules[name]
            error = state.get(package, ModuleNotFoundError(f"No module named '{package}'", name=package))
            if error is not None:
                raise error
            return object()

        monkeypatch.setattr(backend_module.importlib, "import_module", import_module)
        monkeypatch.setattr(backend_module, "_nvdiffrast", lambda device: Rasterizer())

    return install


@pytest.mark.parametrize(
    ("state", "name", "told"),
    [
        ({"nvdiffrast": None, "tinycudann": None}, "nvdiffrast + tinycudann", "both packages are there"),
        ({"nvdiffrast": None}, "nvdiffrast + warp", "tinycudann is not installed"),
        ({"tinycudann": None}, "warp + tinycudann", "nvdiffrast is not installed"),
        ({}, "warp", "nvdiffrast is not installed; tinycudann is not installed"),
        (
            {"nvdiffrast": ImportError("undefined symbol:\n _ZN3c10"), "tinycudann": OSError("no sm_90")},
            "warp",
            "cannot be imported: undefined symbol: _ZN3c10; tinycudann cannot be imported: no sm_90",
        ),
    ],
)
def test_auto_takes_what_is_there_and_one_line_says_why(caplog, packages, state, name, told):
    packages(**state)
    with caplog.at_level(logging.INFO, "recon.backend"):
        backend = choose_backend("auto", CUDA)
    assert backend.name == name
    assert len(caplog.records) == 1 and told in caplog.text and "cuda:0" in caplog.text


def test_a_dependency_that_a_package_lacks_is_named(caplog, packages):
    packages(nvdiffrast=ModuleNotFoundError("No module named 'nvdiffrast_plugin'", name="nvdiffrast_plugin"))
    with caplog.at_level(logging.INFO, "recon.backend"):
        assert choose_backend("auto", CUDA).name == "warp"
    assert "nvdiffrast cannot be imported: No module named 'nvdiffrast_plugin'" in caplog.text


def test_nvdiffrast_as_asked_needs_no_tinycudann_but_itself(packages):
    packages(nvdiffrast=None)
    assert choose_backend("nvdiffrast", CUDA).name == "nvdiffrast + warp"
    packages(tinycudann=None)
    with pytest.raises(UserError, match=r"--backend nvdiffrast: nvdiffrast is not installed; .*README"):
        choose_backend("nvdiffrast", CUDA)


def test_warp_as_asked_ignores_what_is_installed(packages):
    packages(nvdiffrast=None, tinycudann=None)
    assert choose_backend("warp", torch.device("cpu")).name == "warp"
