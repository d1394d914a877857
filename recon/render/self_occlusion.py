"""Self-occlusion and light that bounces within the object, by ray tracing; constants of shading.

The prefiltered light knows no shadows: a leg is lit through the body above it, and a mirror shows the probe
where it should show the object itself. What is wrong with it is estimated here, in two parts:

- Irradiance is smooth over a surface, so it is corrected per vertex, now and then, with many rays, filtered
  over neighboring vertices and over time. Noise per pixel would do harm: shading is not linear in the
  material, so noisy light biases roughness and metallic.
- Reflections are not smooth, so they are corrected per pixel and step, by rays drawn from the pixel's lobe.

What blocks the light sends some itself. It is taken to scatter evenly (radiosity, Goral et al. 1984, with one
more bounce at each refresh): a mirror's reflection in a mirror is blurred.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recon.geometry.laplacian import UniformLaplacian
from recon.geometry.mesh import Mesh
from recon.light.cubemap import lookup
from recon.light.environment import PrefilteredLight
from recon.light.fg_table import lookup_fg
from recon.material.channels import Channels
from recon.render.fused_shading import shading_normals
from recon.render.interface import Raster
from recon.render.light_orientations import spread_orientations
from recon.render.render_views import SurfaceSample
from recon.render.shade import OccludedLight, specular_albedo
from recon.render.triangle_bvh import TriangleBvh
from recon.render.warp_kernels.occlusion import blocked_at_pixels, blocked_at_vertices
from recon.warp_runtime import launch

# Roughness that blocked light is blurred by at vertices: a lobe about as wide as what one ray stands for.
_VERTEX_BLUR = 0.25
# n.v at which surfaces that block light are taken to be seen.
_MIDDLE_COSINE = 0.5
_FIRST_BOUNCES = 3
# Refreshes that a vertex's value averages over.
_MEMORY = 4
# Of averages over neighbors. Twice would halve the noise again, but blur contact shadows by more than that.
_SMOOTHING = 0.5
# A vertex whose rays all meet back sides lies inside the object. It weighs little beside its neighbors.
_LEAST_WEIGHT = 1e-3
_MOST_ORIENTATIONS = 64


class SelfOcclusion(nn.Module):
    """Implements `recon.render.render_views.Occlusion` for a mesh whose faces stay the same.

    faces: (F, 3), F > 0. vertex_count: V. Detail of the blocked irradiance ends at the mesh's edges' length.
    bvh: a tree to share, such as `WarpRasterizer.bvh`; by default an own one.
    light_rotations: (B, 3, 3) of all views whose light turns; the vertices are lit by up to 64 of them, and
        each pixel takes the most similar one. None where the light stands still.
    rays: per vertex and refresh. samples: rays per pixel.
    offset: of rays' origins, along the normal, in the mesh's unit: above float32's errors and the sag of
        facets, and below what should cast a shadow.
    certain_bend: radians between a vertex's normal and its neighbors' at which the normal counts as half
        certain. What is finer than the mesh comes out with wrong normals, and a reflection beside its place
        is explained best by no reflection. 0: all are certain, as an artist's are.

    `refresh` comes before the first call. The state is in buffers, and random numbers come from torch's
    generators, those of pixels from the device's own. On a CPU results are the same for any number of
    threads.
    """

    blocked: Tensor
    outgoing: Tensor
    free: Tensor
    trust: Tensor
    refreshes: Tensor
    rotations: Tensor

    def __init__(
        self,
        faces: Tensor,
        vertex_count: int,
        *,
        bvh: TriangleBvh | None = None,
        light_rotations: Tensor | None = None,
        rays: int = 64,
        samples: int = 1,
        offset: float = 2e-3,
        certain_bend: float = 0.0,
    ) -> None:
        super().__init__()
        self._bvh = bvh or TriangleBvh()
        self._rays, self._samples, self._offset = rays, samples, offset
        self._certain_bend = certain_bend
        self._laplacian = UniformLaplacian(faces, vertex_count)
        self._turns = light_rotations is not None
        if light_rotations is None:
            light_rotations = torch.eye(3)[None]
        rotations = spread_orientations(light_rotations.float(), _MOST_ORIENTATIONS).to(faces.device)
        zeros = torch.zeros(len(rotations), vertex_count, 3, device=faces.device)
        self.register_buffer("rotations", rotations, persistent=False)
        self.register_buffer("blocked", zeros)
        self.register_buffer("outgoing", zeros.clone())
        self.register_buffer("free", torch.ones(vertex_count, device=faces.device))
        self.register_buffer("trust", torch.ones(vertex_count, device=faces.device))
        self.register_buffer("refreshes", torch.zeros((), dtype=torch.int64, device=faces.device))

    @torch.no_grad()
    def refresh(self, mesh: Mesh, material: Channels, light: PrefilteredLight, fg: Tensor) -> None:
        """Traces the vertices' rays anew, for the surface, material and light as they are now.

        material: at the V vertices, see `vertex_uvs`; its `normal` and `occlusion` are not looked at.
        fg: the table of `recon.light.fg_table`.
        """
        normals = mesh.with_smooth_normals().normals
        assert normals is not None  # just made
        unblocked = torch.stack([lookup((light.diffuse,), normals @ turn) for turn in self.rotations])
        reflectance = _reflectance(material, fg)
        first = int(self.refreshes) == 0
        for _ in range(_FIRST_BOUNCES if first else 1):
            self.outgoing.copy_(reflectance * (unblocked - self.blocked).clamp_min(0.0))
            latest = self._smoothed(*self._trace(mesh, normals, light))
            if first:
                self.blocked.copy_(latest)
        self.trust.copy_(self.free * self._certainty(normals))
        self.refreshes += 1
        if not first:
            self.blocked.lerp_(latest, 1.0 / self.refreshes.clamp(max=_MEMORY))
        self.outgoing.copy_(reflectance * (unblocked - self.blocked).clamp_min(0.0))

    def follow(self, mesh: Mesh) -> None:
        """Brings the tree that rays are traced in up to date with `mesh`."""
        self._bvh.update(mesh.vertices, mesh.faces)

    @torch.no_grad()
    def forward(
        self,
        sample: SurfaceSample,
        raster: Raster,
        positions: Tensor,
        to_camera: Tensor,
        light: PrefilteredLight,
        light_rotation: Tensor | None,
        samples: int | None = None,
    ) -> OccludedLight:
        """At the P covered pixels; see `recon.render.render_views.Occlusion`."""
        if (light_rotation is not None) != self._turns:
            raise ValueError(
                "light_rotation: expected one exactly where light_rotations were given at construction"
            )
        to_camera = to_camera.detach()
        normal = shading_normals(sample.normal, sample.channels.normal, sample.tangent, to_camera)
        roughness = sample.channels.roughness.detach()
        irradiance, reflected = torch.empty_like(normal), torch.empty_like(normal)
        trust = torch.empty_like(roughness)
        self._bvh.update(raster.vertices, raster.faces)
        inputs = (
            self._bvh.handle,
            self._bvh.faces_int32(raster.faces),
            raster.triangles,
            raster.barycentrics.detach().contiguous(),
            positions.detach().contiguous(),
            normal.contiguous(),
            to_camera.contiguous(),
            roughness[:, 0].contiguous(),
            light.level(roughness)[:, 0].contiguous(),
            samples or self._samples,
            _draw_seed(normal.device),
            self._offset,
            light.texels.detach(),
            light.table,
            normal.new_zeros(0, 3, 3) if light_rotation is None else light_rotation.contiguous(),
            self.rotations,
            self.outgoing,
            self.blocked,
            self.trust,
            irradiance,
            reflected,
            trust[:, 0],
        )
        launch(blocked_at_pixels, len(normal), inputs, normal.device)
        return OccludedLight(irradiance, reflected, trust)

    def _trace(self, mesh: Mesh, normals: Tensor, light: PrefilteredLight) -> tuple[Tensor, Tensor]:
        """What is blocked (N, V, 3), and the share of rays (V,) that met no back side; renews `free`."""
        blocked, outside = torch.zeros_like(self.blocked), self.blocked.new_empty(len(normals))
        inputs = (
            self._bvh.update(mesh.vertices, mesh.faces),
            self._bvh.faces_int32(mesh.faces),
            mesh.vertices.detach().contiguous(),
            normals,
            self._rays,
            int(_draw_seed()),
            self._offset,
            light.texels.detach(),
            light.table,
            float(light.level(torch.tensor([[_VERTEX_BLUR]]))),
            self.rotations,
            self.outgoing,
            blocked,
            outside,
            self.free,
        )
        launch(blocked_at_vertices, len(normals), inputs, normals.device)
        return blocked, outside

    def _certainty(self, normals: Tensor) -> Tensor:
        """(V,) how certain unit `normals` (V, 3) are: a half where edges bend them by `certain_bend`."""
        if self._certain_bend == 0.0:
            return torch.ones_like(normals[:, 0])
        # The mean of |n - n_j|^2 over neighbors j; n.laplacian(n) is the mean of n.n_j - 1.
        bend2 = -2.0 * (normals * self._laplacian(normals)).sum(1).clamp_max(0.0)
        return 1.0 / (1.0 + bend2 / self._certain_bend**2)

    def _smoothed(self, blocked: Tensor, outside: Tensor) -> Tensor:
        """`blocked` (N, V, 3) averaged over neighbors, weighted by `outside` (V,)."""
        weight = outside.clamp_min(_LEAST_WEIGHT)[:, None]
        columns = torch.cat([weight, weight * blocked.transpose(0, 1).flatten(1)], dim=1)
        columns = columns + _SMOOTHING * self._laplacian(columns)
        return (columns[:, 1:] / columns[:, :1]).unflatten(1, (-1, 3)).transpose(0, 1)


def vertex_uvs(mesh: Mesh) -> Tensor:
    """(V, 2) a uv of each vertex of `mesh`, to sample its material at: on a seam, that of any corner.

    Vertices without a face have (0, 0).
    """
    assert mesh.uvs is not None and mesh.uv_faces is not None
    uvs = mesh.uvs.new_zeros(len(mesh.vertices), 2)
    # Of corners that share a vertex exactly one must win, and the same one each time.
    corner = torch.full((len(uvs),), -1, dtype=torch.int64, device=uvs.device)
    index = torch.arange(mesh.faces.numel(), device=uvs.device)
    corner.scatter_reduce_(0, mesh.faces.reshape(-1), index, "amax")
    used = corner >= 0
    chosen = mesh.uvs.detach()[mesh.uv_faces.reshape(-1)[corner.clamp_min(0)]]
    return torch.where(used[:, None], chosen, uvs)


def _reflectance(material: Channels, fg: Tensor) -> Tensor:
    """(V, 3) share of the irradiance that is sent on, as though evenly to all sides."""
    cosine = torch.full_like(material.roughness, _MIDDLE_COSINE)
    response = lookup_fg(fg, cosine, material.roughness)
    diffuse = material.albedo * (1.0 - material.metallic) * response[:, 3:4]
    return diffuse + specular_albedo(material.albedo, material.metallic, response)


def _draw_seed(device: torch.device | str = "cpu") -> Tensor:
    return torch.randint(2**31 - 1, (1,), device=device)
