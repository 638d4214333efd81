"""Passages that say the same nearly word for word, in whatever document: one of them is enough."""

from __future__ import annotations

from collections.abc import Sequence

from rag.documents import Passage
from rag.retrieval.words import words

_SHINGLE = 3
# Jaccard similarity of two passages' shingles, headings included: equal rules of two products are
# two facts.
_SAME = 0.9

Shingles = frozenset[tuple[str, ...]]


def without_duplicates(passages: Sequence[Passage]) -> list[Passage]:
    """The passages in their order, without those that nearly repeat an earlier one.

    Two that differ in a number never repeat each other: prices and codes are facts, and in a long
    passage they are few of the words.
    """
    kept: list[tuple[Passage, Shingles, frozenset[str]]] = []
    for passage in passages:
        all_words = words(passage.text)
        shingles, numbers = _shingles(all_words), _numbers(all_words)
        if not any(
            numbers == others and _jaccard(shingles, shingled) >= _SAME
            for _, shingled, others in kept
        ):
            kept.append((passage, shingles, numbers))
    return [passage for passage, _, _ in kept]


def _shingles(all_words: list[str]) -> Shingles:
    begins = range(max(1, len(all_words) - _SHINGLE + 1))
    return frozenset(tuple(all_words[begin : begin + _SHINGLE]) for begin in begins)


def _numbers(all_words: list[str]) -> frozenset[str]:
    return frozenset(word for word in all_words if any(map(str.isdigit, word)))


def _jaccard(a: Shingles, b: Shingles) -> float:
    return len(a & b) / len(a | b)
