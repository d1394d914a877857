"""How far a mesh is from the sphere it is about."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recon.geometry.mesh import smooth_normals


def degrees_off(vertices: Tensor, faces: Tensor) -> float:
    """Mean angle between the vertices' normals and those of a sphere around the origin."""
    cosine = (normalize(smooth_normals(vertices, faces), dim=1) * normalize(vertices, dim=1)).sum(dim=1)
    return math.degrees(float(torch.acos(cosine.clamp(-1.0, 1.0)).mean()))
