"""Marching tetrahedra, one tet at a time."""

from __future__ import annotations

import numpy as np


def enclosed_volume(vertices: np.ndarray, sdf: np.ndarray, tets: np.ndarray) -> float:
    """Volume of {sdf < 0} with the distance linear in each tet, without any triangle.

    A corner apart from the three others cuts off the share t1 t2 t3 of its tet, t the crossings' places from
    the corner. Two against two: the wedge is three tets.
    """
    total = 0.0
    for tet in tets:
        p, s = vertices[tet], sdf[tet]
        volume = abs(np.linalg.det(p[1:] - p[0])) / 6
        inside = [i for i in range(4) if s[i] < 0]
        outside = [i for i in range(4) if s[i] >= 0]
        if len(inside) in (0, 4):
            total += volume * (len(inside) == 4)
            continue
        if len(inside) == 2:
            (i, j), (k, m) = inside, outside

            def cross(a, b, p=p, s=s):
                return p[a] + s[a] / (s[a] - s[b]) * (p[b] - p[a])

            # The prism between triangles (i, ik, im) and (j, jk, jm).
            one, two = [p[i], cross(i, k), cross(i, m)], [p[j], cross(j, k), cross(j, m)]
            for corners in (
                (one[0], one[1], one[2], two[0]),
                (one[1], one[2], two[0], two[1]),
                (one[2], two[0], two[1], two[2]),
            ):
                matrix = np.stack([corners[1] - corners[0], corners[2] - corners[0], corners[3] - corners[0]])
                total += abs(np.linalg.det(matrix)) / 6
            continue
        apex, others = (inside[0], outside) if len(inside) == 1 else (outside[0], inside)
        cut = volume * np.prod([s[apex] / (s[apex] - s[o]) for o in others])
        total += cut if len(inside) == 1 else volume - cut
    return total
