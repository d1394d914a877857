"""The fine stage brings a surface that is wrong over wide regions to where its reflections belong."""

from __future__ import annotations

import torch

from recon.data.views import Views
from recon.geometry.mesh import Mesh, mesh_from_obj
from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.losses import BRANCH_LOSSES
from recon.material.channels import ChannelSettings
from recon.material.texture_maps import TextureMaps, initial_maps
from recon.objectives import SplitObjective
from recon.render.loss_routes import LossRoutes
from recon.render.render_views import render_views
from recon.stages.fine import FineSettings, fine_stage
from recon.stages.fine_scene import FineScene
from recon.stages.run_stage import TrainingSetup, run_stage
from tests.recon.geometry.spheres import degrees_off
from tests.recon.render.scenes import orbit_cameras
from tests.recon.stages.scenes import NO_PRIORS, NO_SMOOTHNESS, RASTERIZER
from tests.shapes import uv_sphere

ITERATIONS = 40


def studio() -> EnvironmentLight:
    """Dim surroundings with a few lamps."""
    generator = torch.Generator().manual_seed(1)
    probe = 0.1 + 0.1 * torch.rand(32, 64, 3, generator=generator)
    for row, column in torch.randint(4, 28, (14, 2), generator=generator).tolist():
        probe[row : row + 2, 2 * column : 2 * column + 3] = 6.0
    return EnvironmentLight.known(probe, 64)


def gloss() -> TextureMaps:
    settings = ChannelSettings(initial_roughness=0.15, initial_metallic=0.01)
    return TextureMaps(initial_maps(8, 8, settings), settings)


def sphere() -> Mesh:
    mesh = mesh_from_obj(uv_sphere(64, 96))
    return mesh.with_vertices(0.8 * mesh.vertices).with_smooth_normals()


def dented() -> Mesh:
    """The sphere with smooth dents, which turn its normals by some degrees."""
    mesh = sphere()
    dents = torch.sin(6.0 * mesh.vertices).prod(dim=1, keepdim=True)
    return mesh.with_vertices(mesh.vertices * (1.0 + 0.03 * dents)).with_smooth_normals()


def off(mesh: Mesh) -> float:
    return degrees_off(mesh.vertices, mesh.faces)


def problem(size: int) -> TrainingSetup:
    cameras = orbit_cameras(8, size, size)
    light, fg = studio(), fg_table()
    scene = FineScene(sphere(), gloss(), movable=False)
    with torch.no_grad():
        seen = render_views(scene, light.prefilter(), fg, cameras, RASTERIZER, routes=None)
    noise = 1.0 + 0.1 * torch.randn(seen.image_a.shape, generator=torch.Generator().manual_seed(7))
    pictures = torch.cat([seen.image_a * noise.clamp_min(0.0), seen.alpha[..., None]], dim=-1)
    views = Views(cameras, pictures, tuple(f"view_{i}" for i in range(8)))
    objective = SplitObjective(BRANCH_LOSSES["a"], BRANCH_LOSSES["b"], LossRoutes(geometry="A"))
    return TrainingSetup(views, light, fg, RASTERIZER, objective, batch=4, samples=1, seed=0)


def refined(setup: TrainingSetup, diffusion: int) -> float:
    """How far off normals are in the end, in degrees; the material is known."""
    scene = FineScene(dented(), gloss(), movable=True, diffusion=diffusion)
    rates = {"geometry": 0.0005, "a": 0.0, "b": 0.0, "light": 0.0}
    settings = FineSettings(ITERATIONS, rates, False, 0.0, NO_SMOOTHNESS, NO_PRIORS, 0.0)
    run_stage(fine_stage(scene, setup, settings), setup, lambda result: None)
    return off(scene.mesh().detach())


def test_vertices_that_move_together_find_their_way() -> None:
    """Each by itself, they follow the pictures' noise."""
    setup, before = problem(96), off(dented())
    assert before > 4.0
    assert refined(setup, 16) < 0.85 * before
    assert refined(setup, 0) > 0.95 * before


def test_pictures_grow_within_a_stage() -> None:
    setup, shown = problem(128), []
    scene = FineScene(sphere(), gloss(), movable=True)
    rates = {"geometry": 0.0005, "a": 0.0, "b": 0.0, "light": 0.0}
    settings = FineSettings(4, rates, False, 0.0, NO_SMOOTHNESS, NO_PRIORS, 0.0, growth=(0.25, 0.5))
    run_stage(fine_stage(scene, setup, settings), setup, lambda result: shown.append(result.reference.shape))
    assert [tuple(shape) for shape in shown] == [(4, 64, 64, 4)] * 2 + [(4, 128, 128, 4)] * 2
