"""Search on the generation of now. One that has begun on the last one ends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager

from isolation.context import TenantContext, require_tenant
from rag.documents import Passage
from rag.embedding.port import Embedder
from rag.filters import Where
from rag.generation import Generation
from rag.retrieval.follow_up import Question
from rag.retrieval.retriever import Retriever


class _Serving:
    """A generation's retriever, and how many searches are on it."""

    def __init__(self, generation: Generation, retriever: Retriever) -> None:
        self.generation = generation
        self.retriever = retriever
        self._searches = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def searching(self) -> Generator[Retriever, None, None]:
        self._searches += 1
        self._idle.clear()
        try:
            yield self.retriever
        finally:
            self._searches -= 1
            if not self._searches:
                self._idle.set()

    async def idle(self) -> None:
        await self._idle.wait()


class LiveRetriever:
    """Search over all tenants' knowledge, through a switch of generations. Bind it first.

    make: the retriever of a generation; a question is embedded by the model of the vectors that
    it is compared with.
    """

    def __init__(self, generation: Generation, make: Callable[[Generation], Retriever]) -> None:
        self._make = make
        self._serving = _Serving(generation, make(generation))

    def of(self, ctx: TenantContext) -> LiveTenantRetriever:
        """The search as this tenant sees it."""
        return LiveTenantRetriever(self, require_tenant(ctx, "the search"))

    async def switch(self, generation: Generation) -> None:
        """Search on `generation` from now on; returns when nobody searches on the last one."""
        last, self._serving = self._serving, _Serving(generation, self._make(generation))
        await last.idle()

    def searching(self) -> AbstractContextManager[Retriever]:
        """Around one search."""
        return self._serving.searching()

    @property
    def embedder(self) -> LiveEmbedder:
        """The embedder of now, whichever that is."""
        return LiveEmbedder(self)

    @property
    def generation(self) -> Generation:
        """The generation of now."""
        return self._serving.generation


class LiveTenantRetriever:
    """Search over one tenant's knowledge."""

    def __init__(self, shared: LiveRetriever, ctx: TenantContext) -> None:
        self._shared = shared
        self._ctx = ctx

    async def search(
        self, question: Question, *, limit: int, where: Where | None = None
    ) -> list[Passage]:
        """As `rag.retrieval.retriever.TenantRetriever.search`."""
        with self._shared.searching() as retriever:
            return await retriever.of(self._ctx).search(question, limit=limit, where=where)


class LiveEmbedder:
    """The embedder of the generation of now."""

    def __init__(self, live: LiveRetriever) -> None:
        self._live = live

    @property
    def behind(self) -> Embedder:
        """The model itself, whose line is the same for all who ask it."""
        return self._live.generation.embedder

    @property
    def name(self) -> str:
        """The model's name."""
        return self._live.generation.embedder.name

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self._live.generation.embedder.dimension

    @property
    def checksum(self) -> str:
        """Of the model's files."""
        return self._live.generation.embedder.checksum

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit-length vectors."""
        return await self._live.generation.embedder.embed(texts)

    def count_tokens(self, text: str) -> int:
        """Tokens of the text."""
        return self._live.generation.embedder.count_tokens(text)

    def close(self) -> None:
        """Whoever switches closes."""
