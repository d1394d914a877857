"""Writes a stage by Blender's own USD exporter. Runs in a Python that has bpy:

    PYTHON blender_scene.py FOLDER none|IGNORE|BEST_MATCH|TESSELLATE

A cube with two materials (image textures with a normal map and a mapping node; plain), a camera on an orbit
of four frames, and a world picture as light. The second argument: no subdivision modifier, or how it is
exported.
"""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 128
TILING = 2.0

bpy: Any = None  # imported where the script runs, as the tests import its figures without it


def picture(folder, name, seed, gray=False, color=True, width=SIZE):
    """Waves that repeat with the picture, long enough to be resampled without loss."""
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(SIZE) + 0.5) / SIZE)
    random = np.random.default_rng(seed)
    waves = [2 * np.pi * (random.integers(0, 3) * u + v + random.random()) for _ in range(4)]
    values = 0.5 + 0.4 * np.cos(np.stack(waves, axis=-1))
    if gray:
        values[..., :3] = values[..., :1]
    if name == "bent":  # mostly upright
        values[..., :2] = 0.5 + 0.25 * (values[..., :2] - 0.5)
        values[..., 2] = 1
    values[..., 3] = 1
    image = bpy.data.images.new(name, width, SIZE)
    image.colorspace_settings.name = "sRGB" if color else "Non-Color"
    image.pixels = values.astype(np.float32).ravel()
    image.filepath_raw = str(folder / f"{name}.png")
    image.file_format = "PNG"
    image.save()
    return image


def texture(tree, image, place=None):
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    if place is not None:
        tree.links.new(place.outputs["Vector"], node.inputs["Vector"])
    return node


def painted(folder):
    material = bpy.data.materials.new("painted")
    material.use_nodes = True
    tree = material.node_tree
    surface = tree.nodes["Principled BSDF"]
    coordinates = tree.nodes.new("ShaderNodeUVMap")
    coordinates.uv_map = "UVMap"
    place = tree.nodes.new("ShaderNodeMapping")
    place.inputs["Scale"].default_value = (TILING, 1.0, 1.0)
    tree.links.new(coordinates.outputs["UV"], place.inputs["Vector"])
    color = texture(tree, picture(folder, "color", 1), place)
    tree.links.new(color.outputs["Color"], surface.inputs["Base Color"])
    rough = texture(tree, picture(folder, "rough", 2, gray=True, color=False))
    tree.links.new(rough.outputs["Color"], surface.inputs["Roughness"])
    bump = texture(tree, picture(folder, "bent", 3, color=False))
    normal = tree.nodes.new("ShaderNodeNormalMap")
    tree.links.new(bump.outputs["Color"], normal.inputs["Color"])
    tree.links.new(normal.outputs["Normal"], surface.inputs["Normal"])
    return material


def plain():
    material = bpy.data.materials.new("plain")
    material.use_nodes = True
    surface = material.node_tree.nodes["Principled BSDF"]
    surface.inputs["Base Color"].default_value = (0.1, 0.4, 0.7, 1)
    surface.inputs["Roughness"].default_value = 0.25
    surface.inputs["Metallic"].default_value = 1.0
    return material


def main(folder, subdivision):
    folder.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 4
    bpy.ops.mesh.primitive_cube_add(size=2, location=(0.5, 0, 1))
    cube = bpy.context.object
    cube.name = "Box"
    cube.data.materials.append(painted(folder))
    cube.data.materials.append(plain())
    cube.data.polygons[5].material_index = 1
    if subdivision != "none":
        modifier = cube.modifiers.new("smooth", "SUBSURF")
        modifier.levels = modifier.render_levels = 3

    camera = bpy.data.objects.new("Eye", bpy.data.cameras.new("Eye"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    aim = camera.constraints.new("TRACK_TO")
    aim.target, aim.track_axis, aim.up_axis = cube, "TRACK_NEGATIVE_Z", "UP_Y"
    for frame in range(1, 5):
        angle = math.pi / 2 * (frame - 1)
        camera.location = (0.5 + 6 * math.cos(angle), 6 * math.sin(angle), 3)
        camera.keyframe_insert("location", frame=frame)

    world = bpy.data.worlds.new("Sky")
    scene.world = world
    world.use_nodes = True
    sky = world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    sky.image = picture(folder, "sky", 4, width=2 * SIZE)
    world.node_tree.links.new(sky.outputs["Color"], world.node_tree.nodes["Background"].inputs["Color"])
    bpy.ops.wm.usd_export(
        filepath=str(folder / "scene.usdc"),
        export_animation=True,
        export_materials=True,
        export_normals=True,
        generate_preview_surface=True,
        export_textures_mode="NEW",
        relative_paths=True,
        export_subdivision="IGNORE" if subdivision == "none" else subdivision,
        convert_world_material=True,
    )


if __name__ == "__main__":
    import bpy  # type: ignore[no-redef]

    main(Path(sys.argv[-2]), sys.argv[-1])
