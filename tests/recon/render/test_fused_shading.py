"""One kernel against plain torch: values, every gradient, every route, and no dependence on threads."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from torch.nn.functional import normalize

from recon.light.environment import EnvironmentLight, PrefilteredLight
from recon.light.fg_table import fg_table
from recon.material.channels import Channels
from recon.render.fused_shading import ShadingFrame, fused_shade, shading_normals
from recon.render.loss_routes import LossRoutes
from recon.render.shade import OccludedLight, face_camera, world_normal
from tests.recon.render.reference_routing import route
from tests.recon.render.reference_shading import cast, shade_in_plain_torch

VIEWS = 3
CASES = {
    "offset": {},
    "tangent space": {"tangents": True},
    "turned light": {"turned": True},
    "variance": {"variance": True},
    "occluded": {"occluded": True},
    "everything": {"tangents": True, "turned": True, "variance": True, "occluded": True},
    "one level": {"levels": 1},
}


@lru_cache
def known_light():
    probe = torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(3))
    return EnvironmentLight.known(probe, 16).prefilter()


def case(count=2000, *, tangents=False, turned=False, variance=False, occluded=False, levels=None):
    """(channels, frame, light, fg), keywords: pixels seen from all sides, some from behind."""
    generator = torch.Generator().manual_seed(7)

    def random(*shape):
        return torch.rand(*shape, generator=generator)

    def direction():
        return normalize(random(count, 3) - 0.5, dim=-1)

    known = known_light()
    light = PrefilteredLight(known.diffuse, known.specular[:levels], known.roughness[:levels])
    normal = 0.9 * direction()
    perturbation, tangent = 0.5 * (random(count, 3) - 0.5), None
    if tangents:
        handedness = torch.where(random(count, 1) > 0.5, 1.0, -1.0)
        tangent = torch.cat([0.8 * direction(), handedness], dim=1)
        perturbation = normalize(perturbation + torch.tensor([0.0, 0.0, 0.5]), dim=-1)
    origins = 3.0 * normalize(random(VIEWS, 3) - 0.5, dim=-1)
    views = torch.randint(0, VIEWS, (count,), generator=generator)
    rotation = torch.linalg.qr(random(VIEWS, 3, 3))[0] if turned else None
    frame = ShadingFrame(normal, tangent, 0.3 * normal, views, origins, rotation)
    channels = Channels(random(count, 3), perturbation, random(count, 1), random(count, 1), random(count, 1))
    # Beyond the widest lobe, and beyond the least light, for some of the pixels.
    blocked = (1.5 * random(count, 3) - 0.5, 1.5 * random(count, 3) - 0.5) if occluded else None
    keywords = {
        "variance": 0.3 * random(count, 1).square() if variance else None,
        "occluded": None if blocked is None else OccludedLight(*blocked, trust=random(count, 1)),
    }
    return (channels, frame, light, fg_table()), keywords


def learnt_tensors(arguments):
    channels, frame, light, _ = arguments
    return {
        "albedo": channels.albedo,
        "roughness": channels.roughness,
        "metallic": channels.metallic,
        "occlusion": channels.occlusion,
        "perturbation": channels.normal,
        "normal": frame.normal,
        "position": frame.positions,
        "diffuse": light.diffuse,
        **{f"specular{level}": texels for level, texels in enumerate(light.specular)},
    }


def with_tensors(arguments, tensors):
    _, frame, light, fg = arguments
    levels = range(len(light.specular))
    return (
        Channels(*(tensors[k] for k in ("albedo", "perturbation", "roughness", "metallic", "occlusion"))),
        replace(frame, normal=tensors["normal"], positions=tensors["position"]),
        PrefilteredLight(tensors["diffuse"], tuple(tensors[f"specular{k}"] for k in levels), light.roughness),
        fg,
    )


def leaves(arguments):
    """`arguments` with all that is learnt as leaves of their own, and those leaves by name."""
    tensors = {name: t.detach().clone().requires_grad_() for name, t in learnt_tensors(arguments).items()}
    return with_tensors(arguments, tensors), tensors


def upstream(count, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64).to(dtype)


def assert_close(got, expected, name):
    """float32 against float64; of a largest value, for terms of either sign cancel in single ones."""
    scale = float(expected.abs().max())
    assert scale > 1e-2, f"{name}: nothing to compare"
    error = float((got.double() - expected.double()).abs().max()) / scale
    assert error < 1e-4, f"{name}: off by {error:.1e} of its largest value"


@pytest.mark.parametrize("name", CASES)
def test_values_and_all_gradients_are_those_of_plain_torch(name):
    arguments, keywords = case(**CASES[name])
    count = len(arguments[0].albedo)
    arguments, mine = leaves(arguments)
    color, same = fused_shade(*arguments, routes=None, **keywords)
    color.backward(upstream(count, 1))

    exact, exact_keywords = cast(arguments, torch.float64), cast(keywords_tuple(keywords), torch.float64)
    exact, theirs = leaves(exact)
    expected = shade_in_plain_torch(*exact, variance=exact_keywords[0], occluded=exact_keywords[1])
    expected.backward(upstream(count, 1, torch.float64))

    assert same is color
    assert_close(color.detach(), expected.detach(), "color")
    for key, leaf in mine.items():
        assert_close(leaf.grad, theirs[key].grad, key)


def keywords_tuple(keywords):
    return keywords["variance"], keywords["occluded"]


@pytest.mark.parametrize("name", ["offset", "everything"])
def test_gradients_of_pixels_are_there_almost_everywhere(name):
    arguments, keywords = case(**CASES[name])
    arguments, mine = leaves(arguments)
    color, _ = fused_shade(*arguments, routes=None, **keywords)
    color.backward(upstream(len(color), 1))
    for key, leaf in mine.items():
        if leaf.shape[0] == len(color):
            assert (leaf.grad.abs().amax(dim=1) > 0).float().mean() > 0.95, key
        else:
            assert leaf.grad.abs().sum() > 0, key


def test_cases_reach_the_branches():
    """Normals bent toward the camera, the clamp of roughness, and light at its least, each many times."""
    (channels, frame, light, fg), keywords = case(**CASES["everything"])
    toward = normalize(frame.origins[frame.views] - frame.positions, dim=-1)
    assert ((frame.normal * toward).sum(-1) < 0).float().mean() > 0.2
    wide = channels.roughness**4 + keywords["variance"] > 1.0
    assert 10 < int(wide.sum()) < 500
    plain = fused_shade(channels, frame, light, fg, routes=None)[0]
    blocked = OccludedLight(9 + 0 * plain, 9 + 0 * plain, 0 * plain[:, :1])
    least = fused_shade(channels, frame, light, fg, routes=None, occluded=blocked)[0]
    torch.testing.assert_close(least, 0.02 * plain)


def constant_of(arguments, keywords):
    """`arguments` -> a function of their learnt tensors by name, for the reference router."""
    variance, occluded = cast(keywords_tuple(keywords), torch.float64)

    def function(**tensors):
        moved = with_tensors(cast(arguments, torch.float64), tensors)
        return shade_in_plain_torch(*moved, variance=variance, occluded=occluded)

    return function


ROUTES = [LossRoutes(), LossRoutes("A", "B", "A+B"), LossRoutes("B", "A+B", "A"), LossRoutes("A+B", "A", "B")]


@pytest.mark.parametrize("routes", ROUTES, ids=lambda r: f"{r.geometry} {r.normal} {r.light}")
@pytest.mark.parametrize("sides", ["A+B", "A", "B"])
def test_routes_are_those_of_the_reference(routes, sides):
    arguments, keywords = case(500, **CASES["everything"])
    function = constant_of(arguments, keywords)
    arguments, mine = leaves(arguments)
    colors = fused_shade(*arguments, routes=routes, **keywords)
    exact = {name: leaf.detach().double().requires_grad_() for name, leaf in mine.items()}
    by_name = {"albedo": "A", "roughness": "B", "metallic": "B", "occlusion": "B"}
    by_name |= {"perturbation": routes.normal, "normal": routes.geometry, "position": routes.geometry}
    expected = route(function, exact, {name: by_name.get(name, routes.light) for name in exact})

    def arriving(pair, dtype):
        return sum(
            (color * upstream(500, seed, dtype)).sum()
            for side, seed, color in zip("AB", (1, 2), pair)
            if side in sides
        )

    arriving(colors, torch.float32).backward()
    arriving(expected, torch.float64).backward()
    for name, leaf in mine.items():
        if exact[name].grad is None:
            # Leaves of one buffer: a route that nothing arrives on leaves them without, or with nothing.
            assert leaf.grad is None or not leaf.grad.any(), name
        else:
            assert_close(leaf.grad, exact[name].grad, name)


def test_the_images_are_equal_and_separate():
    arguments, keywords = case(100)
    color_a, color_b = fused_shade(*leaves(arguments)[0], routes=LossRoutes(), **keywords)
    assert torch.equal(color_a, color_b) and color_a.data_ptr() != color_b.data_ptr()


def test_upstream_gradients_are_left_as_they_are():
    arguments, keywords = case(100)
    color_a, color_b = fused_shade(*leaves(arguments)[0], routes=LossRoutes(), **keywords)
    given = [upstream(100, 1), upstream(100, 2)]
    kept = [gradient.clone() for gradient in given]
    torch.autograd.backward([color_a, color_b], given)
    assert all(torch.equal(gradient, before) for gradient, before in zip(given, kept))


def test_only_what_is_learnt_gets_a_gradient():
    (channels, frame, light, fg), _ = case(100)
    channels.albedo.requires_grad_()
    color_a, color_b = fused_shade(channels, frame, light, fg, routes=LossRoutes())
    (color_a.sum() + color_b.sum()).backward()
    assert channels.albedo.grad.abs().max() > 0
    assert channels.roughness.grad is None and frame.normal.grad is None


def test_slices_of_wider_tensors_are_taken_as_they_are():
    """Networks return channels side by side, and gradients arrive as slices of images."""
    (channels, frame, light, fg), _ = case(50)
    wide = torch.cat([channels.albedo, channels.roughness, channels.metallic, channels.occlusion], dim=1)
    expected, mine = leaves((channels, frame, light, fg))
    weights = torch.cat([upstream(50, 1), upstream(50, 2)], dim=1)
    torch.cat(fused_shade(*expected, routes=LossRoutes()), dim=1).backward(weights)
    wide.requires_grad_()
    sliced = Channels(wide[:, :3], channels.normal, wide[:, 3:4], wide[:, 4:5], wide[:, 5:])
    torch.cat(fused_shade(sliced, frame, light, fg, routes=LossRoutes()), dim=1).backward(weights)
    parts = [mine[name].grad for name in ("albedo", "roughness", "metallic", "occlusion")]
    assert torch.equal(wide.grad, torch.cat(parts, dim=1))


def test_results_do_not_depend_on_the_number_of_threads():
    """20000 pixels, so that launches are cut into slices."""
    found = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            arguments, keywords = case(20000, **CASES["everything"])
            arguments, mine = leaves(arguments)
            color_a, color_b = fused_shade(*arguments, routes=LossRoutes(), **keywords)
            torch.autograd.backward([color_a, color_b], [upstream(20000, 1), upstream(20000, 2)])
            found.append([color_a.detach(), *(leaf.grad for leaf in mine.values())])
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other))


@pytest.mark.parametrize("tangents", [False, True])
def test_normals_alone(tangents):
    (channels, frame, _, _), _ = case(tangents=tangents)
    parts = frame.normal, channels.normal, frame.tangent
    toward = normalize(frame.origins[frame.views] - frame.positions, dim=-1)
    expected = world_normal(*parts)
    torch.testing.assert_close(shading_normals(*parts), expected)
    torch.testing.assert_close(shading_normals(*parts, toward), face_camera(expected, toward)[0])


def test_no_pixels():
    arguments, keywords = case(0, **CASES["everything"])
    arguments, mine = leaves(arguments)
    color_a, color_b = fused_shade(*arguments, routes=LossRoutes(), **keywords)
    assert color_a.shape == color_b.shape == (0, 3)
    (color_a.sum() + color_b.sum()).backward()
    for leaf in mine.values():
        assert leaf.grad.shape == leaf.shape and not leaf.grad.any()


def test_second_derivatives_are_refused():
    arguments, keywords = case(10)
    arguments, mine = leaves(arguments)
    color, _ = fused_shade(*arguments, routes=None, **keywords)
    (gradient,) = torch.autograd.grad(color.square().sum(), mine["albedo"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_unknown_routes_are_refused_by_name():
    with pytest.raises(ValueError, match=r"route of normal.*'C'"):
        LossRoutes(normal="C")


def test_roughness_and_metallic_learn_most_from_pixels_that_the_object_leaves_alone():
    arguments, keywords = case(**CASES["everything"])
    count, free = len(arguments[0].albedo), keywords["occluded"].trust
    gradients = []
    for power in (0.0, 2.0):
        moved, mine = leaves(arguments)
        colors = fused_shade(*moved, routes=LossRoutes(free_light=power), **keywords)
        torch.autograd.backward(colors, [upstream(count, 1), upstream(count, 2)])
        gradients.append({key: leaf.grad for key, leaf in mine.items()})
    alike, weighed = gradients
    for key in alike:
        expected = alike[key] * free**2 if key in ("roughness", "metallic") else alike[key]
        torch.testing.assert_close(weighed[key], expected, msg=key)
