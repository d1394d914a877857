"""Cycles' pictures of an imported layer: Blender makes its own tangents, and agrees with Mitsuba."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom, UsdLux

from tests.usd_tools.blender import needs_blender, run_in_blender
from tests.usd_tools.stages import write_scene
from usd_tools.exr import read_exr
from usd_tools.images import write_png
from usd_tools.import_materials import main as import_materials
from usd_tools.render_turntable import render_turntable
from usd_tools.usd_to_llff import main as convert

pytest.importorskip("mitsuba", reason="Mitsuba is not installed (extra `render`)")

SIZE = 64
RENDER = f"""
import sys, bpy
stage, picture = sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.wm.usd_import(filepath=stage, import_visible_only=True)
scene = bpy.context.scene
scene.camera = next(item for item in scene.objects if item.type == "CAMERA")
scene.frame_set(2)
scene.render.engine = "CYCLES"
scene.cycles.samples, scene.cycles.use_denoising = 64, False
scene.render.resolution_x = scene.render.resolution_y = {SIZE}
scene.render.film_transparent = True
scene.render.image_settings.file_format = "OPEN_EXR"
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
"""


def bumps(size: int = 64) -> np.ndarray:
    """A tangent-space normal map, OpenGL +Y, whose slopes in u and v differ: a flipped axis would show."""
    v, u = np.mgrid[:size, :size] / size * 2 * np.pi
    slope = np.stack([0.6 * np.sin(4 * u) + 0.25, 0.4 * np.cos(6 * v) - 0.2, np.ones_like(u)], axis=-1)
    return 0.5 + 0.5 * slope / np.linalg.norm(slope, axis=-1, keepdims=True)


def lit_by_a_sun(stage: Usd.Stage) -> None:
    stage.RemovePrim("/World/dome")
    sun = UsdLux.DistantLight.Define(stage, "/World/sun")
    sun.CreateAngleAttr(20)
    sun.CreateIntensityAttr(3)
    sun.CreateNormalizeAttr(True)
    UsdGeom.Xformable(sun).AddRotateXYZOp().Set(Gf.Vec3f(-25, 60, 0))


def luminance(picture: np.ndarray) -> np.ndarray:
    return picture[..., :3].mean(axis=-1)


@needs_blender
def test_cycles_sees_what_mitsuba_sees(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene", size=(SIZE, SIZE), edit=lit_by_a_sun)
    write_png(scene.textures / "albedo.png", np.full((4, 4, 3), 0.7))
    write_png(scene.textures / "roughness.png", np.full((4, 4), 0.6))
    write_png(scene.textures / "metallic.png", np.zeros((4, 4)))
    write_png(scene.textures / "normal.png", bumps())
    assert convert([str(scene.stage), "--ground-truth-only", "--out", str(tmp_path / "dataset")]) == 0
    run, layer = tmp_path / "run", tmp_path / "layer.usdc"
    shutil.copytree(tmp_path / "dataset" / "ground_truth", run / "mesh")
    shutil.copy(tmp_path / "dataset" / "dataset.json", run)
    (run / "config.yaml").write_text("light:\n  mode: known\n")
    import_materials([str(run), "--out", str(layer), "--stage", str(scene.stage)])

    pictures = {}
    for name, stage in (("original", scene.stage), ("recovered", layer)):
        run_in_blender(RENDER, str(stage), str(tmp_path / f"{name}.exr"))
        pictures[f"cycles {name}"] = read_exr(tmp_path / f"{name}.exr")[0]
    size = (SIZE, SIZE)
    (bumpy,) = render_turntable(layer, tmp_path / "bumpy", frames="2", resolution=size, samples=256)
    write_png(tmp_path / "layer_textures" / "normal.png", np.full((4, 4, 3), [0.5, 0.5, 1.0]))
    (flat,) = render_turntable(layer, tmp_path / "flat", frames="2", resolution=size, samples=64)
    pictures["mitsuba"] = read_exr(bumpy)[0]
    original, cycles, mitsuba = (luminance(picture) for picture in pictures.values())
    # Renderers differ at the terminator, where bumps shade against the light: compare what is well lit.
    solid = np.all([picture[..., 3] > 0.99 for picture in pictures.values()], axis=0)
    lit = solid & (cycles > 0.3 * cycles.max())
    assert lit.sum() > 200
    assert np.corrcoef(cycles[lit], original[lit])[0, 1] > 0.99
    assert np.corrcoef(cycles[lit], mitsuba[lit])[0, 1] > 0.98
    without = luminance(read_exr(flat)[0])
    assert np.corrcoef(without[lit], mitsuba[lit])[0, 1] < 0.9  # the bumps are what is compared
