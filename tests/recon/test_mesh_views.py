"""Views of a reference mesh: what they show, that they repeat, and training on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.mesh_views import ReferenceMesh
from recon.render.warp_backend import WarpRasterizer
from recon.stages.run_stage import ViewOrder
from recon.train import main
from tests.usd_tools.stages import write_scene
from usd_tools import usd_to_llff
from usd_tools.errors import UserError
from usd_tools.images import read_image, write_png

SIZE = 24


@pytest.fixture
def dataset(tmp_path) -> Path:
    """A sphere's ground truth alone: red, rough on one side, with maps of different sizes."""
    scene = write_scene(tmp_path / "scene")
    red = np.broadcast_to([0.8, 0.1, 0.1], (16, 16, 3))
    write_png(scene.textures / "albedo.png", red)
    write_png(
        scene.textures / "roughness.png", np.where(np.arange(32)[:, None] < 16, 0.2, 0.7) * np.ones((1, 32))
    )
    write_png(scene.textures / "metallic.png", np.zeros((8, 8)))
    write_png(scene.textures / "normal.png", np.broadcast_to([0.5, 0.5, 1.0], (8, 8, 3)))
    out = tmp_path / "dataset"
    usd_to_llff.main([str(scene.stage), "--ground-truth-only", "--out", str(out)])
    return out


def reference(dataset: Path, probe: torch.Tensor | None = None, **options: int) -> ReferenceMesh:
    probe = torch.ones(8, 16, 3) if probe is None else probe
    light = EnvironmentLight.known(probe, 16).prefilter()
    rasterizer = WarpRasterizer(torch.device("cpu"))
    return ReferenceMesh(dataset, light, fg_table(), rasterizer, **{"size": SIZE, **options})


def test_views_show_the_whole_object_as_it_is_painted(dataset):
    views = reference(dataset).views(5, seed=0)
    pictures = views.images[torch.arange(5)]
    assert pictures.shape == (5, SIZE, SIZE, 4)
    alpha = pictures[..., 3]
    border = torch.cat([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]])
    assert border.max() == 0.0
    # A sphere of which 1.1 times the radius would fill the angle of view of 45 degrees.
    share = np.tan(np.arcsin(np.sin(np.pi / 8) / 1.1)) / np.tan(np.pi / 8)
    assert alpha.mean(dim=(1, 2)).sub(np.pi / 4 * share**2).abs().max() < 0.04
    red, green, blue = pictures[alpha == 1.0][:, :3].mean(dim=0)
    assert red > 3 * green
    assert float(green) == pytest.approx(float(blue), rel=1e-3)
    # In a white room nothing is brighter than the room.
    assert 0.5 < float(red) < 1.0


def test_views_repeat_by_index_and_seed(dataset):
    mesh = reference(dataset, probe=torch.rand(8, 16, 3, generator=torch.Generator().manual_seed(0)))
    views = mesh.views(12, seed=3)
    some = torch.tensor([7, 2, 9])
    assert torch.equal(views.images[some], mesh.views(12, seed=3).images[some])
    assert torch.equal(views.images[some][1:], views.images[some[1:]])
    assert not torch.equal(views.images[some], mesh.views(12, seed=4).images[some])
    held_out = mesh.held_out(3)
    assert isinstance(held_out.images, torch.Tensor), "held-out pictures are there, for validation"
    cameras = torch.cat([views.cameras.camera_to_world, mesh.views(12, seed=4).cameras.camera_to_world])
    assert (cameras[:, None] - held_out.cameras.camera_to_world).abs().amax(dim=(2, 3)).min() > 1e-3


def test_every_iteration_sees_new_cameras():
    order = ViewOrder(6 * 4, 4, "0 coarse")
    drawn = torch.cat([order.views(iteration) for iteration in range(6)])
    assert len(drawn.unique()) == 24


def test_more_samples_give_smoother_silhouettes(dataset):
    one, four = (reference(dataset, samples=samples).held_out(2).images[..., 3] for samples in (1, 4))
    assert not torch.equal(one, four)
    assert (one - four).abs().max() < 0.6
    torch.testing.assert_close(one.mean(), four.mean(), atol=5e-3, rtol=0)


def test_a_dataset_without_truth_is_told(tmp_path):
    with pytest.raises(UserError, match=r"ground_truth/mesh\.obj.*data\.kind=views"):
        reference(tmp_path)


@pytest.mark.parametrize("known_mesh", [True, False])
def test_training_on_a_mesh(dataset, tmp_path, known_mesh):
    settings = {
        "data.kind": "mesh",
        "train.resolution": SIZE,
        "train.batch": 2,
        "train.coarse_iterations": 3,
        "train.fine_iterations": 150 if known_mesh else 3,
        "train.learning_rate_fine": 0.03,
        "geometry.grid": 8,
        "material.hash_levels": 2,
        "material.hash_table_log2": 8,
        "material.hash_finest": 32,
        "textures.resolution": 32,
        "light.resolution": 16,
    }
    if known_mesh:
        settings["geometry.mesh"] = dataset / "ground_truth/mesh.obj"
    run = tmp_path / "run"
    pairs = [f"{key}={value}" for key, value in settings.items()]
    main(["--data", str(dataset), "--out", str(run), "--device", "cpu", "--set", *pairs])
    figures = json.loads((run / "validation" / "metrics.json").read_text(encoding="utf-8"))
    assert len(figures["views"]) == 8
    if known_mesh:
        assert figures["mean"]["psnr"] > 28, "the model can explain its own renders"
        albedo = read_image(run / "mesh" / "albedo.png")
        assert np.abs(albedo.mean(axis=(0, 1)) - [0.8, 0.1, 0.1]).max() < 0.15
