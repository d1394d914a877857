"""UsdGeom.Camera as a pinhole: pose in the stage, focal length and principal point in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.matrices import Matrix, column_matrix, row_matrix
from usd_tools.stage import value_at, world_matrix

APERTURE_POLICIES = (
    "expandAperture",
    "cropAperture",
    "adjustApertureWidth",
    "adjustApertureHeight",
    "adjustPixelAspectRatio",
)


@dataclass(frozen=True)
class Lens:
    """Apertures, offsets and focal length in one unit (USD: tenths of a stage unit).

    policy: UsdRender's aspectRatioConformPolicy: what gives way where aperture and picture differ in shape.
    pixel_aspect: width over height of a pixel; `adjustPixelAspectRatio` takes whatever fits instead.
    """

    focal_length: float
    horizontal_aperture: float
    vertical_aperture: float
    horizontal_offset: float = 0.0
    vertical_offset: float = 0.0
    policy: str = "expandAperture"
    pixel_aspect: float = 1.0

    def intrinsics(self, width: float, height: float) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy in pixels, measured from the top-left edge of a width x height picture."""
        horizontal, vertical = conformed_aperture(
            self.horizontal_aperture, self.vertical_aperture, self.pixel_aspect * width / height, self.policy
        )
        return (
            self.focal_length / horizontal * width,
            self.focal_length / vertical * height,
            (0.5 - self.horizontal_offset / horizontal) * width,
            (0.5 + self.vertical_offset / vertical) * height,
        )


def conformed_aperture(
    horizontal: float, vertical: float, aspect: float, policy: str = "expandAperture"
) -> tuple[float, float]:
    """Both apertures after they were fitted to a picture of shape `aspect`, as UsdRenderSettings tells it."""
    if policy == "adjustPixelAspectRatio":
        return horizontal, vertical
    wider = aspect > horizontal / vertical  # the picture is wider than the aperture
    adjust_width = {
        "expandAperture": wider,
        "cropAperture": not wider,
        "adjustApertureWidth": True,
        "adjustApertureHeight": False,
    }[policy]
    return (vertical * aspect, vertical) if adjust_width else (horizontal, horizontal / aspect)


def read_lens(camera: Any, time: float, policy: str = "expandAperture", pixel_aspect: float = 1.0) -> Lens:
    """The lens of a UsdGeom.Camera at `time`.

    Raises:
        UserError: the camera is orthographic, or a figure of it is missing or cannot be a lens's.
    """
    from pxr import UsdGeom

    path = camera.GetPath()
    if value_at(camera.GetProjectionAttr(), time) == UsdGeom.Tokens.orthographic:
        raise UserError(f"{path}: is an orthographic camera; expected a perspective one (--camera)")
    lens = Lens(
        float(value_at(camera.GetFocalLengthAttr(), time)),
        float(value_at(camera.GetHorizontalApertureAttr(), time)),
        float(value_at(camera.GetVerticalApertureAttr(), time)),
        float(value_at(camera.GetHorizontalApertureOffsetAttr(), time)),
        float(value_at(camera.GetVerticalApertureOffsetAttr(), time)),
        policy,
        pixel_aspect,
    )
    for name in ("focal_length", "horizontal_aperture", "vertical_aperture"):
        value = getattr(lens, name)
        if not (np.isfinite(value) and value > 0):
            raise UserError(f"{path}: its {name.replace('_', ' ')} is {value:g}; expected a positive number")
    if not np.isfinite([lens.horizontal_offset, lens.vertical_offset]).all():
        raise UserError(f"{path}: its aperture offsets are not finite; expected numbers")
    return lens


def camera_to_world(camera: Any, time: float) -> Matrix:
    """The pose (4, 4) in stage space, column vectors, OpenGL camera (x right, y up, looks down -z).

    As in USD's own GfFrustum, scale and shear above the camera are stripped and a mirrored camera is flipped
    back along its x axis: the rotation is proper and orthonormal.

    Raises:
        UserError: the transform is singular, not finite, or missing at `time`.
    """
    from pxr import Gf

    frustum = Gf.Frustum()
    frustum.SetPositionAndRotationFromMatrix(row_matrix(world_matrix(camera.GetPrim(), time)))
    return column_matrix(frustum.ComputeViewInverse())


def exposure_scale(camera: Any, time: float) -> float:
    """The factor by which the camera's exposure asks renderers to scale pictures; not all do."""
    if hasattr(camera, "ComputeLinearExposureScale"):  # newer USD: ISO, time and f-stop, too
        return float(camera.ComputeLinearExposureScale(time))
    return 2.0 ** float(value_at(camera.GetExposureAttr(), time))


def clipping_range(camera: Any, time: float) -> tuple[float, float]:
    """Near and far in stage units."""
    near, far = value_at(camera.GetClippingRangeAttr(), time)
    return float(near), float(far)
