"""The figures of a sweep's tables: where each stands in a result, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon.sweep.results import Result


@dataclass(frozen=True)
class Figure:
    """One column.

    of: its value in a result, None where it has none; baseline: likewise of the flat guess. higher: whether
    more is better.
    """

    name: str
    heading: str
    form: str
    of: Callable[[Result], Any]
    baseline: Callable[[Result], Any] = lambda result: None
    higher: bool = False

    def meets(self, value: float, target: float) -> bool:
        return value >= target if self.higher else value <= target

    def bound(self, target: float) -> str:
        """`target` as text, such as "≤ 0.050"."""
        return f"{'≥' if self.higher else '≤'} {self.form.format(target)}"


def _milliseconds(result: Result, stage: str) -> float | None:
    seconds = result.seconds.get("per_iteration", {}).get(stage)
    return None if seconds is None else 1000 * seconds


def _metric(key: str, heading: str, form: str = "{:.3f}", *, higher: bool = False) -> Figure:
    def of(result: Result) -> Any:
        return result.metrics.get(key)

    def baseline(result: Result) -> Any:
        return result.metrics.get("constant", {}).get(key)

    return Figure(key, heading, form, of, baseline, higher)


def _relit(kind: str, key: str, heading: str, form: str = "{:.3f}") -> Figure:
    name = f"relit_{key}" if kind == "mean" else f"relit_{kind}_{key}"

    def of(result: Result) -> Any:
        return (result.relighting or {}).get(kind, {}).get(key)

    return Figure(name, heading, form, of, higher=True)


FIGURES = (
    _metric("roughness_mae", "roughness"),
    _metric("metallic_mae", "metallic"),
    _metric("albedo_mae", "albedo"),
    _metric("albedo_mae_aligned", "albedo, aligned"),
    _metric("normal_deg", "normal", "{:.2f}°"),
    _metric("dark_misclassified", "dark misclassified", "{:.1%}"),
    _metric("occlusion_mae", "occlusion"),
    _metric("chamfer_l1", "chamfer", "{:.4f}"),
    _metric("fscore", "F-score", higher=True),
    _metric("coverage", "coverage", higher=True),
    Figure("view_psnr", "views, dB", "{:.2f}", lambda r: r.views.get("psnr"), higher=True),
    _relit("mean", "psnr", "relit, dB", "{:.2f}"),
    _relit("mean", "log_psnr", "relit, log dB", "{:.2f}"),
    _relit("mean", "ssim", "relit, SSIM"),
    _relit("mean", "mask_iou", "relit, IoU"),
    _relit("aligned", "psnr", "relit, aligned, dB", "{:.2f}"),
    Figure("probe_error", "probe, stops", "{:.2f}", lambda r: (r.probe or {}).get("error")),
    Figure("seconds", "seconds", "{:.0f}", lambda r: r.seconds.get("total")),
    Figure("coarse_ms", "coarse, ms/it", "{:.1f}", lambda r: _milliseconds(r, "coarse")),
    Figure("fine_ms", "fine, ms/it", "{:.1f}", lambda r: _milliseconds(r, "fine")),
)

FIGURE_NAMES = tuple(figure.name for figure in FIGURES)
