"""What a log line may hold: a name for what happened, and known fields of known shapes.

Not what it must not hold: a list of that is never complete. A text that somebody logs by mistake,
or a library's message, is dropped, because nothing lets it pass.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

# Names of things that the platform or its operator has named: kinds of errors, places in the
# code, routes as they are written there, processes, tenants.
_NAMES = frozenset(
    {
        *("at", "code", "error", "kind", "level", "process", "ref", "request", "route", "tenant"),
        *("timestamp", "trace"),
    }
)
_NAME = re.compile(r"[A-Za-z0-9_./:{}<>+-]{1,200}")
_METHOD = re.compile(r"[A-Z]{3,7}")
_EVENT = re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40})?")
DROPPED = "text_dropped"


def only_known(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of our own with the fields that may be shown; `dropped` counts the others."""
    name = event.get("event")
    known = isinstance(name, str) and _EVENT.fullmatch(name) is not None
    kept = {field: value for field, value in event.items() if _may_pass(field, value)}
    lost = len(event) - len(kept) - 1
    return {"event": name if known else DROPPED} | kept | ({"dropped": lost} if lost else {})


def of_a_library(record: logging.LogRecord) -> dict[str, Any]:
    """What is kept of another's record: who spoke, and where. Its words may quote anything."""
    return {"event": "library.message", "logger": record.name, "at": _place(record)}


def _may_pass(field: str, value: Any) -> bool:
    if field == "event":
        return False
    if value is None or isinstance(value, bool | int | float):
        return True
    if field == "method":
        return isinstance(value, str) and _METHOD.fullmatch(value) is not None
    return field in _NAMES and isinstance(value, str) and _NAME.fullmatch(value) is not None


def _place(record: logging.LogRecord) -> str:
    return f"{record.pathname}:{record.lineno}"
