"""The color space that Karma renders in, by Houdini's OpenColorIO configuration."""

from __future__ import annotations

from collections.abc import Mapping

from usd_tools.errors import UserError


def render_color_space(environment: Mapping[str, str]) -> str:
    """`acescg` or `lin_rec709`: how usd_to_llff names what the role scene_linear stands for.

    Houdini sets $OCIO itself since version 20, to a configuration whose scene_linear is ACEScg; without $OCIO
    it renders in linear Rec.709.
    """
    if not environment.get("OCIO"):
        return "lin_rec709"
    name = _scene_linear()
    return "acescg" if name is None else known_color_space(name)


def known_color_space(name: str) -> str:
    """The converter's name of an OpenColorIO color space.

    Raises:
        UserError: the converter does not know this one.
    """
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    if "acescg" in plain or "linap1" in plain:
        return "acescg"
    if "lin" in plain and ("709" in plain or "srgb" in plain):  # of the same primaries
        return "lin_rec709"
    raise UserError(
        f"Houdini renders in {name} (scene_linear of $OCIO), which cannot be converted; expected ACEScg or "
        "linear Rec.709"
    )


def _scene_linear() -> str | None:
    """What scene_linear is in the current configuration; None without OpenColorIO's Python module."""
    try:
        import PyOpenColorIO
    except ImportError:
        return None
    space = PyOpenColorIO.GetCurrentConfig().getColorSpace("scene_linear")
    return None if space is None else str(space.getName())
