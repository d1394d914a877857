"""Showing the comparison's page in the web browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from texture_recovery.pipeline_commands import JobFolder
from usd_tools.errors import UserError


def report_page(folder: JobFolder) -> Path:
    """The page that compare_textures wrote.

    Raises:
        UserError: it is not there yet.
    """
    page = folder.report / "index.html"
    if not page.is_file():
        raise UserError(f"{page}: there is no report yet; click Compare Textures first")
    return page


def open_report(folder: JobFolder) -> Path:
    """Opens the page in the browser and returns its path.

    Raises:
        UserError: there is no report, or no browser.
    """
    page = report_page(folder)
    if not webbrowser.open(page.absolute().as_uri()):
        raise UserError(f"no web browser could be started; open {page} by hand")
    return page
