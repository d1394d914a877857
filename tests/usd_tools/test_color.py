"""Color conversions against published values."""

import numpy as np
import pytest

from usd_tools.color import (
    ACESCG_TO_REC709,
    D65,
    REC709_PRIMARIES,
    linear_to_srgb,
    luminance,
    rgb_to_xyz,
    srgb_to_linear,
    to_linear_rec709,
)
from usd_tools.errors import UserError


def test_srgb_curve_known_values_and_round_trip():
    np.testing.assert_allclose(srgb_to_linear([0, 0.02, 0.5, 1]), [0, 0.02 / 12.92, 0.2140411, 1], rtol=1e-6)
    x = np.linspace(-0.5, 3, 400)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(x)), x, atol=1e-12)
    assert srgb_to_linear(np.float32(0.5)).dtype == np.float32


def test_rec709_matrix_is_the_published_one():
    published = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    np.testing.assert_allclose(rgb_to_xyz(REC709_PRIMARIES, D65), published, atol=1e-4)
    assert luminance([1.0, 1.0, 1.0]) == pytest.approx(1)


def test_acescg_matrix_is_the_published_one():
    # As in OpenColorIO's and Nuke's ACEScg to linear Rec.709 (Bradford) transform.
    published = [
        [1.70505, -0.62179, -0.08326],
        [-0.13026, 1.14080, -0.01055],
        [-0.02400, -0.12897, 1.15297],
    ]
    np.testing.assert_allclose(ACESCG_TO_REC709, published, atol=2e-5)
    np.testing.assert_allclose(to_linear_rec709(np.ones(3), "acescg"), 1, atol=1e-6)


def test_to_linear_rec709():
    rgb = np.array([[0.2, 0.5, 0.8]], np.float32)
    assert to_linear_rec709(rgb, "lin_rec709") is rgb
    np.testing.assert_allclose(to_linear_rec709(rgb, "srgb"), srgb_to_linear(rgb))
    with pytest.raises(UserError, match="lin_rec709"):
        to_linear_rec709(rgb, "rec2020")
