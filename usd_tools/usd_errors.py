"""What USD says about broken files, as errors and warnings a user can act on."""

from __future__ import annotations

import logging
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from usd_tools.errors import UserError
from usd_tools.files import is_url

log = logging.getLogger(__name__)

_MOST_WARNINGS = 5


@contextmanager
def usd_errors_told(path: str | Path) -> Iterator[None]:
    """Turns what USD raises while it reads the stage at `path`, now or with its values, to UserError."""
    from pxr import Tf

    try:
        yield
    except Tf.ErrorException as error:
        reason = usd_reason(error)
    except UnicodeDecodeError:  # Tf.ErrorException's own text, where it quotes a broken file
        reason = "it holds broken text"
    else:
        return
    raise UserError(f"{path}: cannot be read as USD ({reason}); export the stage again")


def usd_reason(error: Exception) -> str:
    """The first message of a Tf.ErrorException, without USD's source lines; a full disk brings thousands."""
    told = re.search(r" : '(.+?)'(?=\s|$)", str(error), re.DOTALL)
    return " ".join(told[1].split())[:300] if told else "USD gives no reason"


@contextmanager
def usd_silenced() -> Iterator[None]:
    """Keeps USD from printing warnings with source lines; `check_composition` tells what matters."""
    from pxr import UsdUtils

    delegate = UsdUtils.CoalescingDiagnosticDelegate()
    try:
        yield
    finally:
        delegate.TakeUncoalescedDiagnostics()  # what is left would be printed when the delegate goes


def check_composition(path: str | Path, stage: Any, composed: Container[str] = ()) -> None:
    """Warns of layers and prims that an open stage names and that are not there.

    composed: paths of prims whose errors were mended.

    Raises:
        UserError: layers or prims refer to themselves in a circle, or to a URL.
    """
    from pxr import Pcp

    cycles = (Pcp.ErrorType_ArcCycle, Pcp.ErrorType_SublayerCycle)
    missing: dict[str, None] = {}  # in order, once each
    for error in stage.GetCompositionErrors():
        told = " ".join(str(error).split())[:300]
        if error.errorType in cycles:
            raise UserError(f"{path}: refers to itself ({told}); take the circle out of its layers")
        if any(is_url(asset) for asset in re.findall("@(.+?)@", told)):
            raise UserError(f"{path}: {told} URLs are not opened; bring the file to this machine")
        if str(error.rootSite.path) not in composed:
            missing[told] = None
    for told in list(missing)[:_MOST_WARNINGS]:
        log.warning("%s: %s", path, told)
    if len(missing) > _MOST_WARNINGS:
        log.warning("%s: %d more such places", path, len(missing) - _MOST_WARNINGS)
