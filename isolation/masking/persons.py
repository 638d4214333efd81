"""Whether what the model took for a person is one: it takes brands and products for persons too."""

from __future__ import annotations

import re

from isolation.masking.findings import Finding
from isolation.masking.rules.names import is_announced
from isolation.masking.rules.words import NOT_A_NAME, is_first_name

# Goods have an article before them, persons have none.
_GOODS_BEFORE = re.compile(
    r"\b(?:the|an?|your|this|that|these|any|which|each|model|size|brand)\s+$", re.IGNORECASE
)
_ARTICLES = ("the", "a", "an", "your")
_NAME = re.compile(r"[^\W\d_][\w'’.-]*(?:\s+[^\W\d_][\w'’.-]*){0,5}")


_BEFORE = re.compile(r"([^\W\d_][\w'’.-]*) $")
_MOST_WORDS = 3


def whole(text: str, found: Finding) -> Finding:
    """The finding with the names before it, which the model often leaves: "Anka" of Anka Berg."""
    start = found.start
    for _ in range(_MOST_WORDS):
        before = _BEFORE.search(text, max(0, start - 24), start)
        if before is None or not _is_name(before[1]):
            break
        start = before.start()
    return Finding(start, found.end, found.entity, found.score)


def _is_name(word: str) -> bool:
    return word[0].isupper() and word.lower().strip(".") not in NOT_A_NAME and word[-1:] != "."


def is_person(text: str, found: Finding) -> bool:
    """Whether `text[found.start:found.end]`, in its original case, can be a person's name."""
    value = text[found.start : found.end]
    words = value.split()
    if not _NAME.fullmatch(value) or any(char.isdigit() for char in value):
        return False
    if all(word.lower().strip(".,'") in NOT_A_NAME for word in words):
        return False
    if words[0].lower() in _ARTICLES:
        return False
    if _GOODS_BEFORE.search(text[max(0, found.start - 16) : found.start]):
        return False
    # A single word is as likely a brand's name, and "by Dyson" says nothing.
    return len(words) > 1 or is_first_name(words[0]) or is_announced(text, found.start)
