"""How alike two answers to one question are. The number is kept, the texts are not."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"\w+")


def agreement(one: str, other: str) -> float:
    """0 to 1: the F1 of the two answers' words, as SQuAD scores answers (Rajpurkar et al., 2016,
    section 6.1), with nothing left out. Two empty answers agree."""
    words, others = (Counter(_WORD.findall(text.casefold())) for text in (one, other))
    if not words or not others:
        return float(words == others)
    return 2 * (words & others).total() / (words.total() + others.total())
