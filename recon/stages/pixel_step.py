"""A training step on a fixed number of covered pixels, captured as a CUDA graph where there is a GPU.

Launching a step's kernels one by one takes the host longer than running them takes the GPU. A step of fixed
size always launches the same kernels on the same memory, so it is recorded once and replayed whole. Outside
of the graph stay what waits for the device (nvdiffrast's rasterizer) and what builds trees to trace rays in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recon.render.interface import Visibility
from recon.render.warp_backend import WarpRasterizer

# Steps before the capture: kernels load, optimizers and libraries allocate what they keep.
_WARM_UP = 3


class PixelInputs:
    """What a step on pixels takes, in memory that stays.

    views: (B,) int64. iteration: scalar, float. reference: (B, H, W, 4). visibility: of the scene's mesh.
    """

    def __init__(self, views: Tensor, reference: Tensor, visibility: Visibility) -> None:
        self.views = views.clone()
        self.iteration = torch.zeros((), device=views.device)
        self.reference = reference.clone()
        self.visibility = Visibility(
            visibility.face_map.clone(), visibility.distance.clone(), visibility.faces
        )

    def write(self, views: Tensor, iteration: int, reference: Tensor, visibility: Visibility) -> None:
        self.views.copy_(views)
        self.iteration.fill_(iteration)
        self.reference.copy_(reference)
        self.visibility.face_map.copy_(visibility.face_map)
        self.visibility.distance.copy_(visibility.distance)


class CapturedStep:
    """`step`, which returns scalars by name, recorded at the fourth call and replayed from then on.

    It has to do the same work on the same memory at every call. On a CPU nothing is recorded.
    """

    def __init__(self, step: Callable[[], dict[str, Tensor]], device: torch.device) -> None:
        self._step = step
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._names: tuple[str, ...] = ()
        self._values: Tensor | None = None

    def __call__(self) -> dict[str, Tensor]:
        if self._stream is None:
            return self._step()
        if self._graph is not None:
            return self._replayed(self._graph)
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        self._calls += 1
        if self._calls <= _WARM_UP:
            with torch.cuda.stream(self._stream):
                values = self._step()
            current.wait_stream(self._stream)
            return values
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on talking to the GPU (writing a checkpoint, say).
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            values = self._step()
            self._values = torch.stack(list(values.values()))
        self._names = tuple(values)
        self._graph = graph
        return self._replayed(graph)

    def _replayed(self, graph: torch.cuda.CUDAGraph) -> dict[str, Tensor]:
        graph.replay()
        assert self._values is not None
        return dict(zip(self._names, self._values.clone().unbind(0)))


def shared_rasterizer(rasterizer: object, device: torch.device) -> WarpRasterizer:
    """What interpolates and antialiases chosen pixels: `rasterizer` itself if it is Warp's."""
    return rasterizer if isinstance(rasterizer, WarpRasterizer) else WarpRasterizer(device)
