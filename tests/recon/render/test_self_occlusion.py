"""What rays from the surface find, against form factors, radiosity and brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recon.geometry.mesh import Mesh
from recon.light.cubemap import lookup
from recon.light.environment import EnvironmentLight, PrefilteredLight
from recon.light.fg_table import fg_table
from recon.material.channels import Channels
from recon.render.brdf import sample_visible_normals
from recon.render.interface import Raster
from recon.render.render_views import SurfaceSample
from recon.render.self_occlusion import SelfOcclusion, vertex_uvs
from recon.render.shade import OccludedLight
from recon.render.warp_backend import WarpRasterizer
from tests.recon.render.scenes import front_camera, random_like, sphere

WHITE = PrefilteredLight(torch.ones(6, 3, 3, 3), (torch.ones(6, 3, 3, 3),), (0.0,))
# Tables as `fg_table`'s, of surfaces that send nothing on, and of Lambertian ones.
BLACK = torch.zeros(2, 2, 6)
LAMBERTIAN = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).expand(2, 2, 6)
BALL_RADIUS, BALL_HEIGHT = 0.4, 0.7


def colorful_light() -> PrefilteredLight:
    return EnvironmentLight(random_like((6, 8, 8, 3), 3), trainable=False, node_size=0.5).prefilter()


def material(count: int, albedo: float = 0.5, roughness: float = 0.3) -> Channels:
    one = torch.ones(count, 1)
    up = torch.tensor([0.0, 0.0, 1.0]).repeat(count, 1)
    return Channels(albedo * torch.ones(count, 3), up, roughness * one, 0 * one, one)


def floor(side: int, half: float = 1.0) -> tuple[Tensor, Tensor]:
    """A grid in the plane z = 0 that looks up along z."""
    line = torch.linspace(-half, half, side)
    x, y = torch.meshgrid(line, line, indexing="xy")
    vertices = torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(-1, 3)
    first = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1)
    a, b, c, d = first, first + 1, first + side + 1, first + side
    return vertices, torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])


def joined(*parts: tuple[Tensor, Tensor]) -> Mesh:
    offset, faces = 0, []
    for vertices, triangles in parts:
        faces.append(triangles + offset)
        offset += len(vertices)
    return Mesh(torch.cat([vertices for vertices, _ in parts]), torch.cat(faces)).with_smooth_normals()


def ball_over_floor(side: int = 17) -> Mesh:
    """The floor's vertices come first."""
    return joined(floor(side), sphere(16, 32, BALL_RADIUS, (0.0, 0.0, BALL_HEIGHT)))


def occlusion_of(
    mesh: Mesh, light: PrefilteredLight, fg: Tensor, refreshes: int = 1, **options
) -> SelfOcclusion:
    occlusion = SelfOcclusion(mesh.faces, len(mesh.vertices), **options)
    for _ in range(refreshes):
        occlusion.refresh(mesh, material(len(mesh.vertices)), light, fg)
    return occlusion


def surface_sample(normal: Tensor, roughness: float) -> SurfaceSample:
    channels = replace(material(len(normal), roughness=roughness), normal=torch.zeros_like(normal))
    return SurfaceSample(channels, normal, None, normal, lambda _c, _r: channels)


def shaded_pixels(mesh: Mesh, width: int, distance: float = 4.0) -> tuple[Raster, Tensor, Tensor, Tensor]:
    """Seen from +z: raster, positions, normals, to_camera."""
    rasterizer = WarpRasterizer("cpu")
    cameras = front_camera(width, width, distance)
    raster = rasterizer.rasterize(mesh.vertices, mesh.faces, cameras)
    positions = rasterizer.interpolate(mesh.vertices, raster, mesh.faces)
    normals = rasterizer.interpolate(mesh.normals, raster, mesh.faces)
    to_camera = torch.nn.functional.normalize(cameras.origins[raster.views] - positions, dim=-1)
    return raster, positions, normals, to_camera


def in_view(
    occlusion: SelfOcclusion, mesh: Mesh, light: PrefilteredLight, roughness: float, width: int = 24
) -> tuple[OccludedLight, Raster, Tensor]:
    raster, positions, normals, to_camera = shaded_pixels(mesh, width)
    found = occlusion(surface_sample(normals, roughness), raster, positions, to_camera, light, None)
    return found, raster, positions


def test_a_convex_object_is_not_in_its_own_light_at_all() -> None:
    mesh = joined(sphere(12, 24))
    light = colorful_light()
    occlusion = occlusion_of(mesh, light, fg_table(), samples=4)
    assert torch.equal(occlusion.blocked, torch.zeros_like(occlusion.blocked))
    found, raster, _ = in_view(occlusion, mesh, light, roughness=0.8)
    assert len(raster.pixels) > 100
    assert not found.irradiance.any()
    assert not found.reflected.any()
    torch.testing.assert_close(found.trust, torch.ones_like(found.trust))


def test_normals_are_the_less_certain_the_more_they_bend() -> None:
    mesh = ball_over_floor(9)
    occlusion = occlusion_of(mesh, WHITE, BLACK, certain_bend=0.15)
    normals, neighbors = mesh.normals, [set() for _ in mesh.vertices]
    for a, b, c in mesh.faces.tolist():
        for one, other in ((a, b), (b, c), (c, a)):
            neighbors[one].add(other)
            neighbors[other].add(one)
    bends = [(normals[i] - normals[sorted(near)]).square().sum(1).mean() for i, near in enumerate(neighbors)]
    expected = occlusion.free / (1.0 + torch.stack(bends) / 0.15**2)
    torch.testing.assert_close(occlusion.trust, expected, rtol=1e-4, atol=1e-6)
    assert (expected < 0.7 * occlusion.free).any(), "the ball's facets bend"
    certain = occlusion_of(mesh, WHITE, BLACK)
    assert torch.equal(certain.trust, certain.free)


def test_a_ball_shadows_the_floor_by_its_form_factor() -> None:
    mesh = ball_over_floor()
    occlusion = occlusion_of(mesh, WHITE, BLACK, rays=1024)
    points = floor(17)[0]
    to_ball = torch.tensor([0.0, 0.0, BALL_HEIGHT]) - points
    distance = to_ball.norm(dim=1)
    expected = (BALL_RADIUS / distance) ** 2 * (BALL_HEIGHT / distance)
    found = occlusion.blocked[0, : len(points)]
    assert expected.max() > 0.3
    # Facets lie within the sphere (4 %); averaging over neighbors flattens the peak.
    torch.testing.assert_close(found, expected[:, None].expand(-1, 3), rtol=0.05, atol=0.006)
    free = occlusion.free[: len(points)]
    torch.testing.assert_close(free, 1.0 - expected, rtol=0.05, atol=0.015)
    # The lower half of the ball sees the floor, which is black; the top sees nothing.
    pole_up, pole_down = (len(points) + i for i in _poles_along_z(mesh.vertices[len(points) :]))
    assert occlusion.blocked[0, pole_up].abs().max() < 1e-6
    assert occlusion.blocked[0, pole_down].min() > 0.4


def _poles_along_z(ball: Tensor) -> tuple[int, int]:
    return int(ball[:, 2].argmax()), int(ball[:, 2].argmin())


@pytest.mark.parametrize("albedo", [0.4, 0.9])
def test_light_bounces_within_a_bowl_until_it_is_radiosity(albedo: float) -> None:
    """From within a sphere every cap is seen by the share of its area, so irradiance is even, and exact."""
    vertices, faces = sphere(24, 48, 1.0)
    bowl = faces[(vertices[faces][..., 1] < 1e-4).all(dim=1)].flip(1)  # the lower half, seen from inside
    mesh = joined((vertices, bowl))
    occlusion = SelfOcclusion(mesh.faces, len(vertices), rays=128)
    for _ in range(25):
        occlusion.refresh(mesh, material(len(vertices), albedo), WHITE, LAMBERTIAN)
    inside = vertices[:, 1] < -0.05
    received = 1.0 - occlusion.blocked[0, inside]
    expected = 0.5 / (1.0 - 0.5 * albedo)
    assert (received.mean() - expected).abs() < 0.015 * expected
    torch.testing.assert_close(received, torch.full_like(received, expected), rtol=0.06, atol=0)
    torch.testing.assert_close(occlusion.outgoing[0, inside], albedo * received)


def test_a_hidden_vertex_follows_its_visible_neighbors() -> None:
    """One floor vertex lies in a ball; its black value must not leak into the floor around the ball."""
    ground = floor(9)
    mesh = joined(ground, sphere(12, 24, 0.12))
    occlusion = occlusion_of(mesh, WHITE, BLACK, rays=256)
    middle = 40
    assert ground[0][middle].norm() == 0
    around = occlusion.blocked[0, [middle - 1, middle + 1, middle - 9, middle + 9], 0]
    assert around.max() < 0.3
    assert (occlusion.blocked[0, middle, 0] - around.mean()).abs() < 0.1


def test_a_smooth_floor_mirrors_the_ball() -> None:
    mesh = ball_over_floor()
    occlusion = occlusion_of(mesh, WHITE, fg_table())
    color = torch.tensor([0.2, 0.5, 0.7])
    occlusion.outgoing.copy_(color.expand_as(occlusion.outgoing))
    # Seen obliquely from the side, so that the mirror image is not behind the ball.
    eye = torch.tensor([0.0, -3.0, 1.5])
    points = floor(41, 0.95)[0]
    to_camera = torch.nn.functional.normalize(eye - points, dim=-1)
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(points)
    triangles, barycentrics = _locate_on_floor(points, 17)
    raster, *_ = shaded_pixels(mesh, 4)
    raster = replace(raster, triangles=triangles, barycentrics=barycentrics)
    found = occlusion(surface_sample(up, 0.01), raster, points, to_camera, WHITE, None)

    mirrored = 2 * (to_camera * up).sum(-1, keepdim=True) * up - to_camera
    center = torch.tensor([0.0, 0.0, BALL_HEIGHT]) - points
    along = (center * mirrored).sum(-1)
    miss = (center - along[:, None] * mirrored).norm(dim=-1)
    hit, clear = miss < 0.9 * BALL_RADIUS, miss > 1.05 * BALL_RADIUS
    assert hit.sum() > 50
    torch.testing.assert_close(found.reflected[hit], (1 - color).expand(int(hit.sum()), 3))
    assert not found.reflected[clear].any()


def _locate_on_floor(points: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Triangle and barycentrics of points on `floor(side)`."""
    place = (points[:, :2] + 1.0) * 0.5 * (side - 1)
    cell = place.long().clamp(max=side - 2)
    x, y = (place - cell).unbind(1)
    lower = y <= x
    triangles = cell[:, 1] * (side - 1) + cell[:, 0] + torch.where(lower, 0, (side - 1) ** 2)
    below = torch.stack([1 - x, x - y, y], 1)
    above = torch.stack([1 - y, x, y - x], 1)
    return triangles, torch.where(lower[:, None], below, above)


def test_reflected_light_is_that_of_brute_force_rays() -> None:
    """Rough lobes: directions by torch's sampler, every ray against every triangle."""
    mesh = joined(floor(3), sphere(6, 8, BALL_RADIUS, (0.0, 0.0, 1.05 * BALL_RADIUS)))
    light, roughness, samples = colorful_light(), 0.8, 4096
    occlusion = occlusion_of(mesh, light, fg_table(), samples=samples)
    occlusion.outgoing.copy_(3.0 * random_like(occlusion.outgoing.shape, 5))
    raster, positions, normals, to_camera = shaded_pixels(mesh, 16)
    found = occlusion(surface_sample(normals, roughness), raster, positions, to_camera, light, None).reflected
    significant = 0
    for pixel in range(0, len(positions), 3):
        surface = (positions[pixel], normals[pixel], to_camera[pixel], raster.triangles[pixel])
        rays = _brute_force(occlusion, mesh, light, roughness, samples, *surface)
        error = rays.std(dim=0) * math.sqrt(2 / samples)  # of the difference of two such means
        assert ((found[pixel] - rays.mean(dim=0)).abs() < 4.5 * error + 1e-6).all()
        significant += int((found[pixel].abs() > 6 * error).any())
    assert significant > 10


def _brute_force(
    occlusion: SelfOcclusion,
    mesh: Mesh,
    light: PrefilteredLight,
    roughness: float,
    samples: int,
    position: Tensor,
    normal: Tensor,
    v: Tensor,
    triangle: Tensor,
) -> Tensor:
    """(samples, 3) what each ray finds."""
    n = torch.nn.functional.normalize(normal, dim=0)
    x_axis = torch.nn.functional.normalize(v - (n @ v) * n, dim=0)
    frame = torch.stack([x_axis, torch.linalg.cross(n, x_axis), n])
    uniform = random_like((samples, 2), int(triangle))
    half = sample_visible_normals((n @ v).clamp(max=1), torch.tensor(roughness**2), uniform) @ frame
    directions = 2 * (half @ v)[:, None] * half - v
    corners = mesh.vertices[mesh.faces]
    a, edge1, edge2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    facets = torch.nn.functional.normalize(torch.linalg.cross(edge1, edge2), dim=-1)
    own = facets[triangle]
    origin = position + 2e-3 * own
    # Moeller and Trumbore 1997, all rays against all triangles.
    p = torch.linalg.cross(directions[:, None], edge2[None])
    determinant = (edge1 * p).sum(-1)
    s = origin - a
    u = (s * p).sum(-1) / determinant
    q = torch.linalg.cross(s, edge1)
    w = (directions[:, None] * q).sum(-1) / determinant
    distance = (edge2 * q).sum(-1) / determinant
    valid = (u >= 0) & (w >= 0) & (u + w <= 1) & (distance > 0) & (determinant.abs() > 1e-12)
    nearest = torch.where(valid, distance, torch.inf).min(dim=1)
    hit = nearest.values.isfinite() & (directions @ own > 0)
    face, row = nearest.indices, torch.arange(samples)
    weights = torch.stack([1 - u[row, face] - w[row, face], u[row, face], w[row, face]], 1)
    sent = (occlusion.outgoing[0][mesh.faces[face]] * weights[..., None]).sum(1)
    sent = sent * ((directions * facets[face]).sum(-1, keepdim=True) < 0)
    level = light.level(torch.full((samples, 1), roughness))
    lost = lookup(light.specular, directions, level) - sent
    return torch.where(hit[:, None], lost, 0.0)


def test_backs_of_open_sheets_are_left_alone() -> None:
    mesh = joined(sphere(16, 32, 0.3), (floor(9)[0] - torch.tensor([0.0, 0.0, 1.0]), floor(9)[1].flip(1)))
    occlusion = occlusion_of(mesh, WHITE, BLACK)
    found, _, positions = in_view(occlusion, mesh, WHITE, roughness=0.9)
    behind = positions[:, 2] < -0.9
    assert behind.sum() > 50
    assert not found.irradiance[behind].any()
    assert not found.reflected[behind].any()


def _turn(axis: list[float], degrees: float) -> Tensor:
    x, y, z = (torch.tensor(axis, dtype=torch.float64) / math.dist(axis, [0, 0, 0])).tolist()
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(math.radians(degrees) * skew).float()


def test_a_turning_light_is_the_object_turning_the_other_way() -> None:
    mesh, light, fg = ball_over_floor(9), colorful_light(), fg_table()
    turn = _turn([1.0, 2.0, 0.5], 130.0)
    turned = Mesh(mesh.vertices @ turn, mesh.faces).with_smooth_normals()  # R^T x
    options = {"rays": 2048, "samples": 256, "refreshes": 2}
    by_light = occlusion_of(mesh, light, fg, light_rotations=turn[None], **options)
    by_object = occlusion_of(turned, light, fg, **options)
    unturned = occlusion_of(mesh, light, fg, **options)
    torch.testing.assert_close(by_light.blocked, by_object.blocked, rtol=0, atol=0.01)
    torch.testing.assert_close(by_light.outgoing, by_object.outgoing, rtol=0, atol=0.01)
    assert (by_light.blocked - unturned.blocked).abs().max() > 0.03  # the light is not even

    raster, positions, normals, to_camera = shaded_pixels(mesh, 16)
    rotation = turn.expand(len(positions), 3, 3)
    found = by_light(surface_sample(normals, 0.5), raster, positions, to_camera, light, rotation)
    moved = replace(raster, vertices=turned.vertices)
    sample = surface_sample(normals @ turn, 0.5)
    expected = by_object(sample, moved, positions @ turn, to_camera @ turn, light, None)
    torch.testing.assert_close(found.irradiance, expected.irradiance, rtol=0, atol=0.01)
    # Two means of 256 rays whose values spread by less than 0.3.
    torch.testing.assert_close(found.reflected, expected.reflected, rtol=0, atol=0.1)
    assert (found.reflected - expected.reflected).mean().abs() < 0.005


def test_each_pixel_takes_the_most_similar_orientation() -> None:
    mesh, light, fg = ball_over_floor(9), colorful_light(), fg_table()
    turns = torch.stack([_turn([0, 0, 1], angle) for angle in (0.0, 90.0, 180.0)])
    torch.manual_seed(1)
    several = occlusion_of(mesh, light, fg, light_rotations=turns)
    raster, positions, normals, to_camera = shaded_pixels(mesh, 12)
    sample = surface_sample(normals, 0.5)
    nearly = _turn([0, 0, 1], 97.0).expand(len(positions), 3, 3)
    torch.manual_seed(2)
    found = several(sample, raster, positions, to_camera, light, nearly)
    torch.manual_seed(1)
    single = occlusion_of(mesh, light, fg, light_rotations=turns[1:2])
    torch.manual_seed(2)
    expected = single(sample, raster, positions, to_camera, light, nearly)
    assert torch.equal(found.irradiance, expected.irradiance)
    assert torch.equal(found.reflected, expected.reflected)


def test_a_light_that_turns_unannounced_is_refused() -> None:
    mesh = ball_over_floor(5)
    still = occlusion_of(mesh, WHITE, BLACK)
    raster, positions, normals, to_camera = shaded_pixels(mesh, 4)
    turns = torch.eye(3).expand(len(positions), 3, 3)
    with pytest.raises(ValueError, match="light_rotation"):
        still(surface_sample(normals, 0.5), raster, positions, to_camera, WHITE, turns)


def test_noise_stays_below_two_percent_of_the_irradiance() -> None:
    """It is baked into textures otherwise: noisy light biases roughness and metallic."""
    mesh, light = ball_over_floor(), colorful_light()
    runs = []
    for seed in range(6):
        torch.manual_seed(seed)
        runs.append(occlusion_of(mesh, light, fg_table(), refreshes=4).blocked)
    spread = torch.stack(runs).std(dim=0)
    assert spread.square().mean().sqrt() < 0.02 * 0.5  # the light is 0.5 on average
    assert spread.max() > 0


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    mesh, light = ball_over_floor(65), colorful_light()
    assert len(mesh.vertices) > 4096  # enough for launches to be cut

    def run(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        occlusion = occlusion_of(mesh, light, fg_table(), refreshes=2, rays=4)
        found, *_ = in_view(occlusion, mesh, light, 0.5, width=80)
        return [occlusion.blocked, occlusion.outgoing, found.irradiance, found.reflected]

    before = torch.get_num_threads()
    try:
        alone, together = run(1), run(3)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert alone[3].any()


def test_a_resumed_state_goes_on_bit_for_bit() -> None:
    mesh, light, fg = ball_over_floor(9), colorful_light(), fg_table()
    first = occlusion_of(mesh, light, fg, refreshes=2)
    resumed = SelfOcclusion(mesh.faces, len(mesh.vertices))
    resumed.load_state_dict(first.state_dict())
    random = torch.get_rng_state()
    results = []
    for occlusion in (first, resumed):
        torch.set_rng_state(random)
        occlusion.refresh(mesh, material(len(mesh.vertices)), light, fg)
        results.append((occlusion.blocked, in_view(occlusion, mesh, light, 0.5)[0].reflected))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert int(resumed.refreshes) == 3


def test_a_shared_tree_is_found_where_the_rasterizer_left_it() -> None:
    mesh, light = ball_over_floor(9), colorful_light()
    rasterizer = WarpRasterizer("cpu")
    torch.manual_seed(0)
    shared = occlusion_of(mesh, light, fg_table(), bvh=rasterizer.bvh)
    torch.manual_seed(0)
    own = occlusion_of(mesh, light, fg_table())
    assert torch.equal(shared.blocked, own.blocked)
    elsewhere = Mesh(mesh.vertices + 5.0, mesh.faces)
    rasterizer.rasterize(elsewhere.vertices, elsewhere.faces, front_camera(4, 4))  # another mesh in between
    torch.manual_seed(1)
    found = in_view(shared, mesh, light, 0.5)[0]
    torch.manual_seed(1)
    expected = in_view(own, mesh, light, 0.5)[0]
    assert torch.equal(found.reflected, expected.reflected)


def test_vertices_take_the_uv_of_their_last_corner() -> None:
    uvs = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]])
    vertices = torch.zeros(5, 3)
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [2, 1, 3]]), uvs, torch.tensor([[0, 1, 2], [3, 1, 0]]))
    expected = torch.stack([uvs[0], uvs[1], uvs[3], uvs[0], torch.zeros(2)])
    assert torch.equal(vertex_uvs(mesh), expected)
