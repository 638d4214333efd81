"""Patterns of a tenant's own: order ids, loyalty numbers.

RE2 takes time that grows with the text alone. A backtracking engine would let one operator's
`(a+)+b` stop every tenant's gateway. RE2 has no backreferences and no look-around, and refuses
what would take too much memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any

import re2
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from isolation.masking.findings import Finding

_MEMORY = 1 << 20  # of one compiled pattern
_TOO_WIDE = ("", "a", "the", "Where is my parcel?", "12", "2026")


@lru_cache(maxsize=2_048)
def _compiled(expression: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # else a refused pattern is written to standard error
    options.max_mem = _MEMORY
    return re2.compile(expression, options=options)


def _safe(expression: str) -> str:
    """The expression, if RE2 takes it and it does not match what everybody writes.

    Raises:
        ValueError: it does not; the message holds nothing of it.
    """
    try:
        pattern = _compiled(expression)
    except re2.error:
        raise ValueError(
            "is no pattern that RE2 takes: it has no look-around and no backreferences"
        ) from None
    if any(pattern.fullmatch(text) for text in _TOO_WIDE) or pattern.search("\n \n"):
        raise ValueError("matches ordinary words or empty text; make it narrower")
    return expression


class OwnPattern(BaseModel):
    """What `expression` matches is personal data of the kind `name`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern="^[A-Z][A-Z_]{2,30}[A-Z]$")]
    expression: Annotated[
        str, StringConstraints(min_length=3, max_length=300), AfterValidator(_safe)
    ]


def find_own(patterns: Sequence[OwnPattern], text: str) -> Iterator[Finding]:
    """What the patterns match, as findings that win over others of the same length."""
    for pattern in patterns:
        for match in _compiled(pattern.expression).finditer(text):
            if match.end() > match.start():
                yield Finding(match.start(), match.end(), pattern.name, 1.1)
