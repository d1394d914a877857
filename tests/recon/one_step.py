"""One step of both stages: losses and gradients, by one process or by those that torchrun starts.

    python -m torch.distributed.run --nproc-per-node 2 -m tests.recon.one_step DATASET OUT DEVICE [ARGUMENTS]

ARGUMENTS are those of a run of `recon.train`, which follows in the same processes: starting them is what
takes long.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from recon import train
from recon.assemble import (
    coarse_settings,
    fine_settings,
    make_coarse_scene,
    make_fine_scene,
    make_known_field,
    make_setup,
)
from recon.backend import choose_backend, choose_device
from recon.config import load_config
from recon.data.dataset import load_views
from recon.stages.coarse import coarse_stage
from recon.stages.fine import fine_stage
from recon.stages.run_stage import StepResult, run_stage
from recon.workers import Workers
from tests.recon.small_dataset import TINY
from tests.recon.stages.scenes import sphere_mesh

# Jittered lookups are drawn by each process from what it sees: they agree on average only.
# The same holds for rays.
EXACT = {
    "regularizer.albedo_smoothness": 0,
    "regularizer.roughness_smoothness": 0,
    "regularizer.metallic_smoothness": 0,
    "light.mode": "learnt",
    "light.model": "split_sum",
}


def one_step(dataset: Path, device: torch.device, workers: Workers) -> dict[str, Tensor]:
    """Losses and gradients of the first iteration of either stage, by name."""
    settings = {**TINY, **EXACT, "train.batch": 4, "geometry.normal_smoothness": 0.1}
    config = load_config(None, [f"{key}={value}" for key, value in settings.items()])
    backend = choose_backend("auto", device)
    views = load_views(dataset, "train").to(device)
    found: dict[str, Tensor] = {}
    for name in ("coarse", "fine"):
        setup = make_setup(config, dataset, views, backend.rasterizer, device, workers)
        if name == "coarse":
            scene = make_coarse_scene(config, views, device, backend.networks)
            stage = coarse_stage(scene, setup.light, coarse_settings(config))
        else:
            mesh = sphere_mesh(device)
            field = make_known_field(config, mesh, views, backend.networks)
            scene = make_fine_scene(config, mesh, field, views, backend.rasterizer, movable=True)
            stage = fine_stage(scene, setup, fine_settings(config, scene))

        def keep(result: StepResult, stage_name: str = name) -> None:
            found.update({f"{stage_name} loss {key}": value for key, value in result.losses.items()})

        run_stage(replace(stage, iterations=1), setup, keep)
        for module in (scene, setup.light):
            for key, parameter in module.named_parameters():
                if parameter.grad is not None:
                    found[f"{name} {key}"] = parameter.grad
    return {key: value.detach().cpu().contiguous() for key, value in found.items()}


def main() -> None:
    dataset, out, device_name, *arguments = sys.argv[1:]
    workers = Workers.from_environment()
    device = choose_device(device_name, workers.local_rank)
    torch.manual_seed(workers.rank)  # what is drawn must not matter
    with workers.joined(device):
        found = one_step(Path(dataset), device, workers)
        if workers.leads:
            save_file({key: value.clone() for key, value in found.items()}, out)
        if arguments:
            train.main(arguments)


if __name__ == "__main__":
    main()
