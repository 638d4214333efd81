"""Passages within a number of tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rag.documents import Passage

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def within_budget(
    passages: Sequence[Passage], tokens: int, cost: Callable[[int, str], int]
) -> list[Passage]:
    """The best passages that fit together, in their order.

    One that does not fit is passed over, since a smaller one may. Only the first, when it is too
    long by itself, is cut after its last sentence that fits: less of the best is worth more than
    the second best alone.

    cost: the tokens of a passage's text as source number n, counted from 1.
    """
    chosen: list[Passage] = []
    for passage in passages:
        number = len(chosen) + 1
        text = passage.text.strip()
        if cost(number, text) > tokens and not chosen:
            text = _cut(text, tokens, cost)
        needed = cost(number, text)
        if text and needed <= tokens:
            chosen.append(passage._replace(text=text))
            tokens -= needed
    return chosen


def _cut(text: str, tokens: int, cost: Callable[[int, str], int]) -> str:
    """The longest beginning of whole sentences that fits; empty if the first one does not."""
    ends = [match.start() for match in _SENTENCE_END.finditer(text)]
    return next((text[:end] for end in reversed(ends) if cost(1, text[:end]) <= tokens), "")
