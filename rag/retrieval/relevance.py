"""Whether anything that was found speaks of the question: a number that compares across questions.

A fused score only ranks the hits of one question, since BM25 grows with the corpus. The cosine is
of the same scale for every question; the share of the question's words that the passage holds
catches what a cosine takes for near, another product or another code.
"""

from __future__ import annotations

from collections.abc import Sequence

from rag.documents import Passage
from rag.retrieval.follow_up import Question
from rag.retrieval.words import stems

_COSINE = 0.9


def relevance(question: Question, passages: Sequence[Passage]) -> float:
    """Of the passage that speaks most of the question, from 0 (or less) to 1; 0 of none."""
    asked = stems(question.text) or stems(question.whole)
    return max((_relevance(asked, passage) for passage in passages), default=0.0)


def _relevance(asked: frozenset[str], passage: Passage) -> float:
    share = len(asked & stems(passage.text)) / len(asked) if asked else 0.0
    return _COSINE * passage.similarity + (1 - _COSINE) * share
