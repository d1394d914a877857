"""Primary visibility: the nearest triangle through every pixel centre."""

from __future__ import annotations

import warp as wp

from recon.render.warp_kernels.camera import camera_origin, pixel_direction

wp.set_module_options({"enable_backward": False})


@wp.kernel
def trace_pixels(
    start: int,
    mesh: wp.uint64,
    poses: wp.array[wp.mat44],
    focals: wp.array[wp.vec2],
    principals: wp.array[wp.vec2],
    height: int,
    width: int,
    face_map: wp.array[int],
    distance: wp.array[float],
) -> None:
    """face_map: triangle per pixel, -1 for background. distance: along the ray, 0 for background."""
    pixel = start + wp.tid()
    view = pixel // (height * width)
    row = pixel // width - view * height
    column = pixel % width
    pose = poses[view]
    direction = wp.normalize(pixel_direction(pose, focals[view], principals[view], column, row))
    hit = wp.mesh_query_ray(mesh, camera_origin(pose), direction, 1.0e30)
    face = -1
    depth = float(0.0)  # noqa: UP018 - a literal would be a constant to Warp
    if hit.result:
        face = hit.face
        depth = hit.t
    face_map[pixel] = face
    distance[pixel] = depth
