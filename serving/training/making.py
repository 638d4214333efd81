"""From a pair to an example: with the passages that the product's own search finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from isolation.tenant_id import TenantId
from rag.documents import Passage
from rag.prompt import fitting
from serving.training.examples import SOURCE, Example, Pair

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_[0-9]+>")


def searched(pair: Pair) -> str:
    """What to search for: a chat searches by the question as it was before masking."""
    return _PLACEHOLDER.sub("", pair.question).strip()


def example_of(
    tenant: TenantId,
    pair: Pair,
    found: Sequence[Passage],
    *,
    token_budget: int,
    count_tokens: Callable[[str], int],
) -> Example | None:
    """The example, its answer marking the passage by its number; None: the search missed it.

    found: best first, as many as a chat takes.
    """
    sources = fitting(found, token_budget=token_budget, count_tokens=count_tokens)
    answer = pair.answer
    if pair.document is not None:
        holders = [n for n, each in enumerate(sources, 1) if each.document_id == pair.document]
        if not holders:
            return None
        answer = answer.replace(SOURCE, f"[{holders[0]}]")
    passages = tuple(source.text for source in sources)
    return Example(tenant=tenant, question=pair.question, passages=passages, answer=answer)
