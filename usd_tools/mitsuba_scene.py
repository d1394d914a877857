"""A Mitsuba 3 scene from plain arrays: meshes with painted materials under one environment light.

Everything is in the stage's own space, with column-vector matrices; nothing here reads USD. Mitsuba is
imported where used: it is an optional dependency, and its variant has to be chosen before anything else of
it is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.threads import allowed_threads

INSTALL_HINT = "pip install 'separate-and-specialize[render]'"


@dataclass(frozen=True)
class Material:
    """Maps, row 0 is v = 1, repeated outside [0, 1]; a constant is a 1 x 1 map.

    albedo: (H, W, 3) linear Rec.709. roughness (perceptual), metallic: (H, W). normal: (H, W, 3) in [-1, 1],
    tangent space, OpenGL +Y, or None. Every map has a size of its own.
    """

    albedo: np.ndarray
    roughness: np.ndarray
    metallic: np.ndarray
    normal: np.ndarray | None = None


@dataclass(frozen=True)
class Surface:
    """Triangles with corner attributes, counter-clockwise seen from outside.

    positions, normals: (F, 3, 3) of each corner in world space, normals unit. uvs: (F, 3, 2), v up.
    """

    positions: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray
    material: Material


@dataclass(frozen=True)
class PinholeCamera:
    """One view.

    camera_to_world: (4, 4), OpenGL camera (looks down -z, y up). focal, principal: x and y in pixels, the
    latter from the image's top-left edge. near, far: clipping distances in stage units.
    """

    camera_to_world: np.ndarray
    focal: tuple[float, float]
    principal: tuple[float, float]
    width: int
    height: int
    near: float
    far: float


class MitsubaScene:
    """Surfaces and light loaded once, rendered from any number of cameras by path tracing."""

    def __init__(
        self,
        surfaces: Sequence[Surface],
        probe: np.ndarray,
        probe_to_world: np.ndarray,
        variant: str = "scalar_rgb",
        max_depth: int = 8,
    ) -> None:
        """
        probe: (H, W, 3) linear lat-long radiance; in the light's own frame the centre column looks at +Z, the
            column at a quarter of the width at +X, the top row at +Y.
        probe_to_world: (3, 3) rotation from that frame to the world.
        """
        self._mitsuba = import_mitsuba(variant)
        scene: dict[str, Any] = {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": max_depth, "hide_emitters": True},
            "light": self._light(probe, probe_to_world),
        }
        for index, surface in enumerate(surfaces):
            for half, mirrored in enumerate(_split_by_handedness(surface)):
                if len(mirrored.positions):
                    scene[f"surface_{index}_{half}"] = self._mesh(mirrored, f"surface_{index}_{half}")
        self._scene = self._mitsuba.load_dict(scene)

    def render(self, camera: PinholeCamera, samples: int, seed: int = 0) -> np.ndarray:
        """(height, width, 4) float32 scene-linear Rec.709 with associated alpha.

        samples: paths per pixel (stratified, so it is rounded up to a near square). Box filter: pixels are
        independent. Equal seeds give equal pictures.
        """
        pixels = self._mitsuba.render(
            self._scene, sensor=self._sensor(camera, samples), spp=samples, seed=seed
        )
        return np.asarray(pixels, dtype=np.float32).reshape(camera.height, camera.width, 4)

    def _sensor(self, camera: PinholeCamera, samples: int) -> Any:
        fx, fy = camera.focal
        if abs(fx / fy - 1) > 1e-3:
            raise UserError(
                f"camera with pixels of aspect {fy / fx:.4g}: expected square pixels; "
                "give a --resolution of the camera aperture's aspect, or use --renderer husk"
            )
        transform = camera.camera_to_world @ np.diag([-1.0, 1.0, -1.0, 1.0])  # Mitsuba looks down +z, x left
        return self._mitsuba.load_dict(
            {
                "type": "perspective",
                "to_world": self._transform(transform),
                "fov": float(np.degrees(2 * np.arctan(camera.width / (2 * fx)))),
                "fov_axis": "x",
                "principal_point_offset_x": 0.5 - camera.principal[0] / camera.width,
                "principal_point_offset_y": 0.5 - camera.principal[1] / camera.height,
                "near_clip": camera.near,
                "far_clip": camera.far,
                "film": {
                    "type": "hdrfilm",
                    "width": camera.width,
                    "height": camera.height,
                    "pixel_format": "rgba",
                    "component_format": "float32",
                    "rfilter": {"type": "box"},
                },
                "sampler": {"type": "multijitter", "sample_count": samples},
            }
        )

    def _light(self, probe: np.ndarray, probe_to_world: np.ndarray) -> dict[str, Any]:
        transform = np.eye(4)
        transform[:3, :3] = probe_to_world
        return {
            "type": "envmap",
            "bitmap": self._mitsuba.Bitmap(_rows_from_pole_to_pole(probe)),
            "to_world": self._transform(transform),
        }

    def _mesh(self, surface: Surface, name: str) -> Any:
        mitsuba = self._mitsuba
        count = len(surface.positions)
        properties = mitsuba.Properties()
        properties["mesh_bsdf"] = mitsuba.load_dict(self._bsdf(surface.material))
        mesh = mitsuba.Mesh(
            name, 3 * count, count, has_vertex_normals=True, has_vertex_texcoords=True, props=properties
        )
        parameters = mitsuba.traverse(mesh)
        uvs = surface.uvs * [1.0, -1.0] + [0.0, 1.0]  # Mitsuba's bitmaps put v = 0 at the top row
        for key, values in (
            ("vertex_positions", surface.positions),
            ("vertex_normals", surface.normals),
            ("vertex_texcoords", uvs),
        ):
            parameters[key] = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
        parameters["faces"] = np.arange(3 * count, dtype=np.uint32)
        parameters.update()
        return mesh

    def _bsdf(self, material: Material) -> dict[str, Any]:
        surface: dict[str, Any] = {
            "type": "principled",
            "base_color": self._texture(material.albedo),
            "roughness": self._texture(material.roughness[..., None]),
            "metallic": self._texture(material.metallic[..., None]),
            "specular": 0.5,  # F0 = 0.04
        }
        if material.normal is not None:
            surface = {
                "type": "normalmap",
                "normalmap": self._texture(0.5 + 0.5 * material.normal),
                "bsdf": surface,
            }
        return {"type": "twosided", "bsdf": surface}

    def _texture(self, values: np.ndarray) -> dict[str, Any]:
        pixels = np.ascontiguousarray(values, dtype=np.float32)
        return {"type": "bitmap", "bitmap": self._mitsuba.Bitmap(pixels), "raw": True, "wrap_mode": "repeat"}

    def _transform(self, matrix: np.ndarray) -> Any:
        return self._mitsuba.ScalarTransform4f(matrix.tolist())


def import_mitsuba(variant: str) -> ModuleType:
    """Mitsuba with `variant` set.

    Raises UserError when it is not installed or does not know the variant.
    """
    try:
        import mitsuba
    except ImportError as error:
        raise UserError(
            f"--renderer mitsuba: Mitsuba 3 cannot be imported ({error}); {INSTALL_HINT}"
        ) from None
    if variant not in mitsuba.variants():
        raise UserError(f"--mitsuba-variant {variant}: expected one of {', '.join(mitsuba.variants())}")
    mitsuba.set_variant(variant)
    threads = allowed_threads()
    if threads is not None:  # its own thread pool does not look at it
        import drjit

        drjit.set_thread_count(threads)
    mitsuba.set_log_level(mitsuba.LogLevel.Error)  # it warns, frame by frame, of sample counts it rounds up
    return mitsuba


def _rows_from_pole_to_pole(probe: np.ndarray) -> np.ndarray:
    """(2 H + 1, W, 3): the probe's rows for Mitsuba, whose first and last rows lie on the poles themselves.

    Picture rows have their centers half a row inside. Doubling puts every original row where it belongs, and
    in between what bilinear lookup gives.
    """
    padded = np.concatenate([probe[:1], probe, probe[-1:]])
    rows = np.empty((2 * len(probe) + 1, *probe.shape[1:]), dtype=np.float32)
    rows[1::2] = probe
    rows[0::2] = 0.5 * (padded[:-1] + padded[1:])
    return rows


def _split_by_handedness(surface: Surface) -> list[Surface]:
    """The triangles whose chart is not mirrored, and those whose is, with the normal map's y turned round.

    Mitsuba's normal map takes cross(normal, dP/du) as its second axis, while MikkTSpace takes the axis that
    follows v: in a mirrored chart the two are opposite.
    """
    if surface.material.normal is None:
        return [surface]
    edges = surface.uvs[:, 1:] - surface.uvs[:, :1]
    mirrored = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0] < 0
    turned = Material(
        surface.material.albedo,
        surface.material.roughness,
        surface.material.metallic,
        surface.material.normal * np.array([1.0, -1.0, 1.0]),
    )
    return [
        Surface(surface.positions[keep], surface.normals[keep], surface.uvs[keep], material)
        for keep, material in ((~mirrored, surface.material), (mirrored, turned))
    ]
