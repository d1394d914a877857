"""Deep marching tetrahedra: a deformable tetrahedral grid with a signed distance at every vertex."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recon.data.cameras import Cameras
from recon.geometry.fused_tets import SignEntropy
from recon.geometry.marching_tets import EmptySurfaceError, marching_tets
from recon.geometry.tet_grid import TetGrid
from recon.geometry.visual_hull import visual_hull_distance

# Bound of a vertex's displacement along each axis, in cells. A tet can only turn inside out by passing
# through a plane, for which some vertex must move half the tet's extent across that plane. The tets inside
# the grid extend at least half a cell (measured in the L1 norm, as a bound per axis asks for), so a quarter
# is the limit. The halved ones at the border are safe because border vertices stay where they are.
_REACH = 0.24
# Cells per unit of the stored distance.
_UNIT = 2.0
# Least stored distance on the grid's border: the surface closes before it reaches the border.
_BORDER = 0.05


class DMTet(nn.Module):
    """A closed surface of free topology, after Shen et al. 2021 ("Deep Marching Tetrahedra").

    Parameters: `sdf` (V,), negative inside, and `deform` (V, 3), displacement before its bound.

    `sdf` is stored in units of two cells and starts clipped to [-1, 1]. Marching tetrahedra use ratios of
    neighboring values only, so the unit is free; this one makes a step of Adam at the usual rate of 0.03
    move the surface by a few hundredths of a cell, at every resolution, and lets it reach any grid vertex
    within some tens of steps, however far from the start. For the same reason `deform` goes through tanh,
    scaled to just under a quarter of a cell along each axis: no tet can turn inside out.

    grid: the tetrahedra. sdf: (V,) starting distances in any unit; see the class methods for usual ones.
    """

    vertices: Tensor
    tets: Tensor
    edges: Tensor
    tet_edges: Tensor
    border: Tensor
    reach: Tensor
    floor: Tensor

    def __init__(self, grid: TetGrid, sdf: Tensor) -> None:
        super().__init__()
        if sdf.shape != grid.vertices.shape[:1]:
            raise ValueError(f"sdf: expected {len(grid.vertices)} distances, got shape {tuple(sdf.shape)}")
        # The grid is a function of its box: checkpoints need not hold it.
        for name in ("vertices", "tets", "edges", "tet_edges", "border"):
            self.register_buffer(name, getattr(grid, name), persistent=False)
        self.box = grid.box
        self.cell_size = grid.cell_size
        reach = torch.where(grid.border, 0.0, _REACH * grid.cell_size)
        self.register_buffer("reach", reach[:, None].to(grid.vertices), persistent=False)
        floor = torch.where(grid.border, _BORDER, -torch.inf)
        self.register_buffer("floor", floor.to(grid.vertices), persistent=False)
        self.sdf = nn.Parameter(sdf.detach().to(grid.vertices).clone())
        self.deform = nn.Parameter(torch.zeros_like(grid.vertices))

    @classmethod
    def random(cls, grid: TetGrid, seed: int = 0) -> DMTet:
        """Noise, uniform in [-0.1, 0.9]: a tenth of the vertices inside, as nvdiffrec starts."""
        generator = torch.Generator().manual_seed(seed)
        return cls(grid, torch.rand(len(grid.vertices), generator=generator) - 0.1)

    @classmethod
    def from_distance(cls, grid: TetGrid, distance: Tensor) -> DMTet:
        """The surface of a signed distance (V,) given at the grid's vertices in the grid's unit of length."""
        return cls(grid, (distance / (_UNIT * grid.cell_size)).clamp(-1.0, 1.0))

    @classmethod
    def sphere(cls, grid: TetGrid, radius: float) -> DMTet:
        """A sphere around the origin."""
        return cls.from_distance(grid, grid.vertices.norm(dim=1) - radius)

    @classmethod
    def hull(cls, grid: TetGrid, masks: Tensor, cameras: Cameras, margin: float = 0.0) -> DMTet:
        """The visual hull of the masks, see `visual_hull_distance`.

        masks: (B, H, W) coverage in [0, 1] of the B `cameras`. margin: cells by which the hull is grown.
        Parts so thin that they pass between grid vertices are kept all the same, as thick as the grid can
        show them: what a start lacks, no silhouette gradient brings back.

        Raises UserError for masks that are all empty or whose cones have no point in common in the grid.
        """
        distance = visual_hull_distance(
            grid.vertices, masks, cameras, limit=(_UNIT + margin) * grid.cell_size
        )
        grown = _keep_thin_parts(distance - margin * grid.cell_size, grid)
        if not bool((grown < 0).any()):
            raise EmptySurfaceError(
                "visual hull: no point is inside all masks; expected masks and camera poses that belong "
                "together, and an object within geometry.half_extent of the origin"
            )
        return cls.from_distance(grid, grown)

    @property
    def grid(self) -> TetGrid:
        """The undeformed grid, on the module's device."""
        return TetGrid(self.vertices, self.tets, self.edges, self.tet_edges, self.border, self.box)

    def deformed_vertices(self) -> Tensor:
        """(V, 3) positions of the grid's vertices."""
        return torch.addcmul(self.vertices, self.reach, torch.tanh(self.deform))

    def extract(self) -> tuple[Tensor, Tensor]:
        """The surface: vertices (N, 3), differentiable in both parameters, and faces (F, 3).

        Closed and consistently oriented, for vertices on the grid's border count as outside. Raises
        EmptySurfaceError where no distance is negative.
        """
        sdf = self.sdf.clamp(min=self.floor)
        return marching_tets(self.deformed_vertices(), sdf, self.grid)

    def sign_regularizer(self) -> Tensor:
        """`sdf_sign_regularizer` of the present distances."""
        return sdf_sign_regularizer(self.sdf, self.edges)


def _keep_thin_parts(distance: Tensor, grid: TetGrid) -> Tensor:
    """`distance` (V,), negative also at vertices close to a surface that has none of its inside around them.

    Every vertex within half a cell of a surface has a neighbor on the surface's other side, unless the part
    behind it is thinner than the grid's cells.
    """
    near = (distance >= 0) & (distance < 0.5 * grid.cell_size)
    ends = grid.edges.T.reshape(-1)
    inside = (distance < 0).to(distance)
    across = inside[grid.edges.flip(1).T.reshape(-1)]
    around = torch.zeros_like(distance).index_add(0, ends, across)
    return torch.where(near & (around == 0), -0.1 * grid.cell_size, distance)


def sdf_sign_regularizer(sdf: Tensor, edges: Tensor) -> Tensor:
    """Cross-entropy that makes neighbors agree in sign; removes floaters and inner cavities no view sees.

    Munkberg et al. 2022 (arXiv 2111.12503), equation 2: over the edges (i, j) whose ends differ in sign,
    H(sigmoid(s_i), sign(s_j)) + H(sigmoid(s_j), sign(s_i)), with H the binary cross-entropy and the sign
    mapped to {0, 1}. Averaged over these edges, so that its weight does not depend on the resolution.

    sdf: (V,). edges: (E, 2). Returns a scalar, zero where no edge changes sign.
    """
    if sdf.dtype == torch.float32:
        return SignEntropy.apply(sdf, edges)
    return defined_sign_regularizer(sdf, edges)


def defined_sign_regularizer(sdf: Tensor, edges: Tensor) -> Tensor:
    """`sdf_sign_regularizer` of any type, in torch operations."""
    positive = sdf > 0
    start, end = edges[:, 0], edges[:, 1]
    differ = (positive[start] != positive[end]).nonzero()[:, 0]
    if len(differ) == 0:
        return 0.0 * sdf.sum()
    pair = edges[differ]
    values = sdf.index_select(0, pair.reshape(-1)).view(-1, 2)
    targets = (values.detach() > 0).to(values).flip(1)
    entropy = nn.functional.binary_cross_entropy_with_logits(values, targets, reduction="sum")
    return entropy / len(differ)
