"""A batch of pinhole cameras in the dataset frame (Y-up), OpenGL convention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cameras:
    """B pinhole cameras that share one resolution.

    camera_to_world: (B, 4, 4), column-vector (`M @ p`), OpenGL camera: x right, y up, looks down -z; the
        rotation part is orthonormal.
    focal: (B, 2), fx and fy in pixels.
    principal: (B, 2), cx and cy in pixels from the image's top-left edge (a centred one is (W/2, H/2)).
    width, height: pixels. Row 0 is the image's top row; the centre of pixel (column, row) is at
        (column + 0.5, row + 0.5).
    """

    camera_to_world: Tensor
    focal: Tensor
    principal: Tensor
    width: int
    height: int

    def __len__(self) -> int:
        return self.camera_to_world.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Cameras:
        """The cameras at `index` (a 1-D index tensor, mask or slice), still as a batch."""
        return Cameras(
            self.camera_to_world[index], self.focal[index], self.principal[index], self.width, self.height
        )

    def to(self, device: torch.device | str) -> Cameras:
        return Cameras(
            self.camera_to_world.to(device),
            self.focal.to(device),
            self.principal.to(device),
            self.width,
            self.height,
        )

    def resized(self, width: int, height: int) -> Cameras:
        """The same cameras for images of another resolution that show the same frame."""
        scale = self.focal.new_tensor([width / self.width, height / self.height])
        return Cameras(self.camera_to_world, self.focal * scale, self.principal * scale, width, height)

    @property
    def origins(self) -> Tensor:
        """(B, 3) camera positions."""
        return self.camera_to_world[:, :3, 3]

    def world_to_camera(self) -> Tensor:
        """(B, 4, 4) inverse of `camera_to_world`."""
        rotation = self.camera_to_world[:, :3, :3].transpose(1, 2)
        inverse = torch.zeros_like(self.camera_to_world)
        inverse[:, :3, :3] = rotation
        inverse[:, :3, 3] = -(rotation @ self.origins[:, :, None])[:, :, 0]
        inverse[:, 3, 3] = 1.0
        return inverse

    def world_to_clip(self, near: float = 0.01, far: float = 1000.0) -> Tensor:
        """(B, 4, 4) OpenGL world-to-clip matrices: x right and y **up** in [-w, w], z in [-w, w]."""
        fx, fy = self.focal[:, 0], self.focal[:, 1]
        cx, cy = self.principal[:, 0], self.principal[:, 1]
        projection = torch.zeros_like(self.camera_to_world)
        projection[:, 0, 0] = 2 * fx / self.width
        projection[:, 0, 2] = 1 - 2 * cx / self.width
        projection[:, 1, 1] = 2 * fy / self.height
        projection[:, 1, 2] = 2 * cy / self.height - 1
        projection[:, 2, 2] = -(far + near) / (far - near)
        projection[:, 2, 3] = -2 * far * near / (far - near)
        projection[:, 3, 2] = -1.0
        return projection @ self.world_to_camera()

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel positions (B, N, 2) and depths along the view axis (B, N) of world `points` (N, 3).

        Positions are meaningless where the depth is not positive (behind the camera).
        """
        view = self.world_to_camera()
        local = points @ view[:, :3, :3].transpose(1, 2) + view[:, None, :3, 3]
        depth = -local[..., 2]
        ratio = torch.stack([local[..., 0], -local[..., 1]], dim=-1) / depth[..., None]
        return ratio * self.focal[:, None] + self.principal[:, None], depth

    def pixel_sizes(self, point: Tensor) -> Tensor:
        """(B,) edge length of a pixel as far away as `point` (3,) is, in the cameras' unit of length.

        Where a pixel is not square, the shorter edge.
        """
        return (self.origins - point).norm(dim=1) / self.focal.amax(dim=1)

    def pixel_rays(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Origins and unit directions, each (P, 3), of the rays through the centres of `pixels`.

        pixels: (P,) flat indices into B * height * width.
        """
        per_view = self.height * self.width
        view = pixels // per_view
        row = (pixels % per_view) // self.width
        column = pixels % self.width
        x = (column + 0.5 - self.principal[view, 0]) / self.focal[view, 0]
        y = -(row + 0.5 - self.principal[view, 1]) / self.focal[view, 1]
        local = torch.stack([x, y, -torch.ones_like(x)], dim=-1)
        rotation = self.camera_to_world[view, :3, :3]
        direction = torch.nn.functional.normalize((rotation @ local[:, :, None])[:, :, 0], dim=-1)
        return self.origins[view], direction
