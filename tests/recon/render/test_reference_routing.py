import pytest
import torch

from tests.recon.render.reference_routing import route


class Shader:
    """A small nonlinear stand-in for shading that mixes all inputs and counts its evaluations."""

    def __init__(self):
        self.calls = 0

    def __call__(self, albedo, roughness, normal, light, frame=None):
        self.calls += 1
        cosine = torch.sigmoid(normal.sum(1, keepdim=True))
        color = albedo * cosine * light + torch.exp(-roughness * cosine) * light.square()
        return color if frame is None else color + frame[:, None].to(color)


ROUTES = {"albedo": "A", "roughness": "B", "normal": "A+B", "light": "none"}


def inputs(count=50, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = {"albedo": (count, 3), "roughness": (count, 1), "normal": (count, 3), "light": (3,)}
    return {
        name: torch.rand(*shape, dtype=dtype, generator=generator).requires_grad_()
        for name, shape in shapes.items()
    }


def loss_a(color):
    return color.log1p().mean()


def loss_b(color):
    return color.pow(3).mean()


def alone(loss, values):
    """The gradient of one loss through one shade, the ordinary way."""
    return dict(zip(values, torch.autograd.grad(loss(Shader()(**values)), list(values.values()))))


def test_each_input_gets_exactly_its_branch_gradient_from_one_shade_and_one_backward():
    values, shader = inputs(), Shader()
    color_a, color_b = route(shader, values, ROUTES)
    (loss_a(color_a) + loss_b(color_b)).backward()
    from_a, from_b = alone(loss_a, values), alone(loss_b, values)
    assert shader.calls == 1
    assert torch.equal(values["albedo"].grad, from_a["albedo"])
    assert torch.equal(values["roughness"].grad, from_b["roughness"])
    torch.testing.assert_close(values["normal"].grad, from_a["normal"] + from_b["normal"], rtol=1e-12, atol=0)
    assert values["light"].grad is None
    # The comparison means something only where the two losses disagree.
    assert (from_a["albedo"] - from_b["albedo"]).abs().max() > 1e-3
    assert (from_a["roughness"] - from_b["roughness"]).abs().max() > 1e-3


def test_gradients_continue_into_what_made_the_inputs():
    values = inputs()
    weight_a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    weight_b = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def scaled():
        return {**values, "albedo": weight_a * values["albedo"], "roughness": weight_b * values["roughness"]}

    color_a, color_b = route(Shader(), scaled(), ROUTES)
    (loss_a(color_a) + loss_b(color_b)).backward()
    assert torch.equal(weight_a.grad, torch.autograd.grad(loss_a(Shader()(**scaled())), weight_a)[0])
    assert torch.equal(weight_b.grad, torch.autograd.grad(loss_b(Shader()(**scaled())), weight_b)[0])


def test_both_images_equal_the_plain_value_and_are_separate():
    values = inputs()
    color_a, color_b = route(Shader(), values, ROUTES)
    plain = Shader()(**values)
    assert torch.equal(color_a, plain) and torch.equal(color_b, plain)
    assert color_a.data_ptr() != color_b.data_ptr()


@pytest.mark.parametrize("used", ["A", "B"])
def test_one_image_alone(used):
    values = inputs()
    color_a, color_b = route(Shader(), values, ROUTES)
    loss, color = (loss_a, color_a) if used == "A" else (loss_b, color_b)
    loss(color).backward()
    expected = alone(loss, values)
    mine, other = ("albedo", "roughness") if used == "A" else ("roughness", "albedo")
    assert torch.equal(values[mine].grad, expected[mine])
    assert torch.equal(values["normal"].grad, expected["normal"])
    assert values[other].grad is None


def test_the_shared_route_against_central_differences():
    values = inputs(4)
    everything = dict.fromkeys(values, "A+B")

    def total(moved):
        color_a, color_b = route(Shader(), moved, everything)
        return loss_a(color_a) + loss_b(color_b)

    total(values).backward()
    generator = torch.Generator().manual_seed(1)
    # Step 1e-5 in float64: truncation and rounding are both near 1e-10.
    step = 1e-5
    for name, value in values.items():
        direction = torch.randn(value.shape, dtype=value.dtype, generator=generator)
        ahead, behind = (
            total({**values, name: value.detach() + sign * step * direction}).item() for sign in (1, -1)
        )
        expected = (value.grad * direction).sum().item()
        assert abs(expected) > 1e-3
        assert (ahead - behind) / (2 * step) == pytest.approx(expected, rel=1e-6)


def test_no_points():
    values = inputs(0)
    color_a, color_b = route(Shader(), values, ROUTES)
    assert color_a.shape == (0, 3)
    (color_a.sum() + color_b.sum()).backward()
    assert values["albedo"].grad.shape == (0, 3)


def test_inputs_without_gradient_are_passed_on_and_need_no_route():
    values = {name: value.detach() for name, value in inputs().items()}
    values["albedo"].requires_grad_()
    frame = torch.arange(50)
    color_a, color_b = route(Shader(), {**values, "frame": frame}, {"albedo": "A"})
    assert torch.equal(color_a, Shader()(**values, frame=frame))
    (color_a.sum() + color_b.sum()).backward()
    assert values["albedo"].grad.abs().max() > 0.0


def test_an_input_that_the_function_ignores_gets_no_gradient():
    values = {"used": torch.ones(3, requires_grad=True), "ignored": torch.ones(3, requires_grad=True)}
    color_a, _ = route(lambda used, ignored: 2 * used, values, {"used": "A", "ignored": "A"})
    color_a.sum().backward()
    assert torch.equal(values["used"].grad, torch.full((3,), 2.0)) and values["ignored"].grad is None


def test_without_grad_mode_nothing_is_recorded():
    with torch.no_grad():
        color_a, color_b = route(Shader(), inputs(), ROUTES)
    assert not color_a.requires_grad and not color_b.requires_grad


def test_a_group_visits_only_the_operations_that_lead_to_it():
    visits = []

    class Costly(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            visits.append(1)
            return gradient * 2

    values = {"a": torch.ones(3, requires_grad=True), "b": torch.ones(3, requires_grad=True)}
    color_a, color_b = route(lambda a, b: Costly.apply(a) * b, values, {"a": "A", "b": "B"})
    (color_a.sum() + color_b.sum()).backward()
    assert len(visits) == 1


def test_second_derivatives_and_second_passes_are_refused():
    values = inputs()
    color_a, _ = route(Shader(), values, ROUTES)
    with pytest.raises(RuntimeError, match="once only"):
        torch.autograd.grad(loss_a(color_a), values["albedo"], create_graph=True)
    color_a, _ = route(Shader(), values, ROUTES)
    loss = loss_a(color_a)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="freed"):
        loss.backward()


def test_captured_parameters_are_refused_rather_than_cut_off():
    values = inputs()
    captured = torch.ones(3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="captures"):
        route(lambda **kwargs: Shader()(**kwargs) * captured, values, ROUTES)


def test_bad_routes_are_refused_by_name():
    values = inputs()
    with pytest.raises(ValueError, match="'roughness' requires a gradient"):
        route(Shader(), values, {"albedo": "A", "normal": "A", "light": "A"})
    with pytest.raises(ValueError, match="'albedo' has the route 'C'"):
        route(Shader(), values, {**ROUTES, "albedo": "C"})
