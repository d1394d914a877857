import pytest
import torch

from recon.material.channels import (
    ChannelSettings,
    decode_albedo,
    decode_metallic,
    decode_normal_offset,
    decode_occlusion,
    decode_roughness,
)
from usd_tools.errors import UserError

SETTINGS = ChannelSettings(roughness_min=0.1, roughness_max=0.9, initial_roughness=0.3, initial_metallic=0.02)


def roughness(raw):
    return decode_roughness(raw, SETTINGS)


def metallic(raw):
    return decode_metallic(raw, SETTINGS)


def normal_offset(raw):
    return decode_normal_offset(raw, SETTINGS)


SIGMOIDS = [decode_albedo, decode_occlusion, roughness, metallic]


def test_zero_output_is_the_configured_start():
    zero = torch.zeros(1, 1, dtype=torch.float64)
    assert roughness(zero).item() == pytest.approx(0.3)
    assert metallic(zero).item() == pytest.approx(0.02)
    assert decode_occlusion(zero).item() == pytest.approx(0.95)
    assert normal_offset(torch.zeros(1, 3)).abs().max() == 0.0
    # sRGB 0.5 in linear light
    torch.testing.assert_close(
        decode_albedo(torch.zeros(1, 3)), torch.full((1, 3), 0.21404), atol=1e-4, rtol=0
    )


def test_ranges_are_never_left_and_their_ends_are_reached():
    far = torch.tensor([[-100.0], [100.0]])
    for decode, ends in (
        (roughness, [0.1, 0.9]),
        (metallic, [0.0, 1.0]),
        (decode_occlusion, [0.0, 1.0]),
        (decode_albedo, [0.0, 1.0]),
        (normal_offset, [-0.25, 0.25]),
    ):
        found = decode(far).flatten().tolist()
        assert ends[0] <= found[0] and found[1] <= ends[1]
        assert found == pytest.approx(ends, abs=0.25 / 255)  # 8 bits do not tell them from the ends


@pytest.mark.parametrize("decode", SIGMOIDS)
@pytest.mark.parametrize("far", [-60.0, 60.0])
def test_what_has_run_to_an_end_is_led_back_but_not_on(decode, far):
    """Adam's steps are long however small a gradient is, so only none at all is a stop."""
    for wish in (far, -far):
        raw = torch.full((1, 1), far, requires_grad=True)
        (-wish * decode(raw)).sum().backward()
        downhill = -raw.grad.item()
        assert downhill == 0.0 if wish == far else downhill * wish > 1e-4


@pytest.mark.parametrize("decode", [*SIGMOIDS, normal_offset])
def test_every_channel_can_move_from_its_start(decode):
    raw = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    decode(raw).sum().backward()
    assert raw.grad.min() > 0.01
    assert torch.autograd.gradcheck(decode, raw)


@pytest.mark.parametrize(
    "bad",
    [
        {"roughness_min": 0.5, "roughness_max": 0.5},
        {"roughness_min": -0.1},
        {"initial_roughness": 0.03},
        {"initial_metallic": 0.0},
        {"normal_max": -1.0},
    ],
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(UserError, match="expected"):
        ChannelSettings(**bad)
