"""The Warp backend gives on a GPU what it gives on the CPU, which the other tests hold to its twins."""

from __future__ import annotations

import pytest
import torch
import warp as wp
from torch import Tensor

from recon.render.mipmaps import build_mips
from recon.render.warp_backend import WarpRasterizer
from recon.warp_runtime import compile_kernels
from tests.recon.render.scenes import orbit_cameras, random_like, sphere

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(not wp.is_cpu_available(), reason="this build of Warp compiles nothing for the CPU"),
]


def render(device: str) -> dict[str, Tensor]:
    """Every operation once, with all gradients of a weighted sum; results on the CPU."""
    rasterizer = WarpRasterizer(device)
    points, triangles = sphere(20, 30)
    vertices, faces = points.to(device).requires_grad_(), triangles.to(device)
    cameras = orbit_cameras(2, 64, 48).to(device)
    uvs = random_like((len(points), 2), seed=1).to(device).requires_grad_()
    texture = random_like((32, 32, 3), seed=2).to(device).requires_grad_()
    results = {}
    for step, scale in enumerate((1.0, 0.8)):  # the second call refits the tree
        raster = rasterizer.rasterize(vertices * scale, faces, cameras)
        uv = rasterizer.interpolate(uvs, raster, faces)
        footprint = rasterizer.uv_footprint(uvs, raster, faces)
        color = rasterizer.texture(build_mips(texture), uv, footprint)
        image = rasterizer.antialias(raster.scatter(color), raster)
        weight = random_like(tuple(image.shape), seed=3).to(device)
        gradients = torch.autograd.grad((image * weight).sum(), (vertices, uvs, texture))
        named = zip(("vertices", "uvs", "texture"), gradients)
        results |= {f"d {name} {step}": gradient for name, gradient in named}
        results |= {f"pixels {step}": raster.pixels, f"image {step}": image.detach()}
    return {name: tensor.cpu() for name, tensor in results.items()}


def test_cuda_agrees_with_the_cpu() -> None:
    assert compile_kernels("cuda") >= 0
    on_cpu, on_cuda = render("cpu"), render("cuda")
    for name, expected in on_cpu.items():
        scale = expected.abs().max()
        assert scale > 0
        # Sums run in another order and products are fused; measured on an H200: 5e-6 at most.
        assert torch.allclose(on_cuda[name], expected, atol=1e-4 * float(scale)), name
