"""From a config to the parts of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recon.assemble import (
    channel_settings,
    coarse_settings,
    fine_settings,
    make_coarse_scene,
    make_field,
    make_fine_scene,
    make_light,
)
from recon.config import Config, load_config
from recon.data.cameras import Cameras
from recon.data.views import Views
from recon.geometry.grid_box import GridBox, cube
from recon.material.field import JointField, MaterialField, SplitField
from recon.material.hash_grid import HashGrid
from recon.stages.fine_scene import FineScene
from recon.stages.regularization import PriorSettings, SmoothnessSettings
from tests.recon.stages.scenes import RASTERIZER, field, fine_scene, sphere_mesh, views
from usd_tools.errors import UserError
from usd_tools.images import write_exr

CPU = torch.device("cpu")
BOUNDS = torch.tensor([[-1.0] * 3, [1.0] * 3])
PIXEL = 0.02
SMALL = ("material.hash_levels=4", "material.hash_table_log2=8", "material.hash_finest=32", "geometry.grid=8")


def config(*overrides: str) -> Config:
    return load_config(overrides=[*SMALL, *overrides])


def write_probe(path: Path, value: float) -> Path:
    write_exr(path, np.full((8, 16, 3), value, np.float32))
    return path


def test_known_light_is_the_datasets_probe(tmp_path):
    write_probe(tmp_path / "ground_truth" / "probe.exr", 3.0)
    light = make_light(config("light.resolution=16"), tmp_path, CPU)
    assert not light.is_trainable and light.cubemap().shape == (6, 16, 16, 3)
    torch.testing.assert_close(light.cubemap(), torch.full((6, 16, 16, 3), 3.0))


def test_probe_of_the_config_goes_first(tmp_path):
    write_probe(tmp_path / "ground_truth" / "probe.exr", 3.0)
    mine = write_probe(tmp_path / "mine.exr", 2.0)
    light = make_light(config(f"light.probe={mine}"), tmp_path, CPU)
    assert float(light.cubemap().mean()) == pytest.approx(2.0)


def test_missing_probe_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no light probe.*light\.probe=.*light\.mode=learnt"):
        make_light(config(), tmp_path, CPU)


def test_learnt_light_is_grey_and_needs_no_probe(tmp_path):
    settings = config("light.mode=learnt", "light.resolution=32", "light.initial=0.7")
    light = make_light(settings, tmp_path, CPU)
    assert light.is_trainable
    torch.testing.assert_close(light.cubemap().detach(), torch.full((6, 32, 32, 3), 0.7))


@pytest.mark.parametrize("init", ["hull", "sphere", "random"])
def test_surface_starts_as_asked(init):
    scene = make_coarse_scene(config(f"geometry.init={init}"), views(), CPU)
    radii = scene.mesh().vertices.detach().norm(dim=1)
    if init == "hull":  # the pictures show a sphere of radius 0.8; a cell is 0.25 wide
        assert abs(float(radii.median()) - 0.8) < 0.2
    elif init == "sphere":
        assert abs(float(radii.median()) - 0.6) < 0.1
    else:
        assert float(radii.max() - radii.min()) > 0.8
    # Around so large an object there is no room for a margin: the grid is the cube, however it starts.
    lower, upper = scene.geometry.box.bounds()
    torch.testing.assert_close(torch.stack([lower, upper]), BOUNDS, atol=0.1, rtol=0)
    torch.testing.assert_close(scene.field.origin, lower)
    assert float(scene.field.extent) == pytest.approx(float((upper - lower).max()))


def close_views() -> Views:
    """Eight pictures of a sphere, from a quarter of the distance: of one with a radius of 0.2.

    With 4 more pixels on each side, so that it is wholly in the pictures.
    """
    whole = views(8)
    cameras = whole.cameras
    poses = cameras.camera_to_world.clone()
    poses[:, :3, 3] *= 0.25
    closer = Cameras(poses, cameras.focal, cameras.principal + 4, cameras.width + 8, cameras.height + 8)
    return Views(closer, torch.nn.functional.pad(whole.images, (0, 0, 4, 4, 4, 4)), whole.names)


@pytest.mark.parametrize(
    ("overrides", "fits"),
    [
        ((), True),
        (("geometry.fit=false",), False),
        (("geometry.init=sphere",), False),
        (("geometry.init=random",), False),
    ],
    ids=str,
)
def test_grid_fits_a_hull_unless_told_otherwise(overrides, fits, caplog):
    with caplog.at_level("INFO", "recon.assemble"):
        scene = make_coarse_scene(config("geometry.grid=24", *overrides), close_views(), CPU)
    box = scene.geometry.box
    if not fits:
        assert box == cube(24) and float(scene.field.extent) == 2.0
        return
    assert box.cell_size < 0.5 * cube(24).cell_size
    radii = scene.mesh().vertices.detach().norm(dim=1)
    assert abs(float(radii.median()) - 0.2) < 0.5 * box.cell_size
    # The field covers the box, and logs tell what was chosen.
    torch.testing.assert_close(scene.field.extent, (box.bounds()[1] - box.bounds()[0]).max())
    x, y, z = box.cells
    assert f"{x} x {y} x {z} cells" in caplog.text
    assert "up to 32 (A) and 32 (B) cells" in caplog.text  # as set in SMALL


def test_grid_of_a_resumed_run_is_the_given_one():
    box = GridBox((0.0, 0.1, 0.0), (8, 9, 10), 0.1)
    for init in ("hull", "sphere", "random"):
        scene = make_coarse_scene(config(f"geometry.init={init}"), close_views(), CPU, box=box)
        assert scene.geometry.box == box and GridBox.from_tensors(scene.start_tensors()) == box


def finest(field: MaterialField) -> list[int]:
    """Cells along a side of each network's finest level."""
    return [int(module.resolutions[-1]) for module in field.modules() if isinstance(module, HashGrid)]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), [128, 128]),  # 2 / 0.02 = 100 pixels
        (("material.model=joint",), [128]),
        (("material.hash_finest=500",), [500, 500]),
        (("material.b.hash_finest=32",), [128, 32]),
        (("material.hash_finest=500", "material.a.hash_finest=null"), [500, 500]),
        (("material.hash_base=256",), [256, 256]),
        (("material.a.hash_base=200",), [200, 128]),
    ],
    ids=str,
)
def test_hash_grids_are_as_fine_as_the_pixels(overrides, expected):
    field = make_field(config("material.hash_finest=null", *overrides), BOUNDS, PIXEL)
    assert finest(field) == expected


def test_finer_pictures_get_finer_hash_grids():
    small = views()
    cameras = small.cameras.resized(8 * small.cameras.width, 8 * small.cameras.height)
    large = Views(cameras, torch.zeros(len(small), 1, 1, 4), small.names)
    start = ("geometry.init=sphere", "material.hash_base=2", "material.hash_finest=null")
    coarse = finest(make_coarse_scene(config(*start), small, CPU).field)
    fine = finest(make_coarse_scene(config(*start), large, CPU).field)
    assert fine == [8 * cells for cells in coarse]
    pixel = float(small.cameras.pixel_sizes(torch.zeros(3)).median())
    assert 1 <= coarse[0] * pixel / 2.0 < 2  # cells per pixel


def test_half_extent_scales_grid_and_field():
    scene = make_coarse_scene(config("geometry.init=sphere", "geometry.half_extent=2"), views(), CPU)
    radii = scene.mesh().vertices.detach().norm(dim=1)
    assert abs(float(radii.median()) - 1.2) < 0.2
    assert float(scene.field.extent) == 4.0


def test_branches_have_sizes_of_their_own():
    field = make_field(config("material.a.hash_levels=6", "material.b.mlp_width=8"), BOUNDS, PIXEL)
    assert isinstance(field, SplitField)
    assert field.branch_a.mlp.layers[0].weight.shape == (32, 12)
    assert field.branch_b.mlp.layers[0].weight.shape == (8, 8)


def test_joint_is_one_network():
    field = make_field(config("material.model=joint"), BOUNDS, PIXEL)
    assert isinstance(field, JointField)
    assert list(field.parameter_groups()) == ["joint"]


@pytest.mark.parametrize("model", ["split", "joint"])
@pytest.mark.parametrize(("normal", "occlusion"), [("true", "false"), ("false", "true")])
def test_optional_channels(model, normal, occlusion):
    overrides = (f"material.model={model}", f"material.normal={normal}", f"material.occlusion={occlusion}")
    field = make_field(config(*overrides), BOUNDS, PIXEL)
    with torch.no_grad():
        for weight in field.parameters():
            weight.add_(0.03)
        sampled = field.sample(torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    assert bool((sampled.normal != 0.0).any()) == (normal == "true")
    assert bool((sampled.occlusion != 1.0).any()) == (occlusion == "true")


def test_field_depends_on_the_seed_only():
    torch.manual_seed(1)
    one = make_field(config("seed=3"), BOUNDS, PIXEL).state_dict()
    torch.manual_seed(2)
    same, other = make_field(config("seed=3"), BOUNDS, PIXEL), make_field(config("seed=4"), BOUNDS, PIXEL)
    assert all(torch.equal(value, one[name]) for name, value in same.state_dict().items())
    assert any(not torch.equal(value, one[name]) for name, value in other.state_dict().items())


def test_rates_come_from_the_config():
    settings = config(
        "train.learning_rate_coarse=0.02",
        "train.learning_rate_fine=0.004",
        "train.learning_rate_field=0.05",
        "geometry.learning_rate_scale=0.5",
        "material.a.learning_rate_scale=2",
        "material.b.learning_rate_scale=0.25",
        "light.learning_rate=0.07",
    )
    assert coarse_settings(settings).rates == pytest.approx(
        {"geometry": 0.01, "a": 0.04, "b": 0.005, "joint": 0.02, "light": 0.07}
    )
    assert fine_settings(settings, fine_scene()).rates == pytest.approx(
        {"geometry": 0.002, "a": 0.008, "b": 0.001, "joint": 0.004, "light": 0.07}
    )
    assert fine_settings(settings, FineScene(sphere_mesh(), field(), movable=True)).rates == pytest.approx(
        {"geometry": 0.002, "a": 0.1, "b": 0.0125, "joint": 0.05, "light": 0.07}
    )


def test_stage_settings_come_from_the_config():
    settings = config(
        "train.coarse_iterations=7",
        "train.fine_iterations=9",
        "geometry.sdf_regularizer=[0.3, 0.02]",
        "train.coarse_growth=[0.1, 0.2]",
        "train.fine_growth=[0.3, 0.4]",
        "regularizer.albedo_smoothness=0.1",
        "regularizer.roughness_smoothness=0.2",
        "regularizer.metallic_smoothness=0.3",
        "regularizer.smoothness_ramp=11",
        "regularizer.jitter=0.04",
        "regularizer.subset=0.5",
        "regularizer.light_grey=0.6",
    )
    maps = fine_scene()
    coarse, fine = coarse_settings(settings), fine_settings(settings, maps)
    assert (coarse.iterations, fine.iterations) == (7, 9)
    assert coarse.sdf_weights == (0.3, 0.02)
    assert coarse.growth == (0.1, 0.2) and fine.growth == (0.3, 0.4)
    assert coarse.light_grey == fine.light_grey == 0.6
    assert coarse.smoothness == SmoothnessSettings(0.1, 0.2, 0.3, 11, 0.04, 0.5)
    # As far on the surface as in space.
    jitter = pytest.approx(0.04 * maps.uv_per_length())
    assert fine.smoothness == SmoothnessSettings(0.1, 0.2, 0.3, 11, jitter, 0.5)
    assert not fine.joint and fine_settings(config("material.model=joint"), maps).joint


def test_what_is_learnt_from_nothing_has_ramps_and_what_is_refined_has_none():
    given = "regularizer.dark_metal=0.6", "regularizer.normal_offset=0.4", "regularizer.smoothness_ramp=11"
    scene = FineScene(sphere_mesh(), field(), movable=True)
    refined = fine_settings(config(*given), scene)
    known = fine_settings(config(*given, "geometry.mesh=a.obj"), scene)
    coarse = coarse_settings(config(*given))
    assert (coarse.smoothness.ramp, refined.smoothness.ramp, known.smoothness.ramp) == (11, 0, 11)
    assert coarse.priors == refined.priors == known.priors == PriorSettings(0.6, 0.4)


@pytest.mark.parametrize(
    ("overrides", "traced"),
    [((), True), (("light.model=split_sum",), False), (("data.kind=mesh",), False)],
    ids=str,
)
def test_occlusion_is_traced_where_references_have_it(overrides, traced):
    given = config(*overrides)
    scene = make_fine_scene(given, sphere_mesh(), field(), views(), RASTERIZER, movable=True)
    assert (scene.occlusion is not None) == traced


@pytest.mark.parametrize(
    ("light", "movable", "bend"), [("known", True, 0.2), ("known", False, 0.0), ("learnt", True, 0.0)]
)
def test_surfaces_are_uncertain_where_they_are_learnt_under_a_known_light(light, movable, bend, monkeypatch):
    given = []
    monkeypatch.setattr(
        "recon.assemble.SelfOcclusion", lambda *_, certain_bend, **__: given.append(certain_bend)
    )
    settings = load_config(None, [f"light.mode={light}", "loss.certain_bend=0.2"])
    make_fine_scene(settings, sphere_mesh(), field(), views(), RASTERIZER, movable=movable)
    assert given == [bend]


def test_material_begins_glossy_and_glossier_under_a_learnt_light():
    def start(*overrides: str) -> float:
        return channel_settings(config(*overrides)).initial_roughness

    assert (start(), start("light.mode=learnt")) == (0.2, 0.06)
    assert 0.3 < start("material.roughness_min=0.3") < 0.35
    # Only where a search follows.
    for without in (
        "material.model=joint",
        "material.searches=0",
        "geometry.mesh=mesh.obj",
        "textures.learnt=true",
    ):
        assert start("light.mode=learnt", without) == 0.2


def test_channel_ranges_come_from_the_config():
    settings = channel_settings(
        config(
            "material.roughness_min=0.1", "material.initial_roughness=0.4", "material.initial_metallic=0.3"
        )
    )
    assert (settings.roughness_min, settings.initial_roughness, settings.initial_metallic) == (0.1, 0.4, 0.3)
