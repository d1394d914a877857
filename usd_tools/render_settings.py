"""What a stage's RenderSettings and RenderProducts say of cameras and of the pictures taken through them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.cameras import APERTURE_POLICIES
from usd_tools.errors import UserError
from usd_tools.stage import active_prims, value_at

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureFormat:
    """How pictures through one camera are laid out; see UsdRenderSettingsBase.

    resolution: width and height, None where the stage does not tell. pixel_aspect: width over height of a
    pixel. policy: aspectRatioConformPolicy. path: of the prim that tells the resolution, None without any.
    depth_of_field: whether renderers are to use the camera's fStop.
    """

    resolution: tuple[int, int] | None = None
    pixel_aspect: float = 1.0
    policy: str = "expandAperture"
    path: str | None = None
    depth_of_field: bool = True


def stage_settings(stage: Any) -> Any:
    """The UsdRender.Settings in the stage's metadata, else the only one of the stage, else None."""
    from pxr import UsdRender

    settings = UsdRender.Settings.GetStageRenderSettings(stage)
    if settings:
        return settings
    every = [prim for prim in active_prims(stage.GetPseudoRoot()) if prim.IsA(UsdRender.Settings)]
    return UsdRender.Settings(every[0]) if len(every) == 1 else None


def settings_cameras(stage: Any) -> list[str]:
    """Prim paths of the cameras that the stage's settings render through: those of its products, in order."""
    settings = stage_settings(stage)
    if not settings:
        return []
    through = [_camera_path(product) for product in _products(settings)] or [None]
    shared = _camera_path(settings)
    return list(dict.fromkeys(path for path in (own or shared for own in through) if path))


def product_frames(stage: Any, camera_path: str) -> list[float]:
    """The frames that the camera's RenderProduct names a picture for: its productName's time samples."""
    product = _product_of(stage_settings(stage), camera_path)
    return [float(time) for time in product.GetProductNameAttr().GetTimeSamples()] if product else []


def picture_format(stage: Any, camera_path: str, time: float) -> PictureFormat:
    """The format of pictures through a camera: its RenderProduct's opinions over the RenderSettings'.

    Raises:
        UserError: pixelAspectRatio or aspectRatioConformPolicy is none that a picture can have.
    """
    settings = stage_settings(stage)
    if not settings:
        return PictureFormat()
    product = _product_of(settings, camera_path)

    def told(name: str) -> tuple[Any, str]:
        """An attribute's value, and the path of the prim that has it."""
        for prim in (product, settings):
            attribute = prim.GetPrim().GetAttribute(name) if prim else None
            if attribute and attribute.HasAuthoredValue():
                return value_at(attribute, time), str(prim.GetPath())
        return None, str(settings.GetPath())

    resolution, where = told("resolution")
    aspect, aspect_at = told("pixelAspectRatio")
    policy, policy_at = told("aspectRatioConformPolicy")
    window, window_at = told("dataWindowNDC")
    sharp, _ = told("disableDepthOfField")
    if policy is not None and policy not in APERTURE_POLICIES:
        raise UserError(
            f"{policy_at}: aspectRatioConformPolicy {policy}; expected one of {', '.join(APERTURE_POLICIES)}"
        )
    if aspect is not None and not (np.isfinite(aspect) and aspect > 0):
        raise UserError(f"{aspect_at}: pixelAspectRatio is {aspect:g}; expected a positive number")
    if window is not None and tuple(window) != (0, 0, 1, 1):
        log.warning(
            "%s: dataWindowNDC %s is not the whole picture; pictures are taken as whole (an EXR's display "
            "window)",
            window_at,
            tuple(window),
        )
    return PictureFormat(
        resolution=None if resolution is None else (int(resolution[0]), int(resolution[1])),
        pixel_aspect=1.0 if aspect is None else float(aspect),
        policy="expandAperture" if policy is None else str(policy),
        path=where,
        depth_of_field=not sharp,
    )


def _products(settings: Any) -> list[Any]:
    from pxr import UsdRender

    stage = settings.GetPrim().GetStage()
    targets = settings.GetProductsRel().GetForwardedTargets()
    products = [UsdRender.Product.Get(stage, path) for path in targets]
    return [product for product in products if product and product.GetPrim().IsActive()]


def _product_of(settings: Any, camera_path: str) -> Any:
    """The first product that is rendered through the camera, or None."""
    if not settings:
        return None
    shared = _camera_path(settings)
    matching = (p for p in _products(settings) if (_camera_path(p) or shared) == camera_path)
    return next(matching, None)


def _camera_path(settings: Any) -> str | None:
    targets = settings.GetCameraRel().GetForwardedTargets()
    return str(targets[0]) if targets else None
