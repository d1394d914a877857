"""Figures for how far a recovered material and surface are from the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usd_tools.color import linear_to_srgb, luminance
from usd_tools.comparison.asset import Material

DARK_LUMINANCE = 0.1
"""Below this linear luminance a sample counts as dark."""

DIELECTRIC_METALLIC = 0.1
"""Below this metallic a sample counts as dielectric."""

MISCLASSIFIED_EXCESS = 0.3
"""Roughness or metallic too high by more than this misclassifies a dark dielectric sample."""

FSCORE_THRESHOLD = 0.01
"""Distance within which two surfaces agree for the F-score, as a share of the half-extent."""

# Errors are reported down to 100 dB, so that a perfect match has a finite PSNR (JSON knows no infinity).
_SMALLEST_MSE = 1e-10


def albedo_scale(recovered: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """(3,) per-channel scale that brings `recovered` (N, 3) nearest to `truth`, least squares, linear values.

    1 for a channel that is black everywhere, which no scale can help.
    """
    square = (recovered * recovered).sum(axis=0)
    return np.divide((recovered * truth).sum(axis=0), square, out=np.ones(3), where=square > 0)


def albedo_error(recovered: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """(N, 3) absolute difference of linear colors after the sRGB curve; values are clipped to 0..1."""
    return np.abs(_srgb(recovered) - _srgb(truth))


def normal_error(recovered: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """(N,) angle in degrees between unit normals (N, 3)."""
    # atan2 keeps its precision near 0, where acos loses half the digits.
    sine = np.linalg.norm(np.cross(recovered, truth), axis=-1)
    return np.degrees(np.arctan2(sine, (recovered * truth).sum(axis=-1)))


def material_metrics(
    recovered: Material, truth: Material, unmatched: Material | None = None
) -> dict[str, Any]:
    """The material figures of the contract over matched samples; None where there is no sample.

    recovered, truth: material at the same M samples. `unmatched`: the truth where nothing was recovered; if
    given, such samples count with the largest error possible there, so that leaving a hole never pays.
    """
    if unmatched is None:
        unmatched = truth[np.zeros(0, np.int64)]
    count = len(truth.roughness) + len(unmatched.roughness)
    scale = albedo_scale(recovered.albedo, truth.albedo)
    raw = np.concatenate([albedo_error(recovered.albedo, truth.albedo), _worst(_srgb(unmatched.albedo))])
    aligned = albedo_error(recovered.albedo * scale, truth.albedo)
    aligned = np.concatenate([aligned, _worst(_srgb(unmatched.albedo))])
    roughness = np.concatenate([np.abs(recovered.roughness - truth.roughness), _worst(unmatched.roughness)])
    metallic = np.concatenate([np.abs(recovered.metallic - truth.metallic), _worst(unmatched.metallic)])
    normal = np.concatenate(
        [normal_error(recovered.normal, truth.normal), np.full(len(unmatched.roughness), 180.0)]
    )
    dark = _dark_dielectric(truth)
    excess = np.maximum(recovered.roughness - truth.roughness, recovered.metallic - truth.metallic)
    misclassified = np.concatenate(
        [excess[dark] > MISCLASSIFIED_EXCESS, np.ones(_dark_dielectric(unmatched).sum(), bool)]
    )
    figures: dict[str, Any] = {
        "albedo_mae": _mean(raw),
        "albedo_psnr": -10 * float(np.log10(max((raw**2).mean(), _SMALLEST_MSE))) if count else None,
        "albedo_scale": scale.tolist() if len(truth.roughness) else None,
        "albedo_mae_aligned": _mean(aligned),
        "roughness_mae": _mean(roughness),
        "metallic_mae": _mean(metallic),
        "normal_deg": _mean(normal),
        "dark_misclassified": _mean(misclassified),
    }
    if recovered.occlusion is not None and truth.occlusion is not None:
        figures["occlusion_mae"] = _mean(np.abs(recovered.occlusion - truth.occlusion))
    return figures


def constant_material(truth: Material, smooth_normals: NDArray) -> tuple[Material, dict[str, Any]]:
    """The best material without any texture, at the samples of `truth`, and its values.

    Medians, which minimise mean absolute errors: of albedo per channel (in sRGB, where it is judged),
    roughness and metallic. Its normals are the true mesh's own `smooth_normals` (N, 3): a flat normal map.
    """
    count = len(truth.roughness)
    albedo, roughness = np.median(truth.albedo, axis=0), float(np.median(truth.roughness))
    metallic = float(np.median(truth.metallic))
    material = Material(
        np.tile(albedo, (count, 1)), np.full(count, roughness), np.full(count, metallic), smooth_normals
    )
    return material, {"albedo": _srgb(albedo).tolist(), "roughness": roughness, "metallic": metallic}


def geometry_metrics(true_to_recovered: NDArray, recovered_to_true: NDArray) -> dict[str, Any]:
    """Chamfer distance and F-score from directed distances (N,), (M,) in units of the half-extent.

    F-score: harmonic mean of the shares of both directions within `FSCORE_THRESHOLD` (Knapitsch et al. 2017,
    "Tanks and Temples", section 4). None if either side has no sample.
    """
    if not len(true_to_recovered) or not len(recovered_to_true):
        return {"chamfer_l1": None, "fscore": None}
    recall = float((true_to_recovered < FSCORE_THRESHOLD).mean())
    precision = float((recovered_to_true < FSCORE_THRESHOLD).mean())
    fscore = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return {
        "chamfer_l1": float((true_to_recovered.mean() + recovered_to_true.mean()) / 2),
        "fscore": fscore,
    }


def format_table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """A plain-text table of the scalar figures, one column per named metrics dict, for terminals.

    The last column is the best constant material of the first.
    """
    first = next(iter(columns.values()))
    shown = {**columns, "constant": first.get("constant", {})}
    keys = [key for key, value in first.items() if value is None or isinstance(value, float)]
    keys = [key for key in keys if key != "albedo_scale"]  # null instead of a list where nothing matched
    width = max(len(key) for key in keys)
    lines = [" " * width + "".join(f"{name[:14]:>16}" for name in shown)]
    for key in keys:
        cells = (figures.get(key) for figures in shown.values())
        lines.append(
            f"{key:<{width}}"
            + "".join(f"{'-' if cell is None else format(cell, '.4f'):>16}" for cell in cells)
        )
    return "\n".join(lines)


def _srgb(linear: NDArray) -> NDArray[np.float64]:
    return linear_to_srgb(np.clip(np.asarray(linear, np.float64), 0, 1)).astype(np.float64, copy=False)


def _worst(truth: NDArray) -> NDArray[np.float64]:
    """The largest error that a value in 0..1 can have."""
    return np.maximum(truth, 1 - truth)


def _dark_dielectric(truth: Material) -> NDArray[np.bool_]:
    return (luminance(truth.albedo) < DARK_LUMINANCE) & (truth.metallic < DIELECTRIC_METALLIC)


def _mean(values: NDArray) -> float | None:
    return float(values.mean()) if values.size else None
