"""Where silhouette edges cross the segment between two neighbouring pixel centres.

Laine et al., "Modular Primitives for High-Performance Differentiable Rendering" (2020), section 3.5.

A pair of neighbouring pixels has local coordinates: the nearer surface's pixel centre at (0, 0), its
neighbour's centre at (1, 0), the other image axis across.
"""

# ruff: noqa: RUF046, UP018 (a literal that a loop overwrites must be a variable to Warp: `float(0.0)`)

from __future__ import annotations

import warp as wp

from recon.render.warp_kernels.camera import to_camera, to_pixel, to_pixel_adjoint

wp.set_module_options({"enable_backward": False})


@wp.func
def step_along(direction: int) -> wp.vec2i:
    """(column, row) step to the neighbour: 0 right, 1 left, 2 down, 3 up."""
    sign = 1 - 2 * (direction % 2)
    if direction < 2:
        return wp.vec2i(sign, 0)
    return wp.vec2i(0, sign)


@wp.func
def to_pair(pixel: wp.vec2, column: int, row: int, direction: int) -> wp.vec2:
    """Pixel position -> the pair's local coordinates."""
    x = pixel[0] - float(column) - 0.5
    y = pixel[1] - float(row) - 0.5
    sign = float(1 - 2 * (direction % 2))
    if direction < 2:
        return wp.vec2(sign * x, y)
    return wp.vec2(sign * y, x)


@wp.func
def side_of(p: wp.vec2, q: wp.vec2, r: wp.vec2) -> float:
    """Sign says on which side of the line p -> q the point r lies."""
    return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])


@wp.func
def corner_in_pair(
    local: wp.vec3,
    focal: wp.vec2,
    principal: wp.vec2,
    column: int,
    row: int,
    direction: int,
) -> wp.vec2:
    return to_pair(to_pixel(focal, principal, local), column, row, direction)


@wp.func
def walk_to_silhouette(
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[int],
    mates: wp.array2d[int],
    pose: wp.mat44,
    focal: wp.vec2,
    principal: wp.vec2,
    column: int,
    row: int,
    direction: int,
    first_face: int,
    near: float,
    max_steps: int,
) -> tuple[float, int, int]:
    """(position in 0..1 or -1, end vertices) of the silhouette edge met on the way to the neighbour.

    The paper looks at the edges of the pixel's own triangle. Where triangles are smaller than pixels that
    misses most silhouettes, so the surface is followed from triangle to triangle along the segment.
    """
    face = first_face
    came = int(-1)
    position = float(-1.0)
    from_vertex = int(-1)
    to_vertex = int(-1)
    step = int(0)
    while step < max_steps:
        step += 1
        a = to_camera(pose, vertices[faces[face, 0]])
        b = to_camera(pose, vertices[faces[face, 1]])
        c = to_camera(pose, vertices[faces[face, 2]])
        if -wp.max(a[2], wp.max(b[2], c[2])) <= near:
            break
        pa = corner_in_pair(a, focal, principal, column, row, direction)
        pb = corner_in_pair(b, focal, principal, column, row, direction)
        pc = corner_in_pair(c, focal, principal, column, row, direction)

        # The edge through which the segment's line leaves this triangle.
        leave = int(-1)
        crossing = float(-1.0e30)
        for k in range(3):
            p = pa
            q = pb
            if k == 1:
                p = pb
                q = pc
            if k == 2:
                p = pc
                q = pa
            if k != came and (p[1] < 0.0) != (q[1] < 0.0):
                x = p[0] - p[1] / (q[1] - p[1]) * (q[0] - p[0])
                if x > crossing:
                    crossing = x
                    leave = k
        if leave < 0 or crossing > 1.0:
            break
        p = pa
        q = pb
        r = pc
        if leave == 1:
            p = pb
            q = pc
            r = pa
        if leave == 2:
            p = pc
            q = pa
            r = pb

        mate = mates[face, leave]
        if mate == -2:  # an edge of three or more faces has no inside to follow
            break
        silhouette = mate == -1
        next_face = mate // 3
        if not silhouette:
            far_corner = to_camera(pose, vertices[faces[next_face, (mate + 2) % 3]])
            if -far_corner[2] <= near:
                break
            s = corner_in_pair(far_corner, focal, principal, column, row, direction)
            silhouette = side_of(p, q, r) * side_of(p, q, s) > 0.0
        if silhouette:
            along = wp.abs(q[0] - p[0])
            across = wp.abs(q[1] - p[1])
            # Steep edges belong to horizontal pairs and shallow ones to vertical pairs, or both
            # would count the same coverage. A diagonal goes to the horizontal pair.
            if along < across or (along == across and direction < 2):
                position = wp.max(crossing, 0.0)
                from_vertex = faces[face, leave]
                to_vertex = faces[face, (leave + 1) % 3]
            break
        face = next_face
        came = mate % 3
    return position, from_vertex, to_vertex


@wp.kernel
def find_crossings(
    start: int,
    pixels: wp.array[wp.int64],
    face_map: wp.array[int],
    distance: wp.array[float],
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[int],
    mates: wp.array2d[int],
    poses: wp.array[wp.mat44],
    focals: wp.array[wp.vec2],
    principals: wp.array[wp.vec2],
    height: int,
    width: int,
    near: float,
    max_steps: int,
    crossings: wp.array2d[float],
    edges: wp.array2d[wp.vec2i],
) -> None:
    """Per covered pixel and direction: the crossing's position (-1 for none) and its edge's vertices."""
    i = start + wp.tid()
    pixel = int(pixels[i])
    view = pixel // (height * width)
    row = pixel // width - view * height
    column = pixel % width
    own = face_map[pixel]
    for direction in range(4):
        crossings[i, direction] = -1.0
        if own < 0:
            continue
        step = step_along(direction)
        next_column = column + step[0]
        next_row = row + step[1]
        if next_column < 0 or next_column >= width or next_row < 0 or next_row >= height:
            continue
        neighbor = pixel + step[1] * width + step[0]
        other = face_map[neighbor]
        if other == own:
            continue
        if other >= 0:  # the background is infinitely far; of a tie the first pixel is the nearer one
            own_distance = distance[pixel]
            other_distance = distance[neighbor]
            if other_distance < own_distance or (other_distance == own_distance and neighbor < pixel):
                continue
        position, from_vertex, to_vertex = walk_to_silhouette(
            vertices,
            faces,
            mates,
            poses[view],
            focals[view],
            principals[view],
            column,
            row,
            direction,
            own,
            near,
            max_steps,
        )
        crossings[i, direction] = position
        edges[i, direction] = wp.vec2i(from_vertex, to_vertex)


@wp.func
def crossing_adjoint(
    vertices: wp.array[wp.vec3],
    from_vertex: int,
    to_vertex: int,
    pose: wp.mat44,
    focal: wp.vec2,
    principal: wp.vec2,
    column: int,
    row: int,
    direction: int,
    gradient: float,
    vertex_gradient: wp.array[wp.vec3],
) -> None:
    """With p, q the edge's ends and s = -p.y / (q.y - p.y), the crossing is x = p.x + s (q.x - p.x)."""
    first = to_camera(pose, vertices[from_vertex])
    second = to_camera(pose, vertices[to_vertex])
    p = corner_in_pair(first, focal, principal, column, row, direction)
    q = corner_in_pair(second, focal, principal, column, row, direction)
    s = -p[1] / (q[1] - p[1])
    slope = (q[0] - p[0]) / (q[1] - p[1])
    # d x = (1 - s) (d p.x - slope d p.y) + s (d q.x - slope d q.y), turned back to pixel axes.
    sign = float(1 - 2 * (direction % 2))
    on_pixel = wp.vec2(sign, -slope)
    if direction >= 2:
        on_pixel = wp.vec2(-slope, sign)
    on_pixel = on_pixel * gradient
    wp.atomic_add(vertex_gradient, from_vertex, to_pixel_adjoint(pose, focal, first, on_pixel * (1.0 - s)))
    wp.atomic_add(vertex_gradient, to_vertex, to_pixel_adjoint(pose, focal, second, on_pixel * s))
