"""Slow, obvious twins of the BVH searches."""

import numpy as np


def closest_on_triangle(point, corners):
    """Nearest point of one triangle (3, 3): the best of its inside, edges and corners by least squares."""
    best = min(corners, key=lambda corner: np.linalg.norm(point - corner))
    for chosen in ((0, 1, 2), (0, 1), (1, 2), (2, 0)):
        origin, *others = corners[list(chosen)]
        axes = np.array(others).T - origin[:, None]
        weights = np.linalg.lstsq(axes, point - origin, rcond=None)[0]
        if (weights >= 0).all() and weights.sum() <= 1:
            candidate = origin + axes @ weights
            if np.linalg.norm(point - candidate) < np.linalg.norm(point - best):
                best = candidate
    return best


def closest_agreeing_distance(vertices, faces, point, normal, reach, min_cosine):
    """Distance to the nearest face that agrees, inf beyond `reach`."""
    best = np.inf
    for corners in vertices[faces]:
        face_normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if face_normal @ normal > min_cosine * np.linalg.norm(face_normal):
            best = min(best, np.linalg.norm(point - closest_on_triangle(point, corners)))
    return best if best <= reach else np.inf


def is_blocked(vertices, faces, start, end):
    """Whether the open segment crosses a face (solving start + t (end - start) = a + u ab + v ac)."""
    for a, b, c in vertices[faces]:
        matrix = np.stack([start - end, b - a, c - a], axis=1)
        if abs(np.linalg.det(matrix)) < 1e-12:
            continue
        t, u, v = np.linalg.solve(matrix, start - a)
        if 1e-6 < t < 1 and u >= 0 and v >= 0 and u + v <= 1:
            return True
    return False


def is_seen(vertices, faces, point, normal, camera_to_world, intrinsics, size):
    """Whether one pinhole camera sees a point, step by step as the definition says."""
    origin = camera_to_world[:3, 3]
    x, y, z = np.linalg.inv(camera_to_world)[:3] @ [*point, 1]
    if z >= 0 or (origin - point) @ normal <= 0:
        return False
    column = intrinsics[0] * x / -z + intrinsics[2]
    row = -intrinsics[1] * y / -z + intrinsics[3]
    if not (0 <= column <= size[0] and 0 <= row <= size[1]):
        return False
    return not is_blocked(vertices, faces, point + 1e-4 * normal, origin)
