"""Barycentrics of the ray through a pixel centre, their derivatives, and the uv footprint of a pixel.

With d the ray's direction, e1 = v1 - v0 and e2 = v2 - v0, Cramer's rule (Moeller and Trumbore 1997) gives
b1 = g1 . (o - v0) and b2 = g2 . (o - v0), where g1 = (d x e2) / det, g2 = (e1 x d) / det and
det = e1 . (d x e2). So g1, g2 and g0 = -(g1 + g2) are the gradients of the barycentrics over positions
projected along d, and moving the vertices by dv_j changes them by db_i = -g_i . sum_j b_j dv_j.
"""

# ruff: noqa: UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

import warp as wp

from recon.render.warp_kernels.camera import camera_origin, pixel_direction

wp.set_module_options({"enable_backward": False})

# |det| / (|e1| |e2|) below which a triangle counts as edge-on: float32 leaves its barycentrics no digits.
_GRAZING = wp.constant(1.0e-6)


@wp.func
def reciprocal_gradients(direction: wp.vec3, e1: wp.vec3, e2: wp.vec3) -> tuple[wp.vec3, wp.vec3]:
    """g1 and g2 for a unit `direction`; zero for an edge-on or degenerate triangle."""
    p = wp.cross(direction, e2)
    det = wp.dot(e1, p)
    inverse = float(0.0)
    if wp.abs(det) > _GRAZING * wp.length(e1) * wp.length(e2):
        inverse = 1.0 / det
    return p * inverse, wp.cross(e1, direction) * inverse


@wp.kernel
def solve_barycentrics(
    start: int,
    pixels: wp.array[wp.int64],
    face_map: wp.array[int],
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[int],
    poses: wp.array[wp.mat44],
    focals: wp.array[wp.vec2],
    principals: wp.array[wp.vec2],
    height: int,
    width: int,
    barycentrics: wp.array[wp.vec3],
    triangles: wp.array[wp.int64],
) -> None:
    """Triangles, and barycentrics kept inside them; an edge-on triangle gets its corner 0."""
    i = start + wp.tid()
    pixel = int(pixels[i])
    view = pixel // (height * width)
    row = pixel // width - view * height
    pose = poses[view]
    direction = wp.normalize(pixel_direction(pose, focals[view], principals[view], pixel % width, row))
    face = wp.max(face_map[pixel], 0)
    triangles[i] = wp.int64(face)
    v0 = vertices[faces[face, 0]]
    g1, g2 = reciprocal_gradients(direction, vertices[faces[face, 1]] - v0, vertices[faces[face, 2]] - v0)
    offset = camera_origin(pose) - v0
    # The part along the ray cancels in exact arithmetic; taking it out first saves digits far away.
    offset = offset - direction * wp.dot(direction, offset)
    # The ray tracer found the pixel inside, so anything outside is rounding.
    b1 = wp.clamp(wp.dot(g1, offset), 0.0, 1.0)
    b2 = wp.clamp(wp.dot(g2, offset), 0.0, 1.0 - b1)
    barycentrics[i] = wp.vec3(1.0 - b1 - b2, b1, b2)


@wp.kernel
def solve_barycentrics_adjoint(
    start: int,
    pixels: wp.array[wp.int64],
    triangles: wp.array[wp.int64],
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[int],
    poses: wp.array[wp.mat44],
    focals: wp.array[wp.vec2],
    principals: wp.array[wp.vec2],
    height: int,
    width: int,
    barycentrics: wp.array[wp.vec3],
    gradient: wp.array[wp.vec3],
    vertex_gradient: wp.array[wp.vec3],
) -> None:
    i = start + wp.tid()
    pixel = int(pixels[i])
    view = pixel // (height * width)
    row = pixel // width - view * height
    direction = wp.normalize(pixel_direction(poses[view], focals[view], principals[view], pixel % width, row))
    face = int(triangles[i])
    v0 = vertices[faces[face, 0]]
    g1, g2 = reciprocal_gradients(direction, vertices[faces[face, 1]] - v0, vertices[faces[face, 2]] - v0)
    upstream = gradient[i]
    shift = g1 * (upstream[0] - upstream[1]) + g2 * (upstream[0] - upstream[2])
    for corner in range(3):
        wp.atomic_add(vertex_gradient, faces[face, corner], shift * barycentrics[i][corner])


@wp.kernel
def measure_footprint(
    start: int,
    pixels: wp.array[wp.int64],
    triangles: wp.array[wp.int64],
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[int],
    poses: wp.array[wp.mat44],
    focals: wp.array[wp.vec2],
    principals: wp.array[wp.vec2],
    height: int,
    width: int,
    barycentrics: wp.array[wp.vec3],
    uvs: wp.array[wp.vec2],
    index: wp.array2d[wp.int64],
    footprint: wp.array[wp.mat22],
) -> None:
    """footprint[i][r, c] = d uv_r / d pixel_c: the ray's hit moves by depth * d direction / d pixel."""
    i = start + wp.tid()
    pixel = int(pixels[i])
    view = pixel // (height * width)
    row = pixel // width - view * height
    pose = poses[view]
    axis = pixel_direction(pose, focals[view], principals[view], pixel % width, row)
    length = wp.length(axis)
    direction = axis / length
    face = int(triangles[i])
    v0 = vertices[faces[face, 0]]
    e1 = vertices[faces[face, 1]] - v0
    e2 = vertices[faces[face, 2]] - v0
    g1, g2 = reciprocal_gradients(direction, e1, e2)
    hit = v0 + e1 * barycentrics[i][1] + e2 * barycentrics[i][2] - camera_origin(pose)
    depth = wp.dot(hit, direction) / length
    right = wp.transform_vector(pose, wp.vec3(depth / focals[view][0], 0.0, 0.0))
    down = wp.transform_vector(pose, wp.vec3(0.0, -depth / focals[view][1], 0.0))
    uv0 = uvs[int(index[face, 0])]
    t1 = uvs[int(index[face, 1])] - uv0
    t2 = uvs[int(index[face, 2])] - uv0
    over_x = t1 * wp.dot(g1, right) + t2 * wp.dot(g2, right)
    over_y = t1 * wp.dot(g1, down) + t2 * wp.dot(g2, down)
    footprint[i] = wp.mat22(over_x[0], over_y[0], over_x[1], over_y[1])
