"""Warp kernels over a triangle mesh's BVH: nearest points, and visibility from cameras.

Every kernel's first argument is `start`, and its index is `start + wp.tid()`, see `launch`. Barycentrics
(u, v) weigh a triangle's first and second corner, 1 - u - v the third (Warp's convention).
"""

# mypy: ignore-errors
# (kernel bodies are Warp's own language, in which type checkers see Python)

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import warp as wp

from usd_tools.threads import available_cores

wp.config.log_level = 40  # errors only: "no CUDA driver" is no news on a laptop
wp.init()

# Below this many indices a slice costs more to hand over than to run.
_MIN_SLICE = 4096
_CORES = available_cores()  # asking reads a file, too slow for every launch


def launch(kernel: wp.Kernel, count: int, inputs: Sequence[Any], device: wp.Device) -> None:
    """Runs `kernel` for `count` indices; on a CPU in slices side by side (Warp uses one core per launch)."""
    slices = min(_CORES, max(1, count // _MIN_SLICE)) if device.is_cpu else 1
    bounds = [count * i // slices for i in range(slices + 1)]
    # Loads and links the kernel: Warp crashes where two threads look one up for the first time.
    wp.launch(kernel, dim=1, inputs=[0, *inputs], device=device, record_cmd=True)

    def run(i: int) -> None:
        wp.launch(kernel, dim=bounds[i + 1] - bounds[i], inputs=[bounds[i], *inputs], device=device)

    with ThreadPoolExecutor(slices) as pool:
        list(pool.map(run, range(slices)))


@wp.struct
class TrianglePoint:
    """A point of a triangle: squared distance to the query, and the weights of the first two corners."""

    squared: float
    u: float
    v: float


@wp.func
def fraction_along(p: wp.vec3, a: wp.vec3, b: wp.vec3) -> float:
    """Where along the segment from a (0) to b (1) its nearest point to p is."""
    edge = b - a
    square = wp.dot(edge, edge)
    if square == 0.0:
        return 0.0
    return wp.clamp(wp.dot(p - a, edge) / square, 0.0, 1.0)


@wp.func
def closest_on_triangle(p: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> TrianglePoint:
    """The point of triangle abc nearest to p: its projection if inside, else the best of the edges."""
    best = TrianglePoint()
    normal = wp.cross(b - a, c - a)
    square = wp.dot(normal, normal)
    if square > 0.0:
        u = wp.dot(wp.cross(c - b, p - b), normal) / square
        v = wp.dot(wp.cross(a - c, p - c), normal) / square
        if u >= 0.0 and v >= 0.0 and u + v <= 1.0:
            height = wp.dot(p - a, normal)
            best.squared = height * height / square
            best.u = u
            best.v = v
            return best
    t = fraction_along(p, a, b)
    best.squared = wp.length_sq(p - (a + t * (b - a)))
    best.u = 1.0 - t
    best.v = t
    t = fraction_along(p, b, c)
    squared = wp.length_sq(p - (b + t * (c - b)))
    if squared < best.squared:
        best.squared = squared
        best.u = 0.0
        best.v = 1.0 - t
    t = fraction_along(p, c, a)
    squared = wp.length_sq(p - (c + t * (a - c)))
    if squared < best.squared:
        best.squared = squared
        best.u = t
        best.v = 0.0
    return best


@wp.kernel
def closest_point(
    start: int,
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    reach: float,
    face: wp.array(dtype=int),
    weights: wp.array(dtype=wp.vec2),
):
    """The nearest point of the mesh within `reach`; face -1 where there is none."""
    i = start + wp.tid()
    query = wp.mesh_query_point_no_sign(mesh, points[i], reach)
    face[i] = -1
    if query.result:
        face[i] = query.face
        weights[i] = wp.vec2(query.u, query.v)


@wp.kernel
def closest_agreeing_point(
    start: int,
    mesh: wp.uint64,
    face_normals: wp.array(dtype=wp.vec3),
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    reach: float,
    min_cosine: float,
    face: wp.array(dtype=int),
    weights: wp.array(dtype=wp.vec2),
):
    """The nearest point within `reach` among the faces whose normal makes a cosine > `min_cosine`.

    Mostly the nearest point of all agrees, and one BVH descent finds it. Where it does not (thin plates,
    creases), every face that comes within `reach` is looked at.
    """
    i = start + wp.tid()
    p = points[i]
    n = normals[i]
    face[i] = -1
    nearest = wp.mesh_query_point_no_sign(mesh, p, reach)
    if not nearest.result:
        return
    if wp.dot(face_normals[nearest.face], n) > min_cosine:
        face[i] = nearest.face
        weights[i] = wp.vec2(nearest.u, nearest.v)
        return
    shape = wp.mesh_get(mesh)
    best = reach * reach
    extent = wp.vec3(reach, reach, reach)
    query = wp.mesh_query_aabb(mesh, p - extent, p + extent)
    candidate = wp.int32(0)
    while wp.mesh_query_aabb_next(query, candidate):
        if wp.dot(face_normals[candidate], n) > min_cosine:
            a = shape.points[shape.indices[3 * candidate]]
            b = shape.points[shape.indices[3 * candidate + 1]]
            c = shape.points[shape.indices[3 * candidate + 2]]
            found = closest_on_triangle(p, a, b, c)
            # Equally near faces: the lowest index, so that the result does not hang on the BVH's order.
            if found.squared < best or (found.squared == best and candidate < face[i]):
                best = found.squared
                face[i] = candidate
                weights[i] = wp.vec2(found.u, found.v)


@wp.kernel
def seen_by_cameras(
    start: int,
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    world_to_camera: wp.array(dtype=wp.mat44),
    origins: wp.array(dtype=wp.vec3),
    intrinsics: wp.array(dtype=wp.vec4),
    sizes: wp.array(dtype=wp.vec2),
    offset: float,
    seen: wp.array(dtype=wp.uint8),
):
    """1 where some camera has the point in its image, on its front side, and nothing in between."""
    i = start + wp.tid()
    p = points[i]
    n = normals[i]
    lifted = p + offset * n
    seen[i] = wp.uint8(0)
    for c in range(origins.shape[0]):
        to_camera = origins[c] - lifted
        if wp.dot(to_camera, n) > 0.0:
            local = wp.transform_point(world_to_camera[c], p)
            depth = -local[2]
            if depth > 0.0:
                x = intrinsics[c][0] * local[0] / depth + intrinsics[c][2]
                y = -intrinsics[c][1] * local[1] / depth + intrinsics[c][3]
                if x >= 0.0 and x <= sizes[c][0] and y >= 0.0 and y <= sizes[c][1]:
                    distance = wp.length(to_camera)
                    if not wp.mesh_query_ray_anyhit(mesh, lifted, to_camera / distance, distance, -1):
                        seen[i] = wp.uint8(1)
                        return


@wp.kernel
def first_hit(
    start: int,
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    face: wp.array(dtype=int),
    weights: wp.array(dtype=wp.vec2),
):
    """The first face that a ray meets, -1 for none."""
    i = start + wp.tid()
    query = wp.mesh_query_ray(mesh, origins[i], directions[i], 1.0e8)
    face[i] = -1
    if query.result:
        face[i] = query.face
        weights[i] = wp.vec2(query.u, query.v)
