"""What an artist wrote into the fields of a form, checked. A form is a mapping from label to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from usd_tools.errors import UserError


def positive_integer(fields: Mapping[str, str], label: str) -> int:
    """The field's number.

    Raises:
        UserError: it is no whole number above 0.
    """
    text = fields[label]
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise UserError(f"{label} {text}: expected a whole number above 0")
    return int(text)


def one_of(fields: Mapping[str, str], label: str, choices: Sequence[str]) -> str:
    """The field's text.

    Raises:
        UserError: it is none of `choices`.
    """
    if fields[label] not in choices:
        raise UserError(f"{label} {fields[label]}: expected {', '.join(choices)}")
    return fields[label]
