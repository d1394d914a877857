"""Rays from a mesh's own surface: what light they find blocked, and what they find in its place.

One thread per vertex or pixel loops over its rays, so nothing is kept per ray, and results do not depend on
the number of threads. A ray that escapes contributes nothing at all: what is estimated is the difference
from the prefiltered light, so points that nothing blocks are exact.
"""

# ruff: noqa: RUF046, UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

import math

import warp as wp

from recon.light.cubemap import bilinear, place

wp.set_module_options({"enable_backward": False})

_FAR = 1.0e30
_TURN = 2.0 * math.pi
# The golden ratio's fraction: with it as step, any number of azimuths are spread evenly.
_GOLDEN = 0.6180339887498949


@wp.func
def _prefiltered(
    texels: wp.array[wp.vec3], table: wp.array2d[int], direction: wp.vec3, level: float
) -> wp.vec3:
    """The light's radiance at a fractional specular level; `table` has one more row, for diffuse light."""
    lower = wp.max(wp.min(int(level), table.shape[0] - 3), 0)
    fraction = level - float(lower)
    value = bilinear(texels, place(direction, table[lower, 0], table[lower, 1])).value
    if fraction > 0.0:
        above = bilinear(texels, place(direction, table[lower + 1, 0], table[lower + 1, 1])).value
        value = value * (1.0 - fraction) + above * fraction
    return value


@wp.func
def _to_world(local: wp.vec3, normal: wp.vec3) -> wp.vec3:
    """From a frame with `normal` on +Z (Duff et al. 2017, "Building an Orthonormal Basis, Revisited")."""
    sign = float(1.0)
    if normal[2] < 0.0:
        sign = -1.0
    a = -1.0 / (sign + normal[2])
    b = normal[0] * normal[1] * a
    tangent = wp.vec3(1.0 + sign * normal[0] * normal[0] * a, sign * b, -sign * normal[0])
    bitangent = wp.vec3(b, sign + normal[1] * normal[1] * a, -normal[1])
    return tangent * local[0] + bitangent * local[1] + normal * local[2]


@wp.func
def _reflect_by_visible_normal(
    normal: wp.vec3, to_camera: wp.vec3, alpha: float, uniform_x: float, uniform_y: float
) -> wp.vec3:
    """A direction that GGX reflects toward the camera; see `recon.render.brdf.sample_visible_normals`."""
    n_dot_v = wp.clamp(wp.dot(normal, to_camera), 1.0e-4, 1.0)
    across = to_camera - normal * n_dot_v
    sine = wp.length(across)
    x_axis = _to_world(wp.vec3(1.0, 0.0, 0.0), normal)
    if sine > 1.0e-6:
        x_axis = across / sine
    y_axis = wp.cross(normal, x_axis)
    stretched = wp.sqrt(alpha * alpha * sine * sine + n_dot_v * n_dot_v)
    view_x = alpha * sine / stretched
    view_z = n_dot_v / stretched
    z = (1.0 - uniform_y) * (1.0 + view_z) - view_z
    radius = wp.sqrt(wp.max(1.0 - z * z, 0.0))
    azimuth = _TURN * uniform_x
    half_x = alpha * (radius * wp.cos(azimuth) + view_x)
    half_y = alpha * radius * wp.sin(azimuth)
    half = wp.normalize(x_axis * half_x + y_axis * half_y + normal * (z + view_z))
    return half * (2.0 * wp.dot(half, to_camera)) - to_camera


@wp.func
def _at_corners(
    values: wp.array2d[wp.vec3], row: int, faces: wp.array2d[int], face: int, weights: wp.vec3
) -> wp.vec3:
    return (
        values[row, faces[face, 0]] * weights[0]
        + values[row, faces[face, 1]] * weights[1]
        + values[row, faces[face, 2]] * weights[2]
    )


@wp.kernel
def blocked_at_vertices(
    start: int,
    mesh: wp.uint64,
    faces: wp.array2d[int],
    vertices: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    rays: int,
    seed: int,
    offset: float,
    texels: wp.array[wp.vec3],
    table: wp.array2d[int],
    level: float,
    rotations: wp.array[wp.mat33],
    outgoing: wp.array2d[wp.vec3],
    blocked: wp.array2d[wp.vec3],
    outside: wp.array[float],
    free: wp.array[float],
) -> None:
    """blocked: (N, V), zero before: irradiance / pi that the mesh blocks, less what it sends instead.

    rotations: N orientations R of the light, L(R^T d). outgoing: (N, V) radiance of the front sides; back
    sides are black. outside: (V,) the share of rays that met no back side. free: (V,) of those that met
    nothing.
    """
    i = start + wp.tid()
    normal = normals[i]
    origin = vertices[i] + normal * offset
    # A lattice of points of the disk, shifted at random: spread evenly, and each of them uniform.
    state = wp.rand_init(seed, i)
    shift_radius = wp.randf(state)
    shift_azimuth = wp.randf(state)
    share = 1.0 / float(rays)
    met_back = float(0.0)
    met_any = float(0.0)
    for ray in range(rays):
        sine_squared = (float(ray) + shift_radius) * share
        turns = float(ray) * _GOLDEN + shift_azimuth
        azimuth = _TURN * (turns - wp.floor(turns))
        radius = wp.sqrt(sine_squared)
        local = wp.vec3(radius * wp.cos(azimuth), radius * wp.sin(azimuth), wp.sqrt(1.0 - sine_squared))
        direction = _to_world(local, normal)
        hit = wp.mesh_query_ray(mesh, origin, direction, _FAR)
        if hit.result:
            met_any += share
            front = wp.dot(hit.normal, direction) < 0.0
            if not front:
                met_back += share
            weights = wp.vec3(hit.u, hit.v, 1.0 - hit.u - hit.v)
            for k in range(rotations.shape[0]):
                lost = _prefiltered(texels, table, wp.transpose(rotations[k]) * direction, level)
                if front:
                    lost = lost - _at_corners(outgoing, k, faces, hit.face, weights)
                blocked[k, i] = blocked[k, i] + lost * share
    outside[i] = 1.0 - met_back
    free[i] = wp.max(1.0 - met_any, 0.0)


@wp.kernel
def blocked_at_pixels(
    start: int,
    tree: wp.array[wp.int64],
    faces: wp.array2d[int],
    triangles: wp.array[wp.int64],
    barycentrics: wp.array[wp.vec3],
    positions: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    to_camera: wp.array[wp.vec3],
    roughness: wp.array[float],
    levels: wp.array[float],
    rays: int,
    seed: wp.array[wp.int64],
    offset: float,
    texels: wp.array[wp.vec3],
    table: wp.array2d[int],
    light_rotation: wp.array[wp.mat33],
    rotations: wp.array[wp.mat33],
    outgoing: wp.array2d[wp.vec3],
    blocked: wp.array2d[wp.vec3],
    vertices_trust: wp.array[float],
    irradiance: wp.array[wp.vec3],
    reflected: wp.array[wp.vec3],
    trust: wp.array[float],
) -> None:
    """irradiance: `blocked` (N, V) of `blocked_at_vertices`, interpolated. reflected: its counterpart in the
    GGX lobe of `roughness`, by rays; `levels` is where the light they lose is looked up. trust: the share
    of these rays that met nothing, times `vertices_trust`, interpolated.

    tree, seed: one number each, on the device, so that a launch can be replayed with others.
    light_rotation: (P,) or empty; vertices' values are those of the most similar of `rotations`. Backs of
    triangles, which have no values of their own, count as free of the object, and so do rays that start below
    the surface.
    """
    i = start + wp.tid()
    face = int(triangles[i])
    mesh = wp.uint64(tree[0])
    toward = to_camera[i]
    zero = wp.vec3(0.0, 0.0, 0.0)
    geometric = wp.mesh_eval_face_normal(mesh, face)
    if wp.dot(geometric, toward) <= 0.0:
        irradiance[i] = zero
        reflected[i] = zero
        trust[i] = 1.0
        return
    row = int(0)
    to_light = wp.identity(n=3, dtype=float)
    if light_rotation.shape[0] > 0:
        to_light = wp.transpose(light_rotation[i])
        most_similar = float(-4.0)
        for k in range(rotations.shape[0]):
            similarity = wp.ddot(rotations[k], light_rotation[i])
            if similarity > most_similar:
                most_similar = similarity
                row = k
    weights = barycentrics[i]
    irradiance[i] = _at_corners(blocked, row, faces, face, weights)
    around = (
        vertices_trust[faces[face, 0]] * weights[0]
        + vertices_trust[faces[face, 1]] * weights[1]
        + vertices_trust[faces[face, 2]] * weights[2]
    )

    origin = positions[i] + geometric * offset
    alpha = roughness[i] * roughness[i]
    state = wp.rand_init(int(seed[0]), i)
    total = wp.vec3(0.0, 0.0, 0.0)
    met_any = float(0.0)
    for _ray in range(rays):
        uniform_x = wp.randf(state)
        uniform_y = wp.randf(state)
        direction = _reflect_by_visible_normal(normals[i], toward, alpha, uniform_x, uniform_y)
        if wp.dot(direction, geometric) > 0.0:
            hit = wp.mesh_query_ray(mesh, origin, direction, _FAR)
            if hit.result:
                met_any += 1.0
                total += _prefiltered(texels, table, to_light * direction, levels[i])
                if wp.dot(hit.normal, direction) < 0.0:
                    there = wp.vec3(hit.u, hit.v, 1.0 - hit.u - hit.v)
                    total -= _at_corners(outgoing, row, faces, hit.face, there)
    reflected[i] = total / float(rays)
    trust[i] = around * (1.0 - met_any / float(rays))
