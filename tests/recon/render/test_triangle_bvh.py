from __future__ import annotations

import pytest
import warp as wp

from recon.render.triangle_bvh import TriangleBvh
from tests.recon.render.scenes import sphere


def test_the_same_vertices_leave_the_tree_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    refits = []
    monkeypatch.setattr(wp.Mesh, "refit", lambda mesh: refits.append(mesh))
    vertices, faces = sphere(6, 8)
    bvh = TriangleBvh()
    handle = bvh.update(vertices, faces)
    assert bvh.update(vertices, faces) == handle
    assert not refits
    vertices += 1.0  # the same tensor, with other values
    bvh.update(vertices, faces)
    assert len(refits) == 1
    bvh.update(vertices.clone(), faces)
    assert len(refits) == 2
    assert bvh.update(vertices, faces.clone()) != handle  # a new tree
