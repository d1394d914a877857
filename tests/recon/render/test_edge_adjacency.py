from __future__ import annotations

import torch

from recon.render.edge_adjacency import BOUNDARY, NON_MANIFOLD, edge_mates
from tests.recon.render.reference_antialias import edges_of
from tests.recon.render.scenes import sphere


def test_mates_of_a_closed_mesh_share_their_edge() -> None:
    _, faces = sphere(7, 9)
    mates = edge_mates(faces[torch.randperm(len(faces), generator=torch.Generator().manual_seed(1))])
    assert mates.dtype == torch.int32 and (mates >= 0).all()
    flat = mates.view(-1).long()
    assert torch.equal(flat[flat], torch.arange(len(flat)))


def test_mates_equal_a_dictionary_of_edges() -> None:
    # An open fan, an edge of three faces, and neighbours wound both ways round.
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 0, 3], [0, 1, 5], [0, 1, 6], [7, 2, 1]])
    mates = edge_mates(faces)
    for edge, members in edges_of(faces).items():
        for face in members:
            corners = faces[face].tolist()
            (k,) = [k for k in range(3) if {corners[k], corners[(k + 1) % 3]} == set(edge)]
            mate = int(mates[face, k])
            if len(members) == 2:
                assert mate // 3 in members and mate // 3 != face
            else:
                assert mate == (BOUNDARY if len(members) == 1 else NON_MANIFOLD)


def test_no_faces() -> None:
    assert edge_mates(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 3)
