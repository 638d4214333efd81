"""A question in, the tenant's passages out.

search -> near-duplicates out -> reranked, if there is a reranker -> neighbours joined.
"""

from __future__ import annotations

import math

from isolation.context import TenantContext
from isolation.errors import InvalidRequestError
from rag.documents import Passage
from rag.embedding.port import Embedder
from rag.embedding.turns import InTurn
from rag.filters import Where
from rag.retrieval.duplicates import without_duplicates
from rag.retrieval.follow_up import Question
from rag.retrieval.joining import around, extend, runs_of
from rag.retrieval.reranker import Reranker, reranked
from rag.store.port import HybridQuery, TenantCollection, VectorStore

# More than is asked for: duplicates go, and neighbours become one.
_SPARE = 8


class Retriever:
    """Search over all tenants' knowledge. Bind it first."""

    def __init__(
        self, store: VectorStore, embedder: Embedder, reranker: Reranker | None = None
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._reranker = reranker

    def of(self, ctx: TenantContext) -> TenantRetriever:
        """The search as this tenant sees it."""
        embedder = InTurn(ctx, self._embedder)
        return TenantRetriever(ctx, self._store.of(ctx), embedder, self._reranker)


class TenantRetriever:
    """Search over one tenant's knowledge."""

    def __init__(
        self,
        ctx: TenantContext,
        collection: TenantCollection,
        embedder: Embedder,
        reranker: Reranker | None,
    ) -> None:
        self._ctx = ctx
        self._collection = collection
        self._embedder = embedder
        self._reranker = reranker

    async def search(
        self, question: Question, *, limit: int, where: Where | None = None
    ) -> list[Passage]:
        """The best passages for a question, best first, with their similarity to it.

        where: of the documents whose metadata it holds for.

        Raises:
            InvalidRequestError: the question is blank.
        """
        if not question.text.strip():
            raise InvalidRequestError("The question is empty.", param="query")
        found = without_duplicates(await self._candidates(question, limit + _SPARE, where))
        if self._reranker is not None:
            found = await reranked(self._reranker, self._ctx, question.whole, found)
        return await self._joined(found, limit)

    async def query(self, question: Question) -> HybridQuery:
        """The question as the store takes it. One that is not alone lies between what it says and
        what it says in its context: the context alone would be searched for as well.
        """
        if not question.context:
            (alone,) = await self._embedder.embed([question.text])
            return HybridQuery(question.text, alone)
        alone, whole = await self._embedder.embed([question.text, question.whole])
        both = [a + b for a, b in zip(alone, whole, strict=True)]
        length = math.hypot(*both)
        return HybridQuery(question.whole, [number / length for number in both])

    async def _candidates(
        self, question: Question, limit: int, where: Where | None
    ) -> list[Passage]:
        query = await self.query(question)
        found = await self._collection.search(query, limit=limit, where=where, compare=True)
        return sorted(found, key=_rank)

    async def _joined(self, found: list[Passage], limit: int) -> list[Passage]:
        count = self._embedder.count_tokens
        runs = runs_of(self._ctx, found, limit, count)
        extend(self._ctx, runs, await self._collection.read(around(runs)), count)
        # Two copies may have been made whole from different halves.
        return without_duplicates([run.passage() for run in runs])


def _rank(passage: Passage) -> tuple[float, str, int]:
    """Engines break ties by chance; of two copies, one is to give all passages."""
    return -round(passage.score, 6), passage.document_id, passage.ordinal
