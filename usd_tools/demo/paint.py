"""The demo object's painted textures.

Each region is there to tell one confusion of a material recovery: the same color at two roughnesses, two
colors at one roughness, black gloss (which a careless fit turns rough and metallic), colored dark areas,
polished and brushed metal.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from usd_tools.demo.gourd import LOBES, angles_of, surface

_SUPERSAMPLING = 2  # per axis: hard-edged regions become anti-aliased texels


@dataclass(frozen=True)
class PaintedTextures:
    """Square maps in [0, 1], row 0 is v = 1.

    albedo: (N, N, 3) linear Rec.709. roughness (perceptual), metallic: (N, N).
    """

    albedo: np.ndarray
    roughness: np.ndarray
    metallic: np.ndarray


@dataclass(frozen=True)
class _Coat:
    """One material: linear Rec.709 albedo, perceptual roughness, metallic."""

    albedo: tuple[float, float, float]
    roughness: float
    metallic: float = 0.0


_BLACK_GLOSS = _Coat((0.012, 0.012, 0.014), 0.08)
_GOLD = _Coat((0.95, 0.62, 0.22), 0.14, 1.0)
_STEEL = _Coat((0.60, 0.62, 0.64), 0.22, 1.0)
_COPPER = _Coat((0.90, 0.40, 0.25), 0.40, 1.0)


def paint_textures(resolution: int = 512, seed: int = 0) -> PaintedTextures:
    """Paints the gourd's maps. `seed` varies hues, stripes and the places of spots; 0 is the demo's own."""
    rng = np.random.default_rng(seed)
    fine = resolution * _SUPERSAMPLING
    centers = (np.arange(fine) + 0.5) / fine
    u, v = np.meshgrid(centers, centers[::-1])
    polar, azimuth = angles_of(np.stack([u, v], axis=-1))
    layers = _Layers(polar, azimuth)
    _paint_bulb(layers, rng)
    _paint_neck(layers, rng)
    return PaintedTextures(*(_shrink(layer) for layer in (layers.albedo, layers.roughness, layers.metallic)))


class _Layers:
    """Maps under the brush, together with where on the surface each texel lies."""

    def __init__(self, polar: np.ndarray, azimuth: np.ndarray) -> None:
        self.height = -np.cos(polar)  # c of the surface's formula: -1 bottom pole, 1 top pole
        self.azimuth = azimuth
        self.points = surface(polar, azimuth)[0]
        self.albedo = np.zeros((*polar.shape, 3))
        self.roughness = np.zeros(polar.shape)
        self.metallic = np.zeros(polar.shape)

    def paint(self, mask: np.ndarray, coat: _Coat) -> None:
        self.albedo[mask] = coat.albedo
        self.roughness[mask] = coat.roughness
        self.metallic[mask] = coat.metallic

    def distance(self, height: float, azimuth: float) -> np.ndarray:
        """Straight distance of every texel to the surface point at `height` and `azimuth`."""
        center = surface(np.arccos(-np.array(height)), np.array(azimuth))[0]
        return np.linalg.norm(self.points - center, axis=-1)


def _glaze(hue: float, saturation: float, value: float, roughness: float) -> _Coat:
    color = np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value)) ** 2.2
    return _Coat((float(color[0]), float(color[1]), float(color[2])), roughness)


def _paint_bulb(layers: _Layers, rng: np.random.Generator) -> None:
    """Foot and lower bulb: one glaze at two roughnesses, under dark spots and metal studs."""
    c, phi = layers.height, layers.azimuth
    hue = 0.03 + rng.uniform(-0.02, 0.02)
    layers.paint(c < 1.1, _glaze(hue, 0.86, 0.93, 0.20))
    wavy = np.sin(LOBES * phi + 2.2 * np.sin(4.0 * c)) > 0
    layers.roughness[wavy] = 0.50  # same color, other roughness
    layers.paint(c < -0.86 + 0.03 * np.cos(2 * LOBES * phi), _Coat((0.025, 0.028, 0.040), 0.35))

    sector = 2 * np.pi / LOBES
    dark_glaze = _glaze(0.45 + rng.uniform(-0.06, 0.06), 0.90, 0.26, 0.30)
    for lobe in range(LOBES):
        # A spot on every lobe: large black gloss and, lower, a dark glaze of its own color.
        azimuth = lobe * sector + rng.uniform(-0.08, 0.08)
        height = -0.22 + rng.uniform(-0.10, 0.10)
        spot = layers.distance(height, azimuth)
        layers.paint(spot < 0.40, _BLACK_GLOSS)
        layers.paint(spot < 0.11, _glaze(0.14, 0.85, 0.95, 0.10))  # a colored eye as glossy as its surround
        layers.paint(layers.distance(-0.66, azimuth + 0.5 * sector) < 0.24, dark_glaze)
        layers.paint(layers.distance(-0.10, azimuth + 0.5 * sector) < 0.10, _STEEL)


def _paint_neck(layers: _Layers, rng: np.random.Generator) -> None:
    """Waist band, upper bulb and cap: metals, and stripes of two colors at one roughness."""
    c, phi = layers.height, layers.azimuth
    hue = 0.52 + rng.uniform(-0.04, 0.04)
    stripes = int(rng.integers(6, 9))
    upper = c > 0.24
    twist = np.sin(stripes * phi + 7.0 * c) > 0
    layers.paint(upper & twist, _glaze(hue, 0.80, 0.70, 0.30))
    layers.paint(upper & ~twist, _glaze(0.12, 0.20, 0.90, 0.30))
    layers.roughness[upper & (c > 0.56) & (c < 0.68)] = 0.60  # a matte ring across both stripes
    layers.paint((c > 0.20) & (c < 0.50), _BLACK_GLOSS)
    layers.paint((c > 0.24) & (c < 0.40), _GOLD)
    layers.paint(c > 0.82 + 0.025 * np.cos(2 * LOBES * phi), _BLACK_GLOSS)
    layers.paint(c > 0.955, _COPPER)


def _shrink(image: np.ndarray) -> np.ndarray:
    """Box-filters a supersampled map down."""
    size = image.shape[0] // _SUPERSAMPLING
    blocks = image.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING, *image.shape[2:])
    return blocks.mean(axis=(1, 3)).astype(np.float32)
