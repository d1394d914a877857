"""Choosing a device and a backend."""

from __future__ import annotations

import logging

import pytest
import torch

from recon.backend import BACKENDS, DEVICES, choose_device, choose_rasterizer
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
    assert choose_device(name) == torch.device("cuda", 0)
    assert choose_device("cpu") == torch.device("cpu")


def test_cuda_without_a_gpu_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"--device cuda: .*--device cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(("name", "reason"), [("auto", "needs no compiler"), ("warp", "as asked")])
def test_warp_is_chosen_and_the_log_says_why(caplog, name, reason):
    with caplog.at_level(logging.INFO, "recon.backend"):
        rasterizer = choose_rasterizer(name, torch.device("cpu"))
    assert isinstance(rasterizer, WarpRasterizer) and rasterizer.name == "warp"
    assert "Warp on cpu" in caplog.text and reason in caplog.text
