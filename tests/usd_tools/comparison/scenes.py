"""Small textured objects whose comparison can be worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from usd_tools.color import linear_to_srgb
from usd_tools.comparison.asset import Asset
from usd_tools.images import write_png
from usd_tools.obj import ObjMesh, write_obj


def sphere(columns=48, rows=24, radius=0.9):
    """A UV sphere, poles on y, with smooth normals; the seam's and the poles' UVs are split."""
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    phi, theta = 2 * np.pi * u, np.pi * (1 - v)
    normals = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], -1)
    normals = normals.reshape(-1, 3)
    index = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    upper = np.stack([a, c, d], -1)[:-1].reshape(-1, 3)  # without the flat ones at the north pole
    lower = np.stack([a, b, c], -1)[1:].reshape(-1, 3)
    faces = np.concatenate([upper, lower])
    uvs = np.stack([u, v], -1).reshape(-1, 2)
    return ObjMesh(radius * normals, faces, uvs, faces, normals, faces)


def quad(width=2.0, height=2.0, z=0.0, flip=False):
    """A rectangle facing +z (or -z) centred on the z axis, with UVs over the unit square."""
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float) * [width / 2, height / 2, 1]
    vertices[:, 2] = z
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    if flip:
        faces = faces[:, ::-1]
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    normals = np.array([[0, 0, -1.0 if flip else 1.0]])
    return ObjMesh(vertices, faces, uvs, faces, normals, np.zeros_like(faces))


def joined(*meshes):
    """One mesh of several."""
    vertices, faces, uvs, uv_faces, normals, normal_faces = [], [], [], [], [], []
    counts = np.zeros(3, int)
    for mesh in meshes:
        vertices.append(mesh.vertices)
        uvs.append(mesh.uvs)
        normals.append(mesh.normals)
        faces.append(mesh.faces + counts[0])
        uv_faces.append(mesh.uv_faces + counts[1])
        normal_faces.append(mesh.normal_faces + counts[2])
        counts += [len(mesh.vertices), len(mesh.uvs), len(mesh.normals)]
    parts = (vertices, faces, uvs, uv_faces, normals, normal_faces)
    return ObjMesh(*(np.concatenate(part) for part in parts))


def without_faces(mesh, drop):
    keep = ~drop
    return replace(
        mesh, faces=mesh.faces[keep], uv_faces=mesh.uv_faces[keep], normal_faces=mesh.normal_faces[keep]
    )


def maps(size=64, albedo=(0.5, 0.4, 0.3), roughness=0.3, metallic=0.0, normal=(0.0, 0.0, 1.0)):
    """Constant maps of one color each."""
    return {
        "albedo": np.tile(np.asarray(albedo, float), (size, size, 1)),
        "roughness": np.full((size, size, 1), float(roughness)),
        "metallic": np.full((size, size, 1), float(metallic)),
        "normal": np.tile(np.asarray(normal, float), (size, size, 1)),
    }


def smooth_maps(size=128):
    """Maps that vary slowly and repeat over the edges, so that resampling loses next to nothing."""
    row, column = np.mgrid[:size, :size]
    u, v = 2 * np.pi * (column + 0.5) / size, 2 * np.pi * (row + 0.5) / size
    albedo = 0.45 + 0.3 * np.stack([np.sin(u), np.cos(v), np.sin(u + v)], -1)
    tilt = 0.2 * np.stack([np.sin(u + 1), np.cos(v - u)], -1)
    normal = np.concatenate([tilt, np.sqrt(1 - (tilt**2).sum(-1, keepdims=True))], -1)
    return {
        "albedo": albedo,
        "roughness": 0.5 + 0.3 * np.sin(v)[..., None],
        "metallic": 0.5 + 0.4 * np.cos(u)[..., None],
        "normal": normal,
        "occlusion": 0.8 + 0.2 * np.sin(u - v)[..., None],
    }


def write_asset(folder: Path, mesh, channels):
    folder.mkdir(parents=True, exist_ok=True)
    write_obj(folder / "mesh.obj", mesh)
    for channel, image in channels.items():
        if channel == "albedo":
            image = linear_to_srgb(image)
        elif channel == "normal":
            image = image * 0.5 + 0.5
        write_png(folder / f"{channel}.png", image)


def orbit(count=8, distance=3.0, height=0.8):
    """(B, 4, 4) camera-to-world matrices of cameras around the y axis that look at the origin."""
    poses = []
    for angle in 2 * np.pi * np.arange(count) / count:
        position = np.array([np.sin(angle) * distance, height, np.cos(angle) * distance])
        back = position / np.linalg.norm(position)
        right = np.cross([0, 1, 0], back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(back, right), back, position], -1)
        poses.append(pose)
    return np.array(poses)


def write_dataset(folder: Path, mesh, channels, poses=None):
    """A dataset as far as a comparison needs it: ground truth, cameras and dataset.json."""
    write_asset(folder / "ground_truth", mesh, channels)
    (folder / "dataset.json").write_text(json.dumps({"stage_to_dataset": np.eye(4).tolist()}))
    if poses is None:
        return
    # The files' world is Z-up: (x, y, z) -> (x, -z, y).
    to_z_up = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    document = {
        "camera_angle_x": 0.8,
        "fl_x": 64 / (2 * np.tan(0.4)),
        "w": 64,
        "h": 64,
        "frames": [{"file_path": "./rgba/x", "transform_matrix": (to_z_up @ p).tolist()} for p in poses],
    }
    (folder / "transforms_train.json").write_text(json.dumps(document))


def write_run(folder: Path, mesh, channels, status=None):
    """A finished run's folder as far as a comparison needs it."""
    write_asset(folder / "mesh", mesh, channels)
    (folder / "status.json").write_text(json.dumps(status or {"stage": "done", "error": None}))
    (folder / "dataset.json").write_text(json.dumps({"stage_to_dataset": np.eye(4).tolist()}))


def asset(mesh, channels, name="test"):
    return Asset(mesh, channels, name)
