"""The reranker's port. None is built in: no cross-encoder is to be had as a package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from isolation.context import TenantContext
from isolation.errors import CrossTenantError
from rag.documents import Passage


class Reranker(Protocol):
    """Orders a tenant's passages by a question. It holds nothing of a tenant between two calls."""

    async def rerank(
        self, ctx: TenantContext, question: str, passages: Sequence[Passage]
    ) -> list[Passage]:
        """The same passages, or some of them, best first."""


async def reranked(
    reranker: Reranker, ctx: TenantContext, question: str, passages: Sequence[Passage]
) -> list[Passage]:
    """What the reranker makes of the passages.

    Raises:
        CrossTenantError: it gave back a passage that it was not given.
    """
    ordered = await reranker.rerank(ctx, question, passages)
    if not set(ordered) <= set(passages):
        raise CrossTenantError("the reranker")
    return ordered
