"""UsdGeom.Camera as a pinhole: pose in the stage, focal length and principal point in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usd_tools.errors import UserError
from usd_tools.matrices import Matrix, column_matrix

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
    """

    focal_length: float
    horizontal_aperture: float
    vertical_aperture: float
    horizontal_offset: float = 0.0
    vertical_offset: float = 0.0
    policy: str = "expandAperture"

    def intrinsics(self, width: int, height: int) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy in pixels, measured from the top-left edge of a width x height picture."""
        horizontal, vertical = conformed_aperture(
            self.horizontal_aperture, self.vertical_aperture, width / height, self.policy
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
    """Both apertures after they were fitted to a picture's width / height, as UsdRenderSettings tells it."""
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


def read_lens(camera: Any, time: float, policy: str = "expandAperture") -> Lens:
    """The lens of a UsdGeom.Camera at `time`.

    Raises:
        UserError: the camera is orthographic, or a figure of it is not positive.
    """
    from pxr import UsdGeom

    path = camera.GetPath()
    if camera.GetProjectionAttr().Get(time) == UsdGeom.Tokens.orthographic:
        raise UserError(f"{path}: is an orthographic camera; expected a perspective one (--camera)")
    lens = Lens(
        float(camera.GetFocalLengthAttr().Get(time)),
        float(camera.GetHorizontalApertureAttr().Get(time)),
        float(camera.GetVerticalApertureAttr().Get(time)),
        float(camera.GetHorizontalApertureOffsetAttr().Get(time)),
        float(camera.GetVerticalApertureOffsetAttr().Get(time)),
        policy,
    )
    for name in ("focal_length", "horizontal_aperture", "vertical_aperture"):
        value = getattr(lens, name)
        if not (np.isfinite(value) and value > 0):
            raise UserError(f"{path}: its {name.replace('_', ' ')} is {value:g}; expected a positive number")
    return lens


def camera_to_world(camera: Any, time: float) -> Matrix:
    """The pose (4, 4) in stage space, column vectors, OpenGL camera (x right, y up, looks down -z).

    As in USD's own GfFrustum, scale and shear above the camera are stripped and a mirrored camera is flipped
    back along its x axis: the rotation is proper and orthonormal.

    Raises:
        UserError: the transform is singular or not finite.
    """
    from pxr import Gf, UsdGeom

    matrix = UsdGeom.Xformable(camera).ComputeLocalToWorldTransform(time)
    values = column_matrix(matrix)
    if not np.isfinite(values).all() or abs(np.linalg.det(values[:3, :3])) < 1e-30:
        raise UserError(
            f"{camera.GetPath()}: its transform at frame {time:g} is singular; expected a camera pose"
        )
    frustum = Gf.Frustum()
    frustum.SetPositionAndRotationFromMatrix(matrix)
    return column_matrix(frustum.ComputeViewInverse())


def clipping_range(camera: Any, time: float) -> tuple[float, float]:
    """Near and far in stage units."""
    near, far = camera.GetClippingRangeAttr().Get(time)
    return float(near), float(far)
