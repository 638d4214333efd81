"""Adapters' names, and how a request refers to one: `support` (the newest) or `support@3`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from serving.adapters.errors import AdapterNameError

BASE = "base"
_NAME = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# ASCII digits only, no leading zero: one version has one spelling.
_REFERENCE = re.compile(rf"({_NAME})(?:@([1-9][0-9]{{0,8}}))?")
# No adapter has this name, so looking for it costs the same and finds nothing.
_NOBODYS = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """An adapter by name. `version` None: the newest that is active."""

    name: str
    version: int | None = None


NOTHING = Reference(_NOBODYS, 0)


def checked_name(text: str) -> str:
    """`text` as a new adapter's name.

    Raises:
        AdapterNameError: it is not one.
    """
    if text == BASE or not re.fullmatch(_NAME, text):
        raise AdapterNameError
    return text


def parse_reference(text: str) -> Reference:
    """What a caller named. What cannot be a name is `NOTHING`: to be looked for like any other."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return NOTHING
    return Reference(match[1], int(match[2]) if match[2] else None)
