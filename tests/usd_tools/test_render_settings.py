"""What RenderSettings and RenderProducts say of pictures."""

import logging

import pytest
from pxr import Gf, Usd, UsdGeom, UsdRender

from usd_tools.errors import UserError
from usd_tools.render_settings import PictureFormat, picture_format


def stage_with_settings():
    stage = Usd.Stage.CreateInMemory()
    for path in ("/a", "/b"):
        UsdGeom.Camera.Define(stage, path)
    settings = UsdRender.Settings.Define(stage, "/Render/settings")
    settings.CreateCameraRel().AddTarget("/b")
    product = UsdRender.Product.Define(stage, "/Render/product")
    settings.CreateProductsRel().AddTarget(product.GetPath())
    product.CreateCameraRel().AddTarget("/a")
    return stage, settings, product


def test_without_settings_nothing_is_told():
    assert picture_format(Usd.Stage.CreateInMemory(), "/a", 1) == PictureFormat()


def test_schema_fallbacks_are_no_opinions():
    """UsdRenderSettings falls back to 2048 x 1080, which nobody asked for."""
    stage, _, _ = stage_with_settings()
    assert picture_format(stage, "/a", 1) == PictureFormat(path="/Render/settings")


def test_product_wins_over_settings():
    stage, settings, product = stage_with_settings()
    settings.CreateResolutionAttr(Gf.Vec2i(64, 32))
    settings.CreatePixelAspectRatioAttr(2.0)
    product.CreateResolutionAttr(Gf.Vec2i(20, 10))
    product.CreateAspectRatioConformPolicyAttr("cropAperture")
    assert picture_format(stage, "/a", 1) == PictureFormat((20, 10), 2.0, "cropAperture", "/Render/product")
    assert picture_format(stage, "/b", 1) == PictureFormat(
        (64, 32), 2.0, "expandAperture", "/Render/settings"
    )


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_pixels_are_refused(value):
    stage, settings, _ = stage_with_settings()
    settings.CreatePixelAspectRatioAttr(value)
    with pytest.raises(UserError, match="/Render/settings: pixelAspectRatio"):
        picture_format(stage, "/a", 1)


def test_unknown_policy_is_refused():
    stage, _, product = stage_with_settings()
    product.CreateAspectRatioConformPolicyAttr("stretch")
    with pytest.raises(UserError, match="/Render/product: aspectRatioConformPolicy stretch"):
        picture_format(stage, "/a", 1)


def test_data_window_is_told(caplog):
    stage, settings, _ = stage_with_settings()
    settings.CreateDataWindowNDCAttr(Gf.Vec4f(0, 0, 1, 1))
    with caplog.at_level(logging.WARNING):
        picture_format(stage, "/a", 1)
        assert not caplog.records
        settings.GetDataWindowNDCAttr().Set(Gf.Vec4f(-0.1, 0, 1.1, 1))
        picture_format(stage, "/a", 1)
    assert "/Render/settings: dataWindowNDC" in caplog.text
