"""The files on this machine that a stage's asset attributes name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from usd_tools.errors import UserError
from usd_tools.files import is_url

UDIM = "<UDIM>"


def asset_file(attribute: Any, name: str, time: float, udim: bool = False) -> str:
    """The file that an asset attribute names; with `udim`, also a pattern with <UDIM> of which a tile exists.

    name: the attribute's, for messages.

    Raises:
        UserError: it names nothing, a URL, a file inside a package, a missing file, or a UDIM set where one
            picture is expected.
    """
    if names_nothing(attribute, time):
        raise UserError(f"{name}: names no file; expected a picture")
    asset: Any = attribute.Get(time)
    authored = str(asset.path)
    if is_url(authored):
        raise UserError(f"{name}: @{authored}@ is a URL; expected a file on this machine")
    if UDIM in authored:
        if not udim:
            raise UserError(f"{name}: @{authored}@ is a UDIM set; expected one picture")
        return _udim_pattern(attribute, authored, name)
    resolved = str(asset.resolvedPath)
    if not resolved:
        raise UserError(f"{name}: @{authored}@ is missing; restore the file or mend the path")
    if not Path(resolved).is_file():
        raise UserError(f"{name}: @{authored}@ is no file of its own (inside a package?); unpack it first")
    return resolved


def names_nothing(attribute: Any, time: float) -> bool:
    """Whether an attribute (or None) holds no asset, or an empty one; damaged files hold anything."""
    from pxr import Sdf

    asset = attribute.Get(time) if attribute is not None else None
    return not isinstance(asset, Sdf.AssetPath) or not asset.path


def _udim_pattern(attribute: Any, authored: str, name: str) -> str:
    """The absolute pattern, relative to the layer that names it."""
    from pxr import UsdShade

    for spec in attribute.GetPropertyStack():
        pattern = str(UsdShade.UdimUtils.ResolveUdimPath(authored, spec.layer))
        if pattern:
            return pattern
    raise UserError(f"{name}: @{authored}@ has no tile (1001, ...); restore the files or mend the path")
