"""Renders in all the forms in which they come, read as linear Rec.709 with associated alpha."""

import logging
import re

import numpy as np
import OpenEXR
import pytest

from usd_tools.color import ACESCG_TO_REC709, linear_to_srgb, srgb_to_linear
from usd_tools.color_identification import guess_color_space, identify_color_space
from usd_tools.errors import UserError
from usd_tools.images import write_exr, write_png
from usd_tools.pixel_job import _color_space
from usd_tools.render_pixels import RenderReading, display_color, read_render

HEIGHT, WIDTH = 6, 8
LINEAR = RenderReading("lin_rec709")


def scene_color():
    """Straight color, and a mask that is 0 outside, 1 inside and 0.5 on one column."""
    color = np.random.default_rng(3).uniform(0.1, 0.9, (HEIGHT, WIDTH, 3)).astype(np.float32)
    mask = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    mask[1:-1, 2:6] = 1
    mask[1:-1, 2] = 0.5
    return color, mask


def write_channels(path, channels, **header):
    planes = {name: np.ascontiguousarray(plane) for name, plane in channels.items()}
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, **header}, planes) as file:
        file.write(str(path))


def rgba_channels(prefix="", kind=np.float32):
    color, mask = scene_color()
    rgba = np.concatenate([color * mask, mask], axis=2).astype(kind)
    return {
        f"{prefix}{name}": np.ascontiguousarray(rgba[..., i]) for i, name in enumerate("RGBA")
    }, rgba.astype(np.float32)


@pytest.mark.parametrize(
    "prefix", ["", "C.", "beauty.", "RGBA.", "rgba.", "Beauty.", "ViewLayer.Combined.", "Ci."]
)
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_layers_and_pixel_types(tmp_path, prefix, kind):
    channels, expected = rgba_channels(prefix, kind)
    channels |= {f"albedo.{name}": np.full((HEIGHT, WIDTH), 7, kind) for name in "RGB"}
    write_channels(tmp_path / "a.exr", channels)
    np.testing.assert_array_equal(read_render(tmp_path / "a.exr", LINEAR).pixels, expected)


def test_integer_and_lower_case_channels(tmp_path):
    _, mask = scene_color()
    plane = np.ascontiguousarray(mask[..., 0] > 0).astype(np.uint32)
    write_channels(tmp_path / "a.exr", {name: plane for name in ("red", "green", "blue", "alpha")})
    expected = np.repeat((mask > 0).astype(np.float32), 4, axis=2)
    np.testing.assert_array_equal(read_render(tmp_path / "a.exr", LINEAR).pixels, expected)


def test_tiled(tmp_path):
    channels, expected = rgba_channels()
    write_channels(tmp_path / "a.exr", channels, type=OpenEXR.tiledimage, tiles=OpenEXR.TileDescription())
    np.testing.assert_array_equal(read_render(tmp_path / "a.exr", LINEAR).pixels, expected)


@pytest.mark.parametrize("first", ["C", "albedo"])
def test_parts_with_auxiliary_pictures(tmp_path, first):
    channels, expected = rgba_channels()
    inside = expected[..., 3:] > 0
    random = np.random.default_rng(5)
    albedo, normal = (random.random((HEIGHT, WIDTH, 3)).astype(np.float32) for _ in range(2))
    depth = random.random((HEIGHT, WIDTH, 1)).astype(np.float32)
    depth[0, 0] = np.inf  # what many renderers write where nothing is
    parts = {
        "C": channels,
        "albedo": {name: np.ascontiguousarray(albedo[..., i]) for i, name in enumerate("RGB")},
        "N": {name: np.ascontiguousarray(normal[..., i]) for i, name in enumerate("XYZ")},
        "depth": {"Z": np.ascontiguousarray(depth[..., 0])},
    }
    order = [first, *(name for name in parts if name != first)]
    with OpenEXR.File([OpenEXR.Part({"name": name}, parts[name]) for name in order]) as file:
        file.write(str(tmp_path / "a.exr"))
    render = read_render(tmp_path / "a.exr", RenderReading("acescg"))
    np.testing.assert_allclose(
        render.pixels[..., :3], np.maximum(expected[..., :3] @ ACESCG_TO_REC709.T, 0), atol=1e-6
    )
    assert list(render.aovs) == ["albedo", "normal", "depth"]
    np.testing.assert_allclose(
        render.aovs["albedo"], albedo @ ACESCG_TO_REC709.T.astype(np.float32) * inside, atol=1e-5
    )
    np.testing.assert_array_equal(render.aovs["normal"], normal * inside)
    np.testing.assert_array_equal(render.aovs["depth"], np.where(inside, depth, 0))


def test_auxiliary_pictures_are_averaged_over_the_object_only(tmp_path):
    channels, _ = rgba_channels()
    write_channels(tmp_path / "a.exr", channels | {"Z": np.full((HEIGHT, WIDTH), 5, np.float32)})
    depth = read_render(tmp_path / "a.exr", RenderReading("lin_rec709", (4, 3))).aovs["depth"]
    assert set(np.unique(depth)) == {0, 5}


def test_data_window_larger_than_display_window(tmp_path):
    channels, expected = rgba_channels()
    window = (np.array([1, 1], np.int32), np.array([4, 4], np.int32))
    write_channels(tmp_path / "a.exr", channels, displayWindow=window)
    np.testing.assert_array_equal(read_render(tmp_path / "a.exr", LINEAR).pixels, expected[1:5, 1:5])


def test_absurd_display_window(tmp_path):
    channels, _ = rgba_channels()
    window = (np.array([0, 0], np.int32), np.array([999_999, 999_999], np.int32))
    write_channels(tmp_path / "a.exr", channels, displayWindow=window)
    with pytest.raises(UserError, match=r"a\.exr.*displayWindow is 1000000x1000000"):
        read_render(tmp_path / "a.exr", LINEAR)


def test_straight_and_associated_alpha(tmp_path):
    """The same picture in four ways of storing it; and the fifth, that is told to be suspicious."""
    color, mask = scene_color()
    expected = np.concatenate([color * mask, mask], axis=2)
    straight = np.concatenate([color, mask], axis=2)
    write_exr(tmp_path / "associated.exr", expected, half=False)
    write_exr(tmp_path / "straight.exr", straight, half=False)
    for name, alpha in (("associated", "auto"), ("associated", "associated"), ("straight", "straight")):
        render = read_render(tmp_path / f"{name}.exr", RenderReading("lin_rec709", alpha=alpha))
        np.testing.assert_allclose(render.pixels, expected, atol=1e-6)
        assert not render.looks_straight
    assert read_render(tmp_path / "straight.exr", LINEAR).looks_straight
    coded = np.concatenate([linear_to_srgb(color), mask], axis=2)
    coded_after = np.concatenate([linear_to_srgb(color * mask), mask], axis=2)
    write_png(tmp_path / "straight.png", coded)
    write_png(tmp_path / "associated.png", coded_after)
    for name, alpha in (("straight", "auto"), ("straight", "straight"), ("associated", "associated")):
        render = read_render(tmp_path / f"{name}.png", RenderReading("srgb", alpha=alpha))
        np.testing.assert_allclose(render.pixels, expected, atol=6e-3)
        np.testing.assert_allclose(display_color(render.pixels)[2:4, 3:6], coded[2:4, 3:6, :3], atol=6e-3)


@pytest.mark.parametrize("suffix", [".exr", ".png"])
@pytest.mark.parametrize("alpha", ["none", "opaque", "of the picture"])
def test_mask_instead_of_alpha(tmp_path, suffix, alpha):
    color, mask = scene_color()
    stored = color if suffix == ".exr" else linear_to_srgb(color)
    if alpha != "none":
        own = np.ones_like(mask) if alpha == "opaque" else np.full_like(mask, 0.25)
        stored = np.concatenate([stored * (own if suffix == ".exr" else 1), own], axis=2)
    (write_exr if suffix == ".exr" else write_png)(tmp_path / f"a{suffix}", stored)
    write_png(tmp_path / "mask.png", mask)
    space = "lin_rec709" if suffix == ".exr" else "srgb"
    render = read_render(tmp_path / f"a{suffix}", RenderReading(space), tmp_path / "mask.png")
    np.testing.assert_allclose(render.pixels[..., 3:], mask, atol=0.5 / 255 + 1e-6)
    inside = mask[..., 0] > 0
    np.testing.assert_allclose(display_color(render.pixels)[inside], linear_to_srgb(color)[inside], atol=6e-3)


def test_masks_are_checked(tmp_path):
    color, mask = scene_color()
    write_png(tmp_path / "a.png", color)
    write_png(tmp_path / "small.png", mask[1:])
    write_png(tmp_path / "empty.png", mask * 0)
    write_png(tmp_path / "full.png", np.ones_like(mask))
    with pytest.raises(UserError, match=r"a\.png: has no alpha.*--masks"):
        read_render(tmp_path / "a.png", RenderReading("srgb"))
    for name, message in (("small", "8x5"), ("empty", "empty"), ("full", "opaque")):
        with pytest.raises(UserError, match=rf"{name}\.png.*{message}"):
            read_render(tmp_path / "a.png", RenderReading("srgb"), tmp_path / f"{name}.png")


AP1 = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
REC709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
REC2020 = (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)


@pytest.mark.parametrize(
    "header, expected",
    [
        ({}, "lin_rec709"),
        ({"oiio:ColorSpace": "lin_ap1"}, "acescg"),
        ({"oiio:ColorSpace": "ACEScg"}, "acescg"),
        ({"oiio:ColorSpace": "ACES - ACEScg"}, "acescg"),
        ({"oiio:ColorSpace": "lin_srgb"}, "lin_rec709"),
        ({"oiio:ColorSpace": "Linear Rec.709 (sRGB)"}, "lin_rec709"),
        ({"oiio:ColorSpace": "scene_linear"}, "lin_rec709"),
        ({"oiio:ColorSpace": "scene_linear", "chromaticities": AP1}, "acescg"),
        ({"oiio:ColorSpace": "lin_rec709", "chromaticities": AP1}, "lin_rec709"),
        ({"oiio:ColorSpace": "sRGB"}, "srgb"),
        ({"oiio:ColorSpace": "sRGB - Texture"}, "srgb"),
        ({"chromaticities": AP1}, "acescg"),
        ({"chromaticities": REC709}, "lin_rec709"),
        ({"chromaticities": REC2020}, None),
        ({"oiio:ColorSpace": "lin_ap0"}, None),
        ({"colorInteropID": "lin_ap1_scene"}, "acescg"),
    ],
)
def test_color_spaces_by_what_the_file_says(tmp_path, header, expected):
    channels, _ = rgba_channels()
    write_channels(tmp_path / "a.exr", channels, **header)
    if expected is None:
        with pytest.raises(UserError, match=r"a\.exr: .*(lin_ap0|0\.708).*expected linear Rec\.709"):
            guess_color_space(tmp_path / "a.exr")
    else:
        assert guess_color_space(tmp_path / "a.exr") == expected
    assert identify_color_space(tmp_path / "a.exr").certain == bool(set(header.values()) - {"scene_linear"})


@pytest.mark.parametrize(
    "given, level, told",
    [
        (None, logging.INFO, "read as acescg: oiio:ColorSpace is 'lin_ap1'"),
        ("acescg", logging.INFO, "read as acescg"),
        ("lin_rec709", logging.WARNING, "--colorspace lin_rec709: .*oiio:ColorSpace is 'lin_ap1'"),
    ],
)
def test_the_log_tells_the_color_space(tmp_path, caplog, given, level, told):
    channels, _ = rgba_channels()
    write_channels(tmp_path / "a.exr", channels, **{"oiio:ColorSpace": "lin_ap1"})

    class Frame:
        image = str(tmp_path / "a.exr")

    class Job:
        frames = (Frame,)
        color_space = given

    caplog.set_level(logging.INFO)
    assert _color_space(Job) == (given or "acescg")
    assert [record.levelno for record in caplog.records][-1] == level
    assert re.search(told, caplog.messages[-1])
    assert (level == logging.WARNING) == any(r.levelno == logging.WARNING for r in caplog.records)


def test_srgb_is_decoded_before_alpha(tmp_path):
    color, mask = scene_color()
    write_png(tmp_path / "a.png", np.concatenate([color, mask], axis=2))
    stored = np.round(np.concatenate([color, mask], axis=2) * 255) / 255
    render = read_render(tmp_path / "a.png", RenderReading("srgb"))
    np.testing.assert_allclose(
        render.pixels[..., :3], srgb_to_linear(stored[..., :3]) * stored[..., 3:], atol=1e-6
    )
