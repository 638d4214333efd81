"""Whether an answer declines: a version that has forgotten how to answer says so, politely."""

from __future__ import annotations

import re

_LOOKED_AT = 200  # characters: who declines says so at once
_DECLINES = re.compile(
    r"\b(?:do(?:es)? not|don['’]t) (?:know|have (?:that|this|the|any) information)\b"
    r"|\b(?:can ?not|can['’]t|(?:am|['’]m) (?:unable|not able) to) (?:help|answer|assist)\b"
    r"|\bno (?:such )?information (?:about|on|in)\b",
    re.IGNORECASE,
)


def declines(answer: str) -> bool:
    """Whether an answer is empty or declines, in English or in no words at all."""
    return not answer.strip() or _DECLINES.search(answer[:_LOOKED_AT]) is not None
