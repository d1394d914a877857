"""A bounding volume hierarchy over the current mesh, kept across calls where that is safe."""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from recon.render.identity_cache import IdentityCache
from recon.warp_runtime import stream_scope

# Refitting keeps the tree's shape; rebuilding now and then keeps it a good one as vertices drift.
_REFITS_BEFORE_REBUILD = 200


class TriangleBvh:
    """Ray-traceable copy of a triangle mesh.

    While the same `faces` tensor (and vertex count) comes back, the tree is refitted; otherwise rebuilt. With
    the same, unmodified `vertices` tensor as well, it is left as it is: several users may share one.
    """

    def __init__(self) -> None:
        self._faces: IdentityCache[Tensor] = IdentityCache(_as_int32)
        self._positions: IdentityCache[Tensor] = IdentityCache(Tensor.detach)
        self._points: Tensor | None = None
        self._mesh: wp.Mesh | None = None
        self._handle: Tensor | None = None
        self._refits = 0

    def update(self, vertices: Tensor, faces: Tensor) -> wp.uint64:
        """Takes over the positions (V, 3) and triangles (F, 3), F > 0, and returns the mesh's handle.

        The handle is valid until the next call. While a CUDA graph is captured the tree stays as it is:
        whoever replays the graph updates it before.
        """
        mesh = self._mesh
        if mesh is not None and vertices.is_cuda and torch.cuda.is_current_stream_capturing():
            return mesh.id
        if mesh is not None and self._faces.holds(faces) and self._positions.holds(vertices):
            return mesh.id
        points = self._positions.get(vertices)
        with stream_scope(points.device):
            if mesh is not None and self._points is not None and self._can_refit(points, faces):
                self._points.copy_(points)
                mesh.refit()
                self._refits += 1
            else:
                self._points = points.clone(memory_format=torch.contiguous_format)  # Warp keeps it
                mesh = wp.Mesh(
                    points=wp.from_torch(self._points, dtype=wp.vec3),
                    indices=wp.from_torch(self._faces.get(faces).view(-1), dtype=wp.int32),
                )
                self._mesh, self._refits = mesh, 0
                if self._handle is None or self._handle.device != points.device:
                    self._handle = torch.empty(1, dtype=torch.int64, device=points.device)
                self._handle.fill_(mesh.id)
        return mesh.id

    @property
    def handle(self) -> Tensor:
        """(1,) int64, the mesh's handle on its device: the same tensor after every `update`."""
        assert self._handle is not None, "expected an update before"
        return self._handle

    def _can_refit(self, points: Tensor, faces: Tensor) -> bool:
        kept = self._points
        same_size = kept is not None and kept.shape == points.shape and kept.device == points.device
        return same_size and self._faces.holds(faces) and self._refits < _REFITS_BEFORE_REBUILD

    def faces_int32(self, faces: Tensor) -> Tensor:
        """(F, 3) int32 copy of `faces`."""
        return self._faces.get(faces)


def _as_int32(faces: Tensor) -> Tensor:
    return faces.to(torch.int32).contiguous()
