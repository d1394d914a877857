"""Lights of a stage in one probe: directions, colors, irradiance, sums, motion, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux

from tests.usd_tools.stages import AXIS_COLORS, axis_probe
from usd_tools.errors import UserError
from usd_tools.images import read_image, write_exr, write_png
from usd_tools.lights import (
    find_lights,
    light_paths,
    lights_vary,
    probe_job,
    rotation_since,
    rotations_since,
)
from usd_tools.matrices import unit
from usd_tools.probe import bake_probe
from usd_tools.probe_job import DistantJob, DomeJob, ProbeJob
from usd_tools.resampling import sample_latlong


def new_stage(up_axis="Y"):
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, up_axis)
    UsdGeom.Sphere.Define(stage, "/ball")
    return stage


def textured_dome(stage, folder, kind="DomeLight", path="/dome"):
    write_exr(folder / "axes.exr", axis_probe())
    prim = stage.DefinePrim(path, kind)
    prim.CreateAttribute("inputs:texture:file", Sdf.ValueTypeNames.Asset).Set(str(folder / "axes.exr"))
    return prim


def baked(stage, time=1.0, turn=None):
    return bake_probe(probe_job(find_lights(stage, time), np.eye(3) if turn is None else turn))


def shown(probe, axis):
    sign = 1 if axis[0] == "+" else -1
    return sample_latlong(probe, sign * np.eye(3)["xyz".index(axis[1])])


@pytest.mark.parametrize(
    "up_axis, kind, pole, center, left",
    [
        # center and left: where the picture's center column and its column at a quarter look, stage space.
        ("Y", "DomeLight", None, "+z", "+x"),
        ("Z", "DomeLight", None, "+z", "+x"),
        ("Y", "DomeLight_1", None, "+z", "+x"),
        ("Z", "DomeLight_1", "Y", "+z", "+x"),
        ("Z", "DomeLight_1", None, "-y", "+x"),  # "latitude 0, longitude 0 will point into negative Y"
        ("Y", "DomeLight_1", "Z", "-y", "+x"),
    ],
)
def test_pole_axis(tmp_path, up_axis, kind, pole, center, left):
    stage = new_stage(up_axis)
    prim = textured_dome(stage, tmp_path, kind)
    if pole:
        UsdLux.DomeLight_1(prim).CreatePoleAxisAttr(pole)
    probe = baked(stage)
    np.testing.assert_allclose(shown(probe, center), AXIS_COLORS["+z"], atol=1e-5)
    np.testing.assert_allclose(shown(probe, left), AXIS_COLORS["+x"], atol=1e-5)
    top = "+y" if center == "+z" else "+z"
    np.testing.assert_allclose(shown(probe, top), AXIS_COLORS["+y"], atol=1e-5)


def test_the_pole_turns_before_the_transform(tmp_path):
    stage = new_stage("Z")
    prim = textured_dome(stage, tmp_path, "DomeLight_1")
    UsdGeom.Xformable(prim).AddRotateZOp().Set(90)  # stage +x to +y
    probe = baked(stage)
    np.testing.assert_allclose(shown(probe, "+y"), AXIS_COLORS["+x"], atol=1e-5)
    np.testing.assert_allclose(shown(probe, "+x"), AXIS_COLORS["+z"], atol=1e-5)  # -y went to +x


def test_temperature_is_usd_luxs_own():
    stage = new_stage()
    dome = UsdLux.DomeLight.Define(stage, "/dome")
    dome.CreateColorAttr(Gf.Vec3f(1, 0.5, 0.25))
    dome.CreateEnableColorTemperatureAttr(True)
    dome.CreateColorTemperatureAttr(3200)
    dome.CreateIntensityAttr(3)
    dome.CreateExposureAttr(1)
    expected = 6 * np.array([1, 0.5, 0.25]) * np.array(UsdLux.BlackbodyTemperatureAsRgb(3200))
    np.testing.assert_allclose(baked(stage)[5, 7], expected, rtol=1e-6)
    dome.CreateEnableColorTemperatureAttr(False)
    np.testing.assert_allclose(baked(stage)[5, 7], [6, 3, 1.5], rtol=1e-6)


def facing_irradiance(probe, direction):
    """On a plane that faces `direction`: the cosine integral over the probe, each pixel cut in 3 x 3."""
    height, width = probe.shape[:2]
    fine = 3
    polar = (np.arange(height * fine) + 0.5) * np.pi / (height * fine)
    azimuth = (0.5 - (np.arange(width * fine) + 0.5) / (width * fine)) * 2 * np.pi
    total = np.zeros(3)
    for row, angle in enumerate(polar):
        y, ring = math.cos(angle), math.sin(angle)
        cosine = ring * np.sin(azimuth) * direction[0] + y * direction[1]
        cosine = np.maximum(cosine + ring * np.cos(azimuth) * direction[2], 0)
        weight = cosine * ring * (np.pi / (height * fine)) * (2 * np.pi / (width * fine))
        total += weight @ np.repeat(probe[row // fine], fine, axis=0)
    return total


@pytest.mark.parametrize("rotation", [(35, 50, 0), (-90, 0, 0), (-89.8, 0, 17)])
@pytest.mark.parametrize(
    "angle, normalize, expected",
    [
        (0, False, 1.0),  # parallel light: emission is irradiance
        (0, True, 1.0),
        (0.53, False, math.pi * math.sin(math.radians(0.265)) ** 2),
        (0.53, True, 1.0),
        (40, False, math.pi * math.sin(math.radians(20)) ** 2),
        (40, True, 1.0),
        (180, True, 1.0),
        (250, False, math.pi),
        (250, True, 1 / (2 - math.sin(math.radians(125)) ** 2)),
    ],
)
def test_distant_light_has_its_irradiance(rotation, angle, normalize, expected):
    stage = new_stage()
    light = UsdLux.DistantLight.Define(stage, "/sun")
    light.CreateAngleAttr(angle)
    light.CreateNormalizeAttr(normalize)
    light.CreateIntensityAttr(100)
    light.CreateExposureAttr(-1)
    light.CreateColorAttr(Gf.Vec3f(1, 0.5, 0))
    UsdGeom.Xformable(light).AddRotateXYZOp().Set(Gf.Vec3f(*rotation))
    lights = find_lights(stage, 1)
    # It shines along its own -z: towards it is +z.
    turned = UsdGeom.Xformable(light).ComputeLocalToWorldTransform(1).TransformDir(Gf.Vec3d(0, 0, 1))
    direction = unit(np.array(turned))
    np.testing.assert_allclose(lights.distants[0].direction, direction, atol=1e-6)
    probe = bake_probe(probe_job(lights, np.eye(3)))
    measured = facing_irradiance(probe, direction)
    np.testing.assert_allclose(measured, 50 * expected * np.array([1, 0.5, 0]), rtol=0.01)


def test_a_sun_lies_where_it_shines_from():
    direction = unit(np.array([0.3, 0.5, -0.8]))
    probe = bake_probe(ProbeJob(distants=(DistantJob(direction, math.radians(0.265), (1.0, 1.0, 1.0)),)))
    rows, columns = np.nonzero(probe[..., 0])
    assert len(rows) < 20  # of half a million pixels
    polar = (np.average(rows, weights=probe[rows, columns, 0]) + 0.5) * np.pi / len(probe)
    assert polar == pytest.approx(math.acos(direction[1]), abs=np.pi / len(probe) / 2)
    azimuth = (
        (0.5 - (np.average(columns, weights=probe[rows, columns, 0]) + 0.5) / probe.shape[1]) * 2 * np.pi
    )
    expected = math.atan2(direction[0], direction[2])
    assert azimuth == pytest.approx(expected, abs=np.pi / len(probe))


def test_lights_add_up(tmp_path):
    stage = new_stage()
    textured_dome(stage, tmp_path)
    uniform = UsdLux.DomeLight.Define(stage, "/fill")
    uniform.CreateIntensityAttr(0.25)
    first = bake_probe(ProbeJob((DomeJob(str(tmp_path / "axes.exr"), (1.0, 1.0, 1.0), np.eye(3)),)))
    np.testing.assert_allclose(shown(baked(stage), "+x"), shown(first, "+x") + 0.25, atol=1e-5)
    sun = UsdLux.DistantLight.Define(stage, "/sun")
    sun.CreateAngleAttr(20)
    sun.CreateIntensityAttr(8)
    both = baked(stage)
    np.testing.assert_allclose(shown(both, "+z"), shown(first, "+z") + 8.25, rtol=0.01)
    np.testing.assert_allclose(shown(both, "+x"), shown(first, "+x") + 0.25, atol=1e-5)


def test_jobs_travel_as_json(tmp_path):
    import json

    stage = new_stage("Z")
    textured_dome(stage, tmp_path)
    UsdLux.DistantLight.Define(stage, "/sun")
    job = probe_job(find_lights(stage, 1), np.eye(3)[[1, 2, 0]])
    again = ProbeJob.from_json(json.loads(json.dumps(job.to_json())))
    assert (bake_probe(again) == bake_probe(job)).all()


def test_pictures_of_every_kind(tmp_path):
    value = np.full((4, 8, 3), 0.5, np.float32)
    write_png(tmp_path / "p.png", value)
    write_exr(tmp_path / "p.exr", value)
    stored = read_image(tmp_path / "p.png")[0, 0, 0]
    linear = ((stored + 0.055) / 1.055) ** 2.4

    def shows(name, **options):
        job = DomeJob(str(tmp_path / name), (1.0, 1.0, 1.0), np.eye(3), **options)
        return bake_probe(ProbeJob((job,)))[0, 0, 0]

    assert shows("p.png") == pytest.approx(linear, rel=1e-5)
    assert shows("p.png", color_space="raw") == pytest.approx(stored, rel=1e-5)
    assert shows("p.exr") == 0.5
    assert shows("p.exr", color_space="sRGB") == pytest.approx(0.2140411, rel=1e-4)
    with pytest.raises(UserError, match=r"p\.exr.*log_film"):
        shows("p.exr", color_space="log_film")
    write_exr(tmp_path / "square.exr", np.ones((8, 8, 3)))
    with pytest.raises(UserError, match=r"square\.exr: is 8x8.*lat-long"):
        shows("square.exr")
    assert shows("square.exr", any_shape=True) == 1


def test_a_texture_says_its_color_space_on_the_stage(tmp_path):
    stage = new_stage()
    prim = textured_dome(stage, tmp_path)
    prim.GetAttribute("inputs:texture:file").SetColorSpace("lin_ap1_scene")
    red = shown(baked(stage), "+x")
    assert red[0] > 1.5 and red[1] == 0  # ACEScg's red lies outside of Rec.709


def define(kind):
    return lambda stage: stage.DefinePrim("/lamp", kind)


def mesh_light(stage):
    UsdLux.MeshLightAPI.Apply(UsdGeom.Mesh.Define(stage, "/lamp").GetPrim())


def filtered(stage):
    light = UsdLux.DistantLight.Define(stage, "/sun")
    stage.DefinePrim("/barn_doors", "LightFilter")
    UsdLux.LightAPI(light.GetPrim()).CreateFiltersRel().AddTarget("/barn_doors")


def portals(stage):
    UsdLux.DomeLight.Define(stage, "/sky").CreatePortalsRel().AddTarget("/window")


@pytest.mark.parametrize(
    "edit, message",
    [
        *(
            (define(kind), rf"/lamp \({kind}\).*no light probe")
            for kind in ("SphereLight", "RectLight", "DiskLight", "CylinderLight", "PortalLight")
        ),
        (mesh_light, r"/lamp \(Mesh\)"),
        (filtered, "/barn_doors"),
        (portals, "/sky.*portals"),
        (lambda stage: UsdLux.DomeLight.Define(stage, "/sky").CreateTextureFormatAttr("angular"), "angular"),
        (lambda stage: UsdLux.DomeLight.Define(stage, "/sky").CreateIntensityAttr(-1.0), "/sky: its color"),
        (lambda stage: UsdLux.DomeLight.Define(stage, "/sky").CreateExposureAttr(1e9), "/sky: its color"),
        (lambda stage: UsdLux.DomeLight.Define(stage, "/sky").CreateIntensityAttr(0.0), "no light"),
        (lambda stage: None, "no light"),
    ],
)
def test_what_no_probe_can_hold_is_named(edit, message):
    stage = new_stage()
    edit(stage)
    with pytest.raises(UserError, match=message) as caught:
        find_lights(stage, 1)
    assert "--no-ground-truth" not in str(caught.value)  # not every command has that option


def test_hidden_dark_and_unlinked_lights_do_not_count():
    stage = new_stage()
    UsdLux.DomeLight.Define(stage, "/sky")
    UsdLux.SphereLight.Define(stage, "/hidden").CreateVisibilityAttr("invisible")
    UsdLux.SphereLight.Define(stage, "/dark").CreateIntensityAttr(0.0)
    unlinked = UsdLux.DistantLight.Define(stage, "/unlinked")
    link = UsdLux.LightAPI(unlinked.GetPrim()).GetLightLinkCollectionAPI()
    link.ExcludePath("/ball")
    lights = find_lights(stage, 1, stage.GetPrimAtPath("/ball"))
    assert [dome.path for dome in lights.domes] == ["/sky"] and not lights.distants
    assert len(find_lights(stage, 1).distants) == 1
    assert light_paths(stage) == ["/sky", "/hidden", "/dark", "/unlinked"]


def turning(prim, frames=(1, 2)):
    turn = UsdGeom.Xformable(prim).AddRotateYOp()
    for frame, angle in zip(frames, (0, 90)):
        turn.Set(angle, frame)


def test_lights_that_turn_as_one(tmp_path):
    stage = new_stage()
    dome = textured_dome(stage, tmp_path)
    turning(dome)
    UsdLux.DomeLight.Define(stage, "/uniform")  # has no orientation
    sun = UsdLux.DistantLight.Define(stage, "/sun")
    turning(sun)
    start = find_lights(stage, 1)
    rotation = rotation_since(stage, start, 2)
    np.testing.assert_allclose(rotation, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], atol=1e-7)
    turns = rotations_since(stage, start, (1, 2))
    np.testing.assert_allclose(turns[1], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(turns[2], rotation, atol=1e-9)
    # What it says: L_t(d) = L_start(R^T d).
    later, before = baked(stage, 2), baked(stage, 1)
    np.testing.assert_allclose(shown(later, "-z"), sample_latlong(before, rotation.T @ [0, 0, -1]), atol=1e-5)


def brightening(stage):
    intensity = UsdLux.DistantLight.Define(stage, "/sun").CreateIntensityAttr()
    intensity.Set(1.0, 1)
    intensity.Set(2.0, 2)


def vanishing(stage):
    visibility = UsdLux.DistantLight.Define(stage, "/sun").CreateVisibilityAttr()
    visibility.Set("inherited", 1)
    visibility.Set("invisible", 2)


def turning_sun(stage):
    turning(UsdLux.DistantLight.Define(stage, "/sun").GetPrim())


@pytest.mark.parametrize("edit", [turning_sun, brightening, vanishing])
def test_lights_that_change_alone_are_named(tmp_path, edit):
    stage = new_stage()
    textured_dome(stage, tmp_path)
    edit(stage)
    with pytest.raises(UserError, match="/sun"):
        rotation_since(stage, find_lights(stage, 1), 2)


def test_whether_lights_vary():
    stage = new_stage()
    rig = UsdGeom.Xform.Define(stage, "/rig")
    UsdLux.DomeLight.Define(stage, "/rig/sky")
    assert not lights_vary(stage)
    start = find_lights(stage, 1)
    np.testing.assert_array_equal(rotations_since(stage, start, (5.0,))[5.0], np.eye(3))
    turning(rig.GetPrim())
    assert lights_vary(stage)


@pytest.mark.parametrize(
    "line",
    [
        'string inputs:intensity = "bright"',
        "float[] inputs:color = [1, 2]",
        "bool inputs:color = 1",
        "float inputs:exposure = nan",
        "float inputs:intensity = inf",
        'string inputs:angle = "wide"',
        "float inputs:angle = nan",
        "bool inputs:texture:format = 1",
        'string inputs:texture:file = "a.exr"',
        "asset[] inputs:texture:file = [@a.exr@]",
        'uniform token poleAxis = "Q"',
    ],
)
def test_attributes_of_another_kind_are_named(line):
    layer = Sdf.Layer.CreateAnonymous(".usda")
    kind = "DistantLight" if "angle" in line else "DomeLight_1"
    layer.ImportFromString(f'#usda 1.0\ndef {kind} "lamp" {{\n{line}\n}}')
    stage = Usd.Stage.Open(layer)
    with pytest.raises(UserError, match="/lamp"):
        find_lights(stage, 1)
