"""A knowledge base of two tenants whose vectors are made anew, on each engine."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from evals.performance.hashed_embedder import HashedEmbedder
from isolation.context import TenantContext
from isolation.sealing import TenantCipher
from isolation.tenant_id import TenantId
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Document
from rag.generation import Generation
from rag.ingest import Ingestor
from rag.live import LiveRetriever
from rag.reembed import Reembedding
from rag.retrieval.follow_up import Question
from rag.retrieval.retriever import Retriever
from rag.store.edge.generations import EdgeGenerations
from rag.store.generations import Generations, MadeWith
from rag.store.port import VectorStore
from rag.store.sealed import SealedVectorStore
from rag.store.server.connection import ServerAddress
from rag.store.server.generations import ServerGenerations
from rag.store.server.placement import Placement
from tests.rag.catalog_in_memory import InMemoryCatalog
from tests.rag.loopback.server import loopback

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
BOTH = FJELLVIK, VOLTBAY
OLD, NEW = MadeWith("old", 4, "old-4"), MadeWith("new", 8, "new-8")
REAL_URL = os.environ.get("BULKHEAD_TEST_QDRANT_URL")
Make = Callable[[], Generations]


class Keys:
    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        return TenantCipher(ctx.tenant_id, b"k" * 32)


class SlowEmbedder(HashedEmbedder):
    """Gives others their turn, as a real one does."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        await asyncio.sleep(0.002)
        return await super().embed(texts)


def made_with(embedder: HashedEmbedder) -> MadeWith:
    return MadeWith(embedder.name, embedder.dimension, embedder.checksum)


@dataclass
class Knowledge:
    make: Make
    generations: Generations
    engine: VectorStore
    catalog: InMemoryCatalog
    ingestor: Ingestor
    live: LiveRetriever
    gone: set[TenantId]

    async def texts(self, ctx: TenantContext) -> set[str]:
        found = await self.live.of(ctx).search(Question("returns within days"), limit=50)
        return {passage.text.splitlines()[-1] for passage in found}

    async def tenants(self) -> list[TenantId]:
        return [ctx.tenant_id for ctx in BOTH]

    async def there(self, tenant: TenantId) -> bool:
        return tenant not in self.gone

    async def delete(self, ctx: TenantContext) -> None:
        """As at another gateway, which does not know what is being filled here."""
        self.gone.add(ctx.tenant_id)
        await self.engine.purge(OPERATOR, ctx.tenant_id)
        await self.catalog.purge(OPERATOR, ctx.tenant_id)
        await self.generations.purge(OPERATOR, ctx.tenant_id)

    async def reembed(self, embedder: HashedEmbedder, *, copy: bool = False) -> None:
        engine = await self.generations.fill(OPERATOR, made_with(embedder), resume=not copy)
        target = Generation(SealedVectorStore(engine, Keys()), embedder)

        async def switch() -> None:
            await self.generations.switch(OPERATOR)
            self.engine, self.ingestor.generation = engine, target
            await self.live.switch(target)

        filling = Reembedding(
            self.ingestor,
            self.catalog,
            target,
            tenants=self.tenants,
            there=self.there,
            bind=tenant_for_tests,
            hold=self.ingestor.switching,
            copy=copy,
        )
        last = self.ingestor.generation
        try:
            await filling.run(OPERATOR, switch)
        except BaseException:
            await target.store.close()
            raise
        await last.store.close()
        await self.generations.drop_others(OPERATOR)


@asynccontextmanager
async def _edge(folder: Path) -> AsyncGenerator[Make, None]:
    yield lambda: EdgeGenerations(folder / "vectors")


@asynccontextmanager
async def _loopback(placement: Placement) -> AsyncGenerator[Make, None]:
    async with loopback() as server:
        yield lambda: ServerGenerations(ServerAddress(server.url), placement=placement)


@asynccontextmanager
async def _real() -> AsyncGenerator[Make, None]:
    name = f"test-{uuid.uuid4().hex}"
    address = ServerAddress(str(REAL_URL), os.environ.get("BULKHEAD_TEST_QDRANT_API_KEY"))
    generations = ServerGenerations(address, name)
    yield lambda: ServerGenerations(address, name)
    await generations.drop_others(OPERATOR)
    async with generations._connected() as connection:
        await connection.client.delete_collection(await generations._current(connection))


def on_engine(name: str, folder: Path) -> AbstractAsyncContextManager[Make]:
    """How another gateway, or a next start, opens the same generations."""
    engines = {
        "edge": lambda: _edge(folder),
        "loopback": lambda: _loopback("shared"),
        "tiered": lambda: _loopback("tiered"),
        "real": _real,
    }
    return engines[name]()


@asynccontextmanager
async def opened(make: Make, made: MadeWith = OLD) -> AsyncGenerator[Knowledge, None]:
    """Eight documents of each tenant, two of them of a group."""
    embedder, generations = SlowEmbedder(4, "old"), make()
    engine = await generations.open(made)
    generation = Generation(SealedVectorStore(engine, Keys()), embedder)
    catalog = InMemoryCatalog()
    ingestor = Ingestor(generation.store, catalog, embedder)
    ingestor.generation = generation
    live = LiveRetriever(generation, lambda made: Retriever(made.store, made.embedder))
    for ctx, days in ((FJELLVIK, 30), (VOLTBAY, 14)):
        for number in range(8):
            text = f"Returns within {days} days, {number}."
            groups = frozenset({"staff"} if number >= 6 else ())
            await ingestor.of(ctx).ingest(Document(f"d{number}", "Returns", text, groups=groups))
    knowledge = Knowledge(make, generations, engine, catalog, ingestor, live, set())
    yield knowledge
    await knowledge.ingestor.generation.store.close()
