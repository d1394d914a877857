"""Searching materials by linear fits: what made the colors is found, from all sides and without a start."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.light.cubemap import lookup
from recon.light.environment import EnvironmentLight, PrefilteredLight
from recon.light.fg_table import fg_table
from recon.material import reflectance_fit
from recon.material.reflectance_fit import ROUGHNESSES, CellMaterials, Observations, fit_reflectance
from recon.render.shade import shade

# albedo, roughness, metallic
MATERIALS = {
    "black gloss": ((0.01, 0.01, 0.01), 0.08, 0.0),
    "red paint": ((0.6, 0.05, 0.03), 0.48, 0.0),
    "chalk": ((0.8, 0.8, 0.8), 0.95, 0.0),
    "gold": ((0.9, 0.6, 0.2), 0.15, 1.0),
    "dull grey metal": ((0.25, 0.25, 0.25), 0.62, 1.0),
}


def room(rows: int, lamp: float) -> PrefilteredLight:
    """Dim surroundings with a few lamps of that radiance, two of the probe's rows high, as studios are."""
    generator = torch.Generator().manual_seed(1)
    probe = 0.2 * torch.rand(rows, 2 * rows, 3, generator=generator)
    for row, column in torch.randint(rows // 8, rows - rows // 8, (12, 2), generator=generator).tolist():
        probe[row : row + 2, 2 * column : 2 * column + 3] = lamp
    return EnvironmentLight.known(probe, rows).prefilter()


@pytest.fixture(scope="module")
def light():
    return room(32, 8.0)


@pytest.fixture(scope="module")
def lamps():
    """Small and strong ones, as under a hall's ceiling."""
    return room(64, 30.0)


def turned(seen: Observations, degrees: float, seed: int) -> Observations:
    """As though the surface were thought to face another way, by about so many degrees."""
    generator = torch.Generator().manual_seed(seed)
    offset = math.radians(degrees) * torch.randn(1, 3, generator=generator) / 2**0.5
    to_camera = 2.0 * seen.n_dot_v * seen.normal - seen.reflected
    normal = normalize(seen.normal + offset, dim=1)
    n_dot_v = (normal * to_camera).sum(dim=1, keepdim=True).clamp_min(0.01)
    return replace(seen, normal=normal, n_dot_v=n_dot_v, reflected=2.0 * n_dot_v * normal - to_camera)


def observed(material, light, place: float = 0.0, count: int = 60, noise: float = 0.0) -> Observations:
    """One spot with a curved surface, seen from above by `count` pixels."""
    albedo, roughness, metallic = material
    generator = torch.Generator().manual_seed(5)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    normal = normalize(torch.tensor([0.0, 0.0, 1.0]) + 0.2 * (random(count, 3) - 0.5), dim=1)
    to_camera = normalize(torch.cat([2.0 * random(count, 2) - 1.0, 0.5 + random(count, 1)], dim=1), dim=1)
    n_dot_v = (normal * to_camera).sum(dim=1, keepdim=True)
    variance = 1e-4 * random(count, 1)
    one = torch.ones(count, 1)
    color = shade(
        torch.tensor(albedo).expand(count, 3),
        normal,
        roughness * one,
        metallic * one,
        one,
        to_camera,
        light,
        fg_table(),
        variance=variance,
    )
    color = color * (1.0 + noise * torch.randn(count, 3, generator=generator))
    position = torch.tensor([place, 0.0, 0.0]) + 0.01 * random(count, 3)
    irradiance = lookup((light.diffuse,), normal)
    reflected = 2.0 * n_dot_v * normal - to_camera
    return Observations(
        position, color, irradiance, n_dot_v, normal, reflected, variance, torch.zeros(count, 0, 3), one
    )


def _rows(seen: Observations, rows: slice | Tensor) -> Observations:
    return Observations(*(values[rows] for values in vars(seen).values()))


def fitted(batches, light) -> CellMaterials:
    return fit_reflectance(batches, light, fg_table(), 0.1)


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("name", MATERIALS)
def test_finds_what_made_the_colors(name, noise, light):
    albedo, roughness, metallic = MATERIALS[name]
    found = fitted([observed(MATERIALS[name], light, noise=noise)], light)
    assert len(found.position) == 1
    assert found.metallic.item() == metallic
    assert ROUGHNESSES.index(round(found.roughness.item(), 4)) == pytest.approx(
        ROUGHNESSES.index(roughness), abs=0 if noise == 0.0 else 1
    )
    torch.testing.assert_close(found.albedo[0], torch.tensor(albedo), atol=1e-4 + 0.4 * noise, rtol=0.0)


@pytest.mark.parametrize("name", ["black gloss", "gold"])
def test_gloss_is_found_though_reflections_are_beside_their_place(name, lamps, monkeypatch):
    """By normals that are two degrees off. Errors relative to what dark pixels show would call it dull."""

    def roughness_error() -> float:
        seen = observed(MATERIALS[name], lamps, count=200)
        found = [fitted([turned(seen, 2.0, seed)], lamps).roughness.item() for seed in range(100, 112)]
        return sum(abs(roughness - MATERIALS[name][1]) for roughness in found) / len(found)

    ours = roughness_error()
    monkeypatch.setattr(reflectance_fit, "_DARK", 0.05)
    relative = roughness_error()
    assert ours < 0.06 and relative > 2.0 * ours


def test_cells_are_told_apart_and_batches_put_together(light):
    materials = [MATERIALS[name] for name in ("gold", "chalk", "black gloss")]
    whole = [observed(material, light, place=float(i)) for i, material in enumerate(materials)]
    halves = [_rows(seen, half) for seen in whole for half in (slice(0, 30), slice(30, None))]
    found = fitted(halves, light)
    order = found.position[:, 0].argsort()
    assert found.metallic[order, 0].tolist() == [1.0, 0.0, 0.0]
    assert found.roughness[order, 0].tolist() == pytest.approx([0.15, 0.95, 0.08])
    expected = torch.stack([seen.position.mean(dim=0) for seen in whole])
    torch.testing.assert_close(found.position[order], expected, atol=1e-5, rtol=0.0)


def test_a_cell_that_one_pixel_shows_follows_its_neighbors(light):
    """Any roughness would explain one color."""
    red = observed(MATERIALS["red paint"], light)
    single = _rows(red, slice(1))
    single = replace(single, position=single.position + torch.tensor([0.14, 0.0, 0.0]))
    found = fit_reflectance([red, single], light, fg_table(), 0.1)
    assert len(found.position) == 2
    assert found.roughness[:, 0].tolist() == pytest.approx([0.48, 0.48])
    assert found.metallic[:, 0].tolist() == [0.0, 0.0]


def test_what_the_object_reflects_of_itself_belongs_to_the_model(light):
    """Lobes that half of the pixels' light is kept from look dull, unless that is known."""
    seen = observed(MATERIALS["gold"], light)
    half = torch.arange(len(seen.color)) % 2 == 0
    levels = [light.level(torch.full_like(seen.n_dot_v, roughness)) for roughness in ROUGHNESSES]
    lobes = [lookup(light.specular, seen.reflected, level) for level in levels]
    blocked = 0.9 * torch.stack(lobes, dim=1) * half[:, None, None]
    dimmed = torch.where(half[:, None], 0.1 * seen.color, seen.color)
    blind = fitted([replace(seen, color=dimmed)], light)
    told = fitted([replace(seen, color=dimmed, blocked=blocked)], light)
    albedo, roughness, _ = MATERIALS["gold"]
    assert (told.roughness - roughness).abs().max() < 0.03
    assert (told.albedo - torch.tensor(albedo)).abs().max() < 0.05
    assert (blind.albedo - torch.tensor(albedo)).abs().max() > 0.2


def test_pixels_count_by_their_weight(light):
    gold, chalk = observed(MATERIALS["gold"], light), observed(MATERIALS["chalk"], light)
    doubtful = replace(chalk, weight=1e-5 * chalk.weight)
    albedo = torch.tensor(MATERIALS["gold"][0])
    assert (fitted([gold, doubtful], light).albedo - albedo).abs().max() < 0.05
    assert (fitted([gold, chalk], light).albedo - albedo).abs().max() > 0.2
