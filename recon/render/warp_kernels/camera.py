"""Pinhole camera functions shared by the kernels (same conventions as `recon.data.cameras`)."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def pixel_direction(pose: wp.mat44, focal: wp.vec2, principal: wp.vec2, column: int, row: int) -> wp.vec3:
    """World direction through a pixel's centre, scaled so that it advances one unit along the view axis."""
    x = (float(column) + 0.5 - principal[0]) / focal[0]
    y = -(float(row) + 0.5 - principal[1]) / focal[1]
    return wp.transform_vector(pose, wp.vec3(x, y, -1.0))


@wp.func
def camera_origin(pose: wp.mat44) -> wp.vec3:
    return wp.vec3(pose[0, 3], pose[1, 3], pose[2, 3])


@wp.func
def to_camera(pose: wp.mat44, point: wp.vec3) -> wp.vec3:
    """Camera-space position; the rotation part of `pose` is orthonormal, so its transpose inverts it."""
    offset = point - camera_origin(pose)
    return wp.transform_vector(wp.transpose(pose), offset)


@wp.func
def to_pixel(focal: wp.vec2, principal: wp.vec2, local: wp.vec3) -> wp.vec2:
    """Pixel position (x right, y down) of a camera-space point in front of the camera."""
    depth = -local[2]
    return wp.vec2(
        focal[0] * local[0] / depth + principal[0],
        principal[1] - focal[1] * local[1] / depth,
    )


@wp.func
def to_pixel_adjoint(pose: wp.mat44, focal: wp.vec2, local: wp.vec3, gradient: wp.vec2) -> wp.vec3:
    """Gradient with respect to the world position, from the gradient with respect to the pixel position."""
    inverse_depth = -1.0 / local[2]
    gx = gradient[0] * focal[0] * inverse_depth
    gy = -gradient[1] * focal[1] * inverse_depth
    gz = (gx * local[0] + gy * local[1]) * inverse_depth
    return wp.transform_vector(pose, wp.vec3(gx, gy, gz))
