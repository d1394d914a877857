"""Light orientation from end to end: a mirror ball path traced from the stage, against ours from the dataset.

The probe holds one colored patch per axis. Stage, render, conversion, loading and shading each have their
own axes; only if all agree do the highlights fall in the same places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from pxr import Gf, Sdf, UsdGeom, UsdLux, UsdShade
from torch import Tensor

from recon.data.dataset import load_probe, load_views
from recon.geometry.known_mesh import load_known_mesh
from recon.geometry.mesh import Mesh
from recon.light.environment import EnvironmentLight
from recon.light.fg_table import fg_table
from recon.material.channels import Channels
from recon.render.render_views import SurfaceSample, render_views
from recon.render.warp_backend import WarpRasterizer
from tests.usd_tools.stages import AXIS_COLORS, write_scene
from usd_tools.images import write_exr
from usd_tools.render_turntable import render_turntable
from usd_tools.resampling import latlong_directions
from usd_tools.usd_to_llff import main as convert

pytest.importorskip("mitsuba", reason="Mitsuba is not installed (extra `render`)")

SIZE = 40
ROUGHNESS = 0.2
FRAMES = 3
PATCH_RADIANCE = 8.0


def patches() -> np.ndarray:
    """(32, 64, 3): a disc of 20 degrees around each axis in that axis's color, dim gray elsewhere."""
    directions = latlong_directions(64, 32)
    probe = np.full((32, 64, 3), 0.05, np.float32)
    for name, color in AXIS_COLORS.items():
        axis = np.eye(3)["xyz".index(name[1])] * (1 if name[0] == "+" else -1)
        probe[directions @ axis > np.cos(np.radians(20))] = PATCH_RADIANCE * np.array(color)
    return probe


def mirror(stage) -> None:
    surface = UsdShade.Shader(stage.GetPrimAtPath("/World/materials/look/surface"))
    for name, kind, value in (
        ("diffuseColor", Sdf.ValueTypeNames.Color3f, Gf.Vec3f(1)),
        ("metallic", Sdf.ValueTypeNames.Float, 1.0),
        ("roughness", Sdf.ValueTypeNames.Float, ROUGHNESS),
        ("normal", Sdf.ValueTypeNames.Normal3f, Gf.Vec3f(0, 0, 1)),
    ):
        UsdShade.Input(surface.GetInput(name)).ClearSources()
        surface.CreateInput(name, kind).Set(value)


def still_dome(stage) -> None:
    mirror(stage)


def dome_with_pole(stage) -> None:
    mirror(stage)
    stage.GetPrimAtPath("/World/dome").SetTypeName("DomeLight_1")


def turned_dome(stage) -> None:
    mirror(stage)
    UsdGeom.Xformable(stage.GetPrimAtPath("/World/dome")).AddRotateXYZOp().Set(Gf.Vec3f(25, -70, 40))


def turning_object(stage) -> None:
    """The camera stands still; the object turns with a parent that is turned itself."""
    mirror(stage)
    camera = UsdGeom.Xformable(stage.GetPrimAtPath("/World/camera"))
    pose = camera.GetLocalTransformation(1)
    camera.ClearXformOpOrder()
    stage.GetPrimAtPath("/World/camera").RemoveProperty("xformOp:transform")
    camera.AddTransformOp().Set(pose)
    sphere = UsdGeom.Xformable(stage.GetPrimAtPath("/World/sphere"))
    turn = sphere.AddRotateXYZOp()
    for frame in range(1, FRAMES + 1):
        turn.Set(Gf.Vec3f(20, 50.0 * (frame - 1), 10), frame)


def turning_object_and_dome(stage) -> None:
    turning_object(stage)
    turn = UsdGeom.Xformable(stage.GetPrimAtPath("/World/dome")).AddRotateZOp()
    for frame in range(1, FRAMES + 1):
        turn.Set(-35.0 * frame, frame)


def distant_light(stage) -> None:
    """A wide sun in place of the dome."""
    mirror(stage)
    stage.RemovePrim("/World/dome")
    sun = UsdLux.DistantLight.Define(stage, "/World/sun")
    sun.CreateAngleAttr(60)
    sun.CreateIntensityAttr(8)
    sun.CreateColorAttr(Gf.Vec3f(1, 0, 0))
    UsdGeom.Xformable(sun).AddRotateXYZOp().Set(Gf.Vec3f(-30, 25, 0))


@dataclass
class Mirror:
    """A surface without textures, as `render_views` takes it."""

    surface: Mesh

    def mesh(self) -> Mesh:
        return self.surface

    def sample(self, mesh: Mesh, raster, positions: Tensor, rasterizer) -> SurfaceSample:
        normal = rasterizer.interpolate(mesh.normals, raster, mesh.normal_faces)
        one = positions.new_ones(len(positions), 1)
        channels = Channels(one.expand(-1, 3), torch.zeros_like(positions), ROUGHNESS * one, one, one)
        return SurfaceSample(channels, normal, None, positions, lambda points, rows: channels)


@lru_cache
def fg() -> Tensor:
    return fg_table()


def render_ours(dataset: Path, follow: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Our pictures (N, H, W, 3) of the dataset's own mesh and light, and the dataset's pictures."""
    views = load_views(dataset)
    mesh = load_known_mesh(str(dataset / "ground_truth" / "mesh.obj"), dataset)
    light = EnvironmentLight.known(load_probe(dataset), 32).prefilter()
    with torch.no_grad():
        rendered = render_views(
            Mirror(mesh),
            light,
            fg(),
            views.cameras,
            WarpRasterizer(torch.device("cpu")),
            routes=None,
            light_rotation=views.light_rotation if follow else None,
        )
    return rendered.image_a.numpy(), views.images[..., :3].numpy()


def difference(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(ours - reference).sum() / np.abs(reference).sum())


def highlights(image: np.ndarray, pixels: int) -> dict[str, np.ndarray]:
    """The center (row, column) of each axis's color that at least so many pixels show brightly."""
    names, colors = list(AXIS_COLORS), np.array(list(AXIS_COLORS.values()))
    brightest = image.max(axis=-1)
    hue = image / np.maximum(brightest[..., None], 1e-6)
    nearest = np.abs(hue[:, :, None] - colors).sum(axis=-1).argmin(axis=-1)
    found = {}
    for index, name in enumerate(names):
        rows, columns = np.nonzero((nearest == index) & (brightest > 0.3 * PATCH_RADIANCE))
        if len(rows) >= pixels:
            weight = brightest[rows, columns]
            found[name] = np.array([np.average(rows, weights=weight), np.average(columns, weights=weight)])
    return found


@pytest.mark.parametrize(
    "up_axis, edit",
    [
        ("Y", still_dome),
        ("Z", still_dome),
        ("Z", dome_with_pole),
        ("Y", turned_dome),
        ("Z", turned_dome),
        ("Y", turning_object),
        ("Z", turning_object_and_dome),
        ("Z", distant_light),
    ],
)
def test_highlights_fall_where_the_path_tracer_puts_them(
    tmp_path: Path, up_axis: str, edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usd_tools.probe.DISTANT_HEIGHT", 64)  # enough for a disc of 60 degrees
    scene = write_scene(tmp_path / "scene", up_axis=up_axis, frames=FRAMES, size=(SIZE, SIZE), edit=edit)
    write_exr(scene.textures / "probe.exr", patches())
    renders, dataset = tmp_path / "renders", tmp_path / "dataset"
    render_turntable(scene.stage, renders, resolution=(SIZE, SIZE), samples=64)
    assert convert([str(scene.stage), "--images", str(renders), "--out", str(dataset)]) == 0
    ours, reference = render_ours(dataset)
    compared = 0
    for our_image, reference_image in zip(ours, reference):
        expected, found = highlights(reference_image, 25), highlights(our_image, 5)
        compared += len(expected)
        for name, center in expected.items():
            assert np.linalg.norm(found[name] - center) < 1.0, f"{name}: {found[name]} against {center}"
    assert compared >= (FRAMES if edit is distant_light else 2 * FRAMES)
    assert difference(ours, reference) < 0.2
    if edit in (turning_object, turning_object_and_dome):
        unturned, _ = render_ours(dataset, follow=False)
        assert difference(unturned[0], reference[0]) < 0.2  # the first frame is the one that is held
        assert difference(unturned[1:], reference[1:]) > 0.5
