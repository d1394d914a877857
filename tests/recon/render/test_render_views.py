"""Rendering a scene: equal images, routed gradients, turning light, supersampling, empty views."""

from __future__ import annotations

import math
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn

from recon.data.cameras import Cameras
from recon.geometry.mesh import Mesh
from recon.light.environment import EnvironmentLight, PrefilteredLight
from recon.light.fg_table import fg_table
from recon.material.channels import Channels
from recon.render.loss_routes import LossRoutes
from recon.render.render_views import Rendered, SurfaceSample, render_views
from recon.render.shade import world_normal
from recon.render.warp_backend import WarpRasterizer
from tests.recon.render.scenes import orbit_cameras, random_like, sphere

NAMES = ("albedo", "normal", "roughness", "metallic", "occlusion")
RASTERIZER = WarpRasterizer(torch.device("cpu"))


class PaintedSphere(nn.Module):
    """A small sphere whose channels are functions of the surface point, with parameters of their own."""

    def __init__(self, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        super().__init__()
        vertices, self.faces = sphere(10, 16, 0.8, center)
        self.vertices = nn.Parameter(vertices)
        widths = dict(zip(NAMES, (3, 3, 1, 1, 1)))
        self.paint = nn.ParameterDict(
            {name: random_like((4, width), seed) * 2 - 1 for seed, (name, width) in enumerate(widths.items())}
        )

    def mesh(self) -> Mesh:
        return Mesh(self.vertices, self.faces).with_smooth_normals()

    def channels(self, points: Tensor) -> Channels:
        inputs = torch.cat([points.detach(), torch.ones_like(points[:, :1])], dim=1)
        values = {name: torch.sigmoid(inputs @ weights) for name, weights in self.paint.items()}
        values["normal"] = 0.4 * (values["normal"] - 0.5)
        values["roughness"] = 0.1 + 0.5 * values["roughness"]
        return Channels(**values)

    def sample(self, mesh: Mesh, raster, positions: Tensor, rasterizer) -> SurfaceSample:
        normal = rasterizer.interpolate(mesh.normals, raster, mesh.normal_faces)

        def lookup(points: Tensor, rows: Tensor) -> Channels:
            return self.channels(points)

        return SurfaceSample(self.channels(positions), normal, None, positions, lookup)


@lru_cache
def fg() -> Tensor:
    return fg_table()


def directions(height: int, width: int) -> Tensor:
    """(H, W, 3) directions of a lat-long picture's texels: centre column +Z, a quarter of the width +X."""
    polar = math.pi * (torch.arange(height) + 0.5) / height
    azimuth = 2 * math.pi * (0.5 - (torch.arange(width) + 0.5) / width)
    polar, azimuth = torch.meshgrid(polar, azimuth, indexing="ij")
    x, z = torch.sin(polar) * torch.sin(azimuth), torch.sin(polar) * torch.cos(azimuth)
    return torch.stack([x, torch.cos(polar), z], dim=-1)


def radiance(direction: Tensor) -> Tensor:
    """A smooth light without any symmetry."""
    x, y, z = direction.unbind(-1)
    return torch.stack([1 + 0.8 * x + 0.3 * y * z, 1 + 0.7 * y - 0.4 * x * z, 1 - 0.6 * z + 0.3 * x * y], -1)


def light_of(probe: Tensor, requires_grad: bool = False) -> PrefilteredLight:
    known = EnvironmentLight.known(probe, 16).prefilter()
    return PrefilteredLight(
        known.diffuse.clone().requires_grad_(requires_grad),
        tuple(level.clone().requires_grad_(requires_grad) for level in known.specular),
        known.roughness,
    )


@lru_cache
def plain_light() -> PrefilteredLight:
    return light_of(radiance(directions(32, 64)))


def render(scene: PaintedSphere, cameras: Cameras | None = None, **options) -> Rendered:
    options = {"routes": None, "light": plain_light(), **options}
    cameras = cameras or orbit_cameras(2, 24, 20)
    return render_views(scene, options.pop("light"), fg(), cameras, RASTERIZER, **options)


def loss_a(rendered: Rendered) -> Tensor:
    weights = random_like(tuple(rendered.image_a.shape), 11)
    return (weights * rendered.image_a).sum() + 0.1 * rendered.image_a.square().sum()


def loss_b(rendered: Rendered) -> Tensor:
    weights = random_like(tuple(rendered.image_b.shape), 12)
    return (weights * rendered.image_b.square()).sum()


def loss_mask(rendered: Rendered) -> Tensor:
    return (random_like(tuple(rendered.alpha.shape), 13) * rendered.alpha).sum()


def gradients(scene: PaintedSphere, light: PrefilteredLight, loss: Tensor) -> dict[str, Tensor]:
    leaves = {**dict(scene.paint.items()), "vertices": scene.vertices, "diffuse": light.diffuse}
    leaves |= {f"specular{i}": level for i, level in enumerate(light.specular)}
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), found)
    }


@lru_cache
def unrouted() -> dict[str, dict[str, Tensor]]:
    """What each loss alone gives every parameter when nothing is kept apart."""
    scene, light = PaintedSphere(), light_of(radiance(directions(32, 64)), requires_grad=True)
    losses = {"A": loss_a, "B": loss_b, "mask": loss_mask}
    return {name: gradients(scene, light, loss(render(scene, light=light))) for name, loss in losses.items()}


def routed(routes: LossRoutes, *losses) -> dict[str, Tensor]:
    scene, light = PaintedSphere(), light_of(radiance(directions(32, 64)), requires_grad=True)
    rendered = render(scene, light=light, routes=routes)
    return gradients(scene, light, torch.stack([loss(rendered) for loss in losses]).sum())


def assert_equal_gradient(got: Tensor, expected: Tensor) -> None:
    """Same up to the order of float32 sums, and not trivially so."""
    scale = float(expected.abs().max())
    assert scale > 1e-4
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * scale)


def test_light_and_view_give_a_picture():
    rendered = render(PaintedSphere())
    assert rendered.image_a.shape == (2, 20, 24, 3) and rendered.alpha.shape == (2, 20, 24)
    assert torch.equal(rendered.image_a, rendered.image_b)
    covered = rendered.alpha > 0.999
    assert 0.2 < covered.float().mean() < 0.8
    assert (rendered.image_a[covered] > 0.01).all()
    assert (rendered.image_a[rendered.alpha == 0] == 0).all()


@pytest.mark.parametrize("geometry", ["A+B", "A", "B"])
def test_images_are_equal_in_value(geometry):
    scene = PaintedSphere()
    plain = render(scene)
    rendered = render(scene, routes=LossRoutes(geometry=geometry))
    assert torch.equal(rendered.image_a, rendered.image_b)
    torch.testing.assert_close(rendered.image_a, plain.image_a, rtol=0, atol=1e-6)
    torch.testing.assert_close(rendered.alpha, plain.alpha, rtol=0, atol=0)


@pytest.mark.parametrize("geometry", ["A+B", "A", "B"])
def test_each_branch_learns_from_its_own_loss(geometry):
    got = routed(LossRoutes(geometry=geometry), loss_a, loss_b, loss_mask)
    assert_equal_gradient(got["albedo"], unrouted()["A"]["albedo"])
    for name in ("roughness", "metallic", "occlusion"):
        assert_equal_gradient(got[name], unrouted()["B"][name])


def test_other_loss_alone_gives_exactly_nothing():
    from_b, from_a = routed(LossRoutes(), loss_b), routed(LossRoutes(), loss_a)
    assert from_b["albedo"].abs().max() == 0.0
    for name in ("roughness", "metallic", "occlusion"):
        assert from_a[name].abs().max() == 0.0
    # While both do reach what is shared.
    for name in ("normal", "vertices", "diffuse", "specular4"):
        assert from_a[name].abs().max() > 0.0 and from_b[name].abs().max() > 0.0


@pytest.mark.parametrize("side", ["A", "B", "A+B"])
def test_route_of_geometry(side):
    """Through shading, interpolated normals and silhouettes; coverage, a loss of its own, always counts."""
    got = routed(LossRoutes(geometry=side), loss_a, loss_b, loss_mask)["vertices"]
    parts = [*side.split("+"), "mask"]
    assert_equal_gradient(got, sum(unrouted()[part]["vertices"] for part in parts))


@pytest.mark.parametrize(("side", "other"), [("A", loss_b), ("B", loss_a)])
def test_geometry_is_out_of_the_other_loss_reach(side, other):
    got = routed(LossRoutes(geometry=side), other)
    assert got["vertices"].abs().max() == 0.0
    assert got["normal"].abs().max() > 0.0


@pytest.mark.parametrize("side", ["A", "B", "A+B"])
def test_routes_of_normal_and_light(side):
    got = routed(LossRoutes(normal=side, light=side), loss_a, loss_b)
    for name in ("normal", "diffuse", "specular4"):
        assert_equal_gradient(got[name], sum(unrouted()[part][name] for part in side.split("+")))
    # The others keep their own routes.
    assert_equal_gradient(got["vertices"], unrouted()["A"]["vertices"] + unrouted()["B"]["vertices"])


def test_silhouette_gradient_moves_the_right_way():
    """Asking for more coverage makes the sphere grow."""
    scene = PaintedSphere()
    render(scene, routes=LossRoutes()).alpha.sum().backward()
    outward = (scene.vertices.grad * scene.vertices).sum()
    assert outward > 1.0


def rotation(axis: tuple[float, float, float], angle: float) -> Tensor:
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float32), dim=0)
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return torch.linalg.matrix_exp(angle * cross)


def test_turned_light_is_the_turned_probe():
    """L_t(d) = L_0(R^T d), another R per view; R maps +z to +x first, so the two ways round differ."""
    turns = torch.stack(
        [rotation((0, 1, 0), math.pi / 2), rotation((1, 0.3, -0.5), 1.1), rotation((0, 0, 1), -2.0)]
    )
    scene, cameras, grid = PaintedSphere(), orbit_cameras(3, 24, 20), directions(64, 128)
    with torch.no_grad():
        got = render(scene, cameras, light_rotation=turns).image_a
        for view, turn in enumerate(turns):
            probes = {"R^T": radiance(grid @ turn), "R": radiance(grid @ turn.T)}  # rows: d^T R = (R^T d)^T
            images = {
                name: render(scene, cameras[view : view + 1], light=light_of(probe)).image_a[0]
                for name, probe in probes.items()
            }
            # A cubemap of 16 texels holds this light to about a percent.
            assert (got[view] - images["R^T"]).abs().max() < 0.02
            assert (got[view] - images["R"]).abs().max() > 0.1


def test_turned_light_keeps_routes():
    turns = rotation((0.2, 1, 0), 0.7).expand(2, 3, 3)
    scene = PaintedSphere()
    rendered = render(scene, routes=LossRoutes(), light_rotation=turns)
    assert torch.equal(rendered.image_a, rendered.image_b)
    loss_b(rendered).backward()
    assert scene.paint["albedo"].grad is None or scene.paint["albedo"].grad.abs().max() == 0.0
    assert scene.vertices.grad.abs().max() > 0.0


def pooled(image: Tensor, side: int) -> Tensor:
    batch, height, width, channels = image.shape
    return image.view(batch, height // side, side, width // side, side, channels).mean((2, 4))


def test_supersampling_averages_a_larger_picture():
    scene, cameras = PaintedSphere(), orbit_cameras(2, 24, 20)
    with torch.no_grad():
        four = render(scene, cameras, samples=4, routes=LossRoutes())
        doubled = render(scene, cameras.resized(48, 40))
        truth = pooled(render(scene, cameras.resized(24 * 16, 20 * 16)).image_a, 16)
        one = render(scene, cameras)
    assert four.image_a.shape == (2, 20, 24, 3) and four.alpha.shape == (2, 20, 24)
    torch.testing.assert_close(four.image_a, pooled(doubled.image_a, 2), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(four.alpha, pooled(doubled.alpha[..., None], 2)[..., 0], rtol=1e-5, atol=1e-6)
    error_one, error_four = (float((r.image_a - truth).square().mean().sqrt()) for r in (one, four))
    assert error_four < 0.6 * error_one
    assert error_four < 0.02


def test_supersampled_gradient_is_not_lost():
    scene = PaintedSphere()
    rendered = render(scene, samples=4, routes=LossRoutes())
    (loss_a(rendered) + loss_b(rendered)).backward()
    for parameter in scene.parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0.0


def test_samples_must_be_a_square():
    with pytest.raises(ValueError, match="square number"):
        render(PaintedSphere(), samples=2)


@pytest.mark.parametrize("routes", [None, LossRoutes(), LossRoutes(geometry="A")], ids=["none", "A+B", "A"])
@pytest.mark.parametrize("samples", [1, 4])
def test_object_out_of_view(routes, samples):
    scene = PaintedSphere(center=(0.0, 50.0, 0.0))
    rendered = render(scene, routes=routes, samples=samples)
    for image in (rendered.image_a, rendered.image_b, rendered.alpha):
        assert image.abs().max() == 0.0
    (loss_a(rendered) + loss_b(rendered) + loss_mask(rendered)).backward()
    for name, parameter in scene.named_parameters():
        assert parameter.grad is None or parameter.grad.abs().max() == 0.0, name  # NaN fails as well


def test_view_without_the_object_beside_one_with_it():
    cameras = orbit_cameras(2, 24, 20)
    away = cameras.camera_to_world.clone()
    away[1, :3, 3] += torch.tensor([0.0, 50.0, 0.0])
    rendered = render(PaintedSphere(), Cameras(away, cameras.focal, cameras.principal, 24, 20))
    alone = render(PaintedSphere(), cameras[:1])
    torch.testing.assert_close(rendered.image_a[0], alone.image_a[0])
    assert rendered.image_a[1].abs().max() == 0.0


def test_world_normal_by_hand():
    """Interpolated N and T are shorter than one; MikkTSpace uses them so: B = w cross(N, T)."""
    normal = torch.tensor([[0.0, 0.0, 0.9]])
    tangent = torch.tensor([[0.8, 0.0, 0.0, -1.0]])
    perturbation = torch.tensor([[0.6, 0.48, 0.64]])
    # B = -cross(N, T) = (0, -0.72, 0); x T + y B + z N = (0.48, -0.3456, 0.576), of length 0.8256.
    expected = torch.tensor([[0.48, -0.3456, 0.576]]) / 0.68161536**0.5
    torch.testing.assert_close(world_normal(normal, perturbation, tangent), expected)


def test_world_normal_of_an_offset_by_hand():
    got = world_normal(torch.tensor([[0.0, 0.0, 0.5]]), torch.tensor([[0.75, 0.0, 0.0]]), None)
    torch.testing.assert_close(got, torch.tensor([[0.6, 0.0, 0.8]]))
