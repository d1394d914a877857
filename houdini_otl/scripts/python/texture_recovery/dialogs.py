"""Questions and messages in Houdini's own windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import hou

from texture_recovery.wording import in_houdinis_words
from usd_tools.errors import UserError

CANCEL = "Cancel"


class CancelledError(Exception):
    """The artist closed a question without an answer; the tool ends without a word."""


@contextmanager
def telling_errors(title: str) -> Iterator[None]:
    """Shows what the artist can mend as one message; bugs keep their traceback, which Houdini shows."""
    try:
        yield
    except (CancelledError, hou.OperationInterrupted):  # the latter by Esc while Houdini was busy
        return
    except UserError as error:
        tell_error(str(error), title)
    except hou.Error as error:
        tell_error(f"Houdini refused: {error.instanceMessage() or error.description()}", title)
    except OSError as error:
        tell_error(f"{error.filename or 'the file system'}: {error.strerror or error}", title)


def tell(text: str, title: str) -> None:
    hou.ui.displayMessage(text, severity=hou.severityType.Message, title=title)


def tell_error(text: str, title: str) -> None:
    """Shows what went wrong; options of the commands are told as the fields that stand for them."""
    hou.ui.displayMessage(in_houdinis_words(text), severity=hou.severityType.Error, title=title)


def ask(text: str, answers: Sequence[str], title: str) -> str:
    """The answer that was clicked.

    Raises:
        CancelledError: Cancel was clicked, or the window closed.
    """
    buttons = (*answers, CANCEL)
    clicked = hou.ui.displayMessage(
        text, buttons=buttons, default_choice=0, close_choice=len(answers), title=title
    )
    if clicked >= len(answers):
        raise CancelledError
    return buttons[clicked]


def choose(text: str, choices: Sequence[str], title: str, default: int = 0) -> int:
    """The index of the one choice that was made.

    Raises:
        CancelledError: nothing was chosen.
    """
    return choose_several(text, choices, title, default, exclusive=True)[0]


def choose_several(
    text: str, choices: Sequence[str], title: str, default: int = 0, *, exclusive: bool = False
) -> tuple[int, ...]:
    """The indices of the choices that were made; one at least, and `exclusive` one at most.

    Raises:
        CancelledError: nothing was chosen.
    """
    chosen = hou.ui.selectFromList(
        choices, (default,), exclusive=exclusive, message=text, title=title, clear_on_cancel=True
    )
    if not chosen:
        raise CancelledError
    return tuple(chosen)


def fill_in(text: str, fields: Mapping[str, str], title: str) -> dict[str, str]:
    """What was written into the fields (label: initial content), without spaces around it.

    Raises:
        CancelledError: Cancel was clicked, or the window closed.
    """
    clicked, contents = hou.ui.readMultiInput(
        text,
        tuple(fields),
        buttons=("OK", CANCEL),
        default_choice=0,
        close_choice=1,
        title=title,
        initial_contents=tuple(fields.values()),
    )
    if clicked != 0:
        raise CancelledError
    return {label: content.strip() for label, content in zip(fields, contents)}


def choose_folder(title: str, start: str) -> Path:
    """A folder, with Houdini's variables expanded.

    Raises:
        CancelledError: none was chosen.
    """
    chosen = hou.ui.selectFile(start_directory=start or None, title=title, file_type=hou.fileType.Directory)
    if not chosen:
        raise CancelledError
    return expanded(chosen)


def expanded(path: str) -> Path:
    """`path` with $HIP and the like put in."""
    return Path(hou.text.expandString(path))
