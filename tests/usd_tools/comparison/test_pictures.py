"""Baked pictures and heat maps: the right value at the right texel, in the right color."""

from dataclasses import replace

import numpy as np
import pytest

from tests.usd_tools.comparison.scenes import asset, maps, orbit, quad, smooth_maps, sphere, without_faces
from usd_tools.color import linear_to_srgb
from usd_tools.comparison.bake import HEAT_RANGES, Place, bake, write_pictures
from usd_tools.comparison.heat_map import UNMATCHED, UNSEEN, heat_color, with_color_bar
from usd_tools.comparison.pixels import uv_layout, view_from
from usd_tools.images import read_png


def texture_place(truth, resolution):
    pixels = uv_layout(truth, resolution)
    return Place("texture", pixels, np.ones(len(pixels.points), bool), True)


def heat_values(colors):
    """The values in 0..1 whose heat colors are nearest to `colors` (..., 3)."""
    table = np.linspace(0, 1, 1001)
    return table[np.linalg.norm(colors[..., None, :] - heat_color(table), axis=-1).argmin(axis=-1)]


def test_heat_colors_grow_brighter():
    colors = heat_color(np.linspace(0, 1, 100))
    assert (np.diff(colors @ [0.2126, 0.7152, 0.0722]) > 0).all()
    np.testing.assert_array_equal(heat_color(np.array([-1.0, 2.0])), heat_color(np.array([0.0, 1.0])))


def test_baked_texture_is_the_true_map_and_the_error_is_where_it_is():
    channels = smooth_maps(64)
    truth = asset(quad(), channels)
    wrong = channels["roughness"].copy()
    wrong[10, 20] += 0.2
    pictures = bake(
        asset(quad(), {**channels, "roughness": wrong}), truth, texture_place(truth, 64), np.ones(3)
    )
    np.testing.assert_allclose(pictures["albedo"].true, linear_to_srgb(channels["albedo"]), atol=1e-5)
    np.testing.assert_allclose(pictures["normal"].true, 0.5 + 0.5 * channels["normal"], atol=1e-5)
    np.testing.assert_allclose(pictures["normal"].recovered, pictures["normal"].true, atol=1e-4)
    error = pictures["roughness"].error
    assert np.unravel_index(error.argmax(), error.shape) == (10, 20)
    assert error.max() == pytest.approx(0.2, abs=1e-4)
    assert (error > 0.01).sum() == 1
    assert pictures["metallic"].error.max() < 1e-4
    assert pictures["roughness"].counted.all()


def test_written_heat_map_shows_the_largest_error(tmp_path):
    channels = maps(32)
    truth = asset(quad(), channels)
    wrong = channels["roughness"].copy()
    wrong[4:8, 4:8] += 0.3
    pictures = bake(
        asset(quad(), {**channels, "roughness": wrong}), truth, texture_place(truth, 32), np.ones(3)
    )
    write_pictures(tmp_path, "texture", "run", pictures)
    heat = read_png(tmp_path / "roughness_texture_run_error.png")
    assert heat.shape[1] == 32
    assert heat.shape[0] > 32, "a color bar stands under the map"
    values = heat_values(heat[:32, :, :3]) * HEAT_RANGES["roughness"][0]
    assert values.max() == pytest.approx(0.3, abs=0.005)
    np.testing.assert_array_equal(values > 0.15, (wrong - channels["roughness"])[..., 0] > 0.15)
    recovered = read_png(tmp_path / "roughness_texture_run_recovered.png")
    np.testing.assert_allclose(recovered, np.repeat(wrong, 3, axis=-1), atol=0.6 / 255)
    assert (tmp_path / "roughness_texture_true.png").is_file()


def test_color_bar_runs_from_zero_to_the_maximum():
    picture = with_color_bar(np.zeros((320, 320, 3)), 0.5, "")
    row = picture[320 + 8 + 2]
    values = heat_values(row[20:300])
    assert values[0] < 0.02
    assert values[-1] > 0.98
    assert (np.diff(values) >= 0).all()


def test_holes_and_unseen_parts_are_marked_and_not_counted():
    mesh = sphere()
    truth = asset(mesh, maps())
    hole = mesh.vertices[mesh.faces].mean(axis=1)[:, 1] > 0.6
    place = texture_place(truth, 64)
    top = truth.surface.positions(place.pixels.points)[:, 1]
    place = replace(place, seen=top > -0.6)
    picture = bake(asset(without_faces(mesh, hole), maps()), truth, place, np.ones(3))["roughness"]
    assert (picture.heat[2, 32] == UNMATCHED).all()
    assert (picture.recovered[2, 32] == UNMATCHED).all()
    assert (picture.heat[-3, 32] == UNSEEN).all()
    assert not picture.counted[2, 32]
    assert not picture.counted[-3, 32]
    assert picture.counted[32, 32]


@pytest.mark.parametrize("position", [orbit(3)[1, :3, 3], np.array([0, 5.0, 0]), np.array([0.1, 0, 0])])
def test_view_shows_the_whole_object_from_outside(position):
    truth = asset(sphere(), maps())
    pixels = view_from(truth, position, 64)
    share = pixels.covered.mean()
    assert share == pytest.approx(np.pi / 4 / 1.04**2, abs=0.02)  # a disk in a frame with 4 % of air
    assert not pixels.covered[0, 0]
    towards = truth.surface.normals[pixels.points.face] @ (position / np.linalg.norm(position))
    assert (towards > 0).all()


def test_view_is_upright_and_not_mirrored():
    truth = asset(quad(), maps())
    pixels = view_from(truth, np.array([0, 0, 5.0]), 64)
    place = pixels.image(truth.surface.positions(pixels.points))
    assert place[20, 32, 1] > place[44, 32, 1]
    assert place[32, 44, 0] > place[32, 20, 0]
