"""The knowledge base with its generations: what answers, and how another takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from isolation.context import OperatorContext, require_operator
from rag.embedding.choice import DEFAULT, UnknownEmbeddingError, chosen, installed
from rag.embedding.port import Embedder, for_queries
from rag.generation import Generation
from rag.ingest import Ingestor
from rag.live import LiveRetriever
from rag.reembed import Progress, Reembedding
from rag.retrieval.retriever import Retriever
from rag.store.edge.generations import EdgeGenerations
from rag.store.edge.store import EdgeVectorStore
from rag.store.generations import MadeWith
from rag.store.port import VectorStore
from serving.control.authentication import maintained_tenant
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database
from serving.control.errors import ReembeddingLostError
from serving.control.moves import Moves
from serving.control.tenants import TenantRegistry
from serving.embedded.private import Private
from serving.embedded.store import reached, server_generations
from serving.errors import StartupError
from serving.settings import Settings

if TYPE_CHECKING:
    from rag.store.server.generations import ServerGenerations
    from rag.store.server.store import ServerVectorStore


@dataclass(slots=True)
class Knowledge:
    """All tenants' documents, on the generation of now.

    engine: its store, without seal and vaults. moves: None where this process owns the vectors
    alone.
    """

    engine: VectorStore
    generations: EdgeGenerations | ServerGenerations
    moves: Moves | None
    catalog: SqlDocumentCatalog
    registry: TenantRegistry
    private: Private
    ingestor: Ingestor
    retriever: LiveRetriever
    _taking_over: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def refill(
        self,
        operator: OperatorContext,
        embedder: Embedder,
        progress: Progress,
        *,
        embedding: str | None = None,
        build_indexes: bool = False,
    ) -> int:
        """Fill a new generation with the vectors of `embedder`, and switch to it; how many points.

        Where that is the model of now, the vectors are copied, and what was deleted is left behind:
        the new files never held it. embedding: the model's name, by which other gateways find it.
        build_indexes: minutes in which this process does nothing else.

        Raises:
            StoreError: something is missing in the new one; the old one stays.
            ReembeddingRunsError: another gateway re-embeds.
            ReembeddingLostError: this one stood still for too long; the old one stays.
        """
        require_operator(operator, "filling a generation")
        try:
            await self._refill(operator, embedder, progress, embedding, build_indexes)
        finally:
            if self.ingestor.generation.embedder is not embedder:
                embedder.close()
        return sum((await self.catalog.chunks(operator)).values())

    async def _refill(
        self,
        operator: OperatorContext,
        embedder: Embedder,
        progress: Progress,
        embedding: str | None,
        build_indexes: bool,
    ) -> None:
        async with AsyncExitStack() as stack:
            if self.moves is not None:
                await stack.enter_async_context(self.moves.taken(operator, embedding))
                await self.moves.followed(operator)
            same = made_with(embedder) == made_with(self.ingestor.generation.embedder)
            engine = await self.generations.fill(operator, made_with(embedder), resume=not same)
            target = Generation(self.private.over(engine, filling=True), embedder)
            live = Generation(self.private.over(engine), embedder)
            filling = Reembedding(
                self.ingestor,
                self.catalog,
                target,
                tenants=lambda: self.registry.everyone(operator),
                there=lambda tenant: self.registry.has(operator, tenant),
                bind=lambda tenant: maintained_tenant(operator, tenant),
                hold=lambda: self._held(operator, engine, live),
                copy=same,
                progress=progress,
            )

            async def switch() -> None:
                if build_indexes and isinstance(engine, EdgeVectorStore):
                    await engine.optimize(operator)
                if self.moves is not None:
                    await self.moves.require_held()
                await self.generations.switch(operator)

            try:
                await filling.run(operator, switch)
            finally:
                if self.ingestor.generation is not live:
                    await target.store.close()
            if self.moves is not None:
                await self.moves.followed(operator)
            await self.generations.drop_others(operator)

    @asynccontextmanager
    async def _held(
        self, operator: OperatorContext, engine: VectorStore, target: Generation
    ) -> AsyncGenerator[None, None]:
        """Nothing is committed while the block runs; behind it, `target` answers."""
        async with self._taking_over, self.ingestor.switching():
            if self.moves is None:
                yield
            else:
                try:
                    async with self.moves.held(operator, _collection(engine)):
                        yield
                except ReembeddingLostError:
                    await self._undo(operator, _collection(engine))
                    raise
            await self._take_over(engine, target)

    async def _undo(self, operator: OperatorContext, filled: str) -> None:
        """The others have ended this re-embedding, and agreed on what answers. If the switch came
        behind that, it is none; else they have followed it, and so will this gateway."""
        assert self.moves is not None
        _, name = await self.moves.agreed(self._collections.aliased)
        if name != filled and await self._collections.aliased() == filled:
            await self._collections.point_to(operator, name)

    async def _take_over(self, engine: VectorStore, target: Generation) -> None:
        last = self.ingestor.generation
        self.engine, self.ingestor.generation = engine, target
        if self.moves is not None:
            self._collections.name = _collection(engine)
        await self.retriever.switch(target)
        await last.store.close()
        last.embedder.close()

    async def follow(self, operator: OperatorContext) -> None:
        """Answer with the generation that another gateway switched to, if one did.

        Raises:
            UnknownEmbeddingError: its model is not installed here.
            UnsafeCollectionError: another version of it is.
        """
        require_operator(operator, "following a re-embedding")
        if self.moves is None:
            return
        async with self._taking_over:
            epoch, name = await self.moves.agreed(self._collections.aliased)
            if epoch == self.moves.epoch:
                return
            if name != _collection(self.engine):
                _, embedding = await self.moves.now()
                await self._open(name, embedding or DEFAULT)
            self.moves.epoch = epoch
            await self.moves.beat()

    async def _open(self, name: str, embedding: str) -> None:
        collections = self._collections
        embedder, last = await asyncio.to_thread(installed, embedding), collections.name
        try:
            collections.name = name
            engine = await collections.open(made_with(embedder))
        except BaseException:
            collections.name = last
            embedder.close()
            raise
        target = Generation(self.private.over(engine), embedder)
        async with self.ingestor.switching():
            await self._take_over(engine, target)

    async def tidy(self, operator: OperatorContext) -> None:
        """Drop what a kill between a switch and its end left on a server, and let the alias name
        what answers."""
        if self.moves is None:
            return
        collections, name = self._collections, _collection(self.engine)
        if await collections.aliased() == name and not await collections.has_older():
            return
        async with self.moves.taken(operator, None):
            await self.moves.followed(operator)
            await collections.point_to(operator, name)
            await collections.drop_older(operator)

    @property
    def _collections(self) -> ServerGenerations:
        """The generations, where they are a server's."""
        assert self.moves is not None
        return cast("ServerGenerations", self.generations)

    async def close(self) -> None:
        """Flush and release the generation of now."""
        await self.ingestor.generation.store.close()
        self.ingestor.generation.embedder.close()


@asynccontextmanager
async def open_knowledge(
    settings: Settings,
    database: Database,
    registry: TenantRegistry,
    private: Private,
    embedder: Embedder | None = None,
) -> AsyncGenerator[Knowledge, None]:
    """The knowledge base below the data folder.

    embedder: instead of the one that the settings name; closed with the rest.

    Raises:
        StartupError: there is no such embedding model, or a server does not answer.
        UnsafeCollectionError: the vectors were made with another one.
    """
    embedder = embedder or _chosen(settings)
    try:
        generations, moves = await _generations(settings, database)
        with reached():
            engine = await generations.open(made_with(embedder))
    except BaseException:
        embedder.close()
        raise
    generation = Generation(private.over(engine), embedder)
    catalog = SqlDocumentCatalog(database, moves)
    knowledge = Knowledge(
        engine,
        generations,
        moves,
        catalog,
        registry,
        private,
        Ingestor(generation.store, catalog, embedder, private.masking),
        LiveRetriever(generation, lambda made: Retriever(made.store, for_queries(made.embedder))),
    )
    knowledge.ingestor.generation = generation
    try:
        yield knowledge
    finally:
        await knowledge.close()


def _chosen(settings: Settings) -> Embedder:
    try:
        return chosen(settings.embedding)
    except UnknownEmbeddingError as error:
        raise StartupError(f"BULKHEAD_EMBEDDING: {error.message}") from None


async def _generations(
    settings: Settings, database: Database
) -> tuple[EdgeGenerations | ServerGenerations, Moves | None]:
    """Where the vectors are; on a server, which collection all gateways have agreed upon."""
    if settings.qdrant_url is None:
        return EdgeGenerations(settings.data_dir / "vectors"), None
    generations, moves = server_generations(settings), Moves(database)
    with reached():
        moves.epoch, generations.name = await moves.agreed(generations.aliased)
    return generations, moves


def _collection(engine: VectorStore) -> str:
    return cast("ServerVectorStore", engine).collection


def made_with(embedder: Embedder) -> MadeWith:
    """What an embedder's vectors depend on."""
    return MadeWith(embedder.name, embedder.dimension, embedder.checksum)
