"""The knowledge base with its generations: what answers, and how another takes its place."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from isolation.context import OperatorContext, require_operator
from isolation.masking.policy import Policies
from isolation.tenant_id import TenantId
from rag.embedding.choice import UnknownEmbeddingError, chosen
from rag.embedding.port import Embedder, for_queries
from rag.errors import StoreError
from rag.generation import Generation
from rag.ingest import Ingestor
from rag.live import LiveRetriever
from rag.masked_source import Masking
from rag.reembed import Progress, Reembedding
from rag.retrieval.retriever import Retriever
from rag.store.edge.generations import EdgeGenerations
from rag.store.generations import MadeWith
from rag.store.port import VectorStore
from rag.store.sealed import SealedVectorStore, TextKeys
from rag.store.vaulted import VaultedVectorStore
from rag.store.vaults import DocumentVaults
from serving.control.authentication import maintained_tenant
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database
from serving.control.tenants import TenantRegistry
from serving.embedded.store import open_server
from serving.errors import StartupError
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Private:
    """What keeps texts from whoever holds the engine's files: their keys, and masked documents'
    vaults. policies: who reads those. masking: None, no document is masked."""

    keys: TextKeys
    vaults: DocumentVaults
    policies: Policies
    masking: Masking | None

    def over(self, engine: VectorStore, *, filling: bool = False) -> VectorStore:
        """The store as it is used."""
        sealed = SealedVectorStore(engine, self.keys)
        return VaultedVectorStore(sealed, self.vaults, self.policies, filling=filling)


@dataclass(slots=True)
class Knowledge:
    """All tenants' documents, on the generation of now.

    engine: its store, without seal and vaults. generations: None on a Qdrant server, which has one.
    """

    engine: VectorStore
    generations: EdgeGenerations | None
    catalog: SqlDocumentCatalog
    registry: TenantRegistry
    private: Private
    ingestor: Ingestor
    retriever: LiveRetriever

    async def refill(
        self,
        operator: OperatorContext,
        embedder: Embedder,
        progress: Progress,
        *,
        build_indexes: bool = False,
    ) -> int:
        """Fill a new generation with the vectors of `embedder`, and switch to it; how many points.

        Where that is the model of now, the vectors are copied, and what was deleted is left behind:
        the new files never held it. build_indexes: minutes in which this process does nothing else.

        Raises:
            StoreError: something is missing in the new one; the old one stays.
        """
        require_operator(operator, "filling a generation")
        if self.generations is None:
            raise StoreError("On a Qdrant server, vectors have one generation in this version.")
        now, made = self.ingestor.generation, made_with(embedder)
        same = made == made_with(now.embedder)
        generations = self.generations
        shard = await generations.fill(operator, made, resume=not same)
        target = Generation(self.private.over(shard, filling=True), embedder)
        live = Generation(self.private.over(shard), embedder)

        async def switch() -> None:
            if build_indexes:
                await shard.optimize(operator)
            await generations.switch(operator)
            self.engine = shard
            self.ingestor.generation = live
            await self.retriever.switch(live)

        filling = Reembedding(
            self.ingestor,
            self.catalog,
            target,
            tenants=lambda: self._tenants(operator),
            bind=lambda tenant: maintained_tenant(operator, tenant),
            copy=same,
            progress=progress,
        )
        try:
            await filling.run(operator, switch)
        finally:
            last = now if self.ingestor.generation is live else target
            await last.store.close()
            last.embedder.close()
        await generations.drop_others(operator)
        return shard.points()

    async def close(self) -> None:
        """Flush and release the generation of now."""
        await self.ingestor.generation.store.close()
        self.ingestor.generation.embedder.close()

    async def _tenants(self, operator: OperatorContext) -> list[TenantId]:
        return [tenant.id for tenant in await self.registry.list(operator)]


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
        StartupError: there is no such embedding model.
        UnsafeCollectionError: the vectors were made with another one.
    """
    try:
        embedder = embedder or chosen(settings.embedding)
    except UnknownEmbeddingError as error:
        raise StartupError(f"BULKHEAD_EMBEDDING: {error.message}") from None
    generations = EdgeGenerations(settings.data_dir / "vectors")
    try:
        engine: VectorStore
        if settings.qdrant_url is None:
            engine = await generations.open(made_with(embedder))
        else:
            engine = await open_server(settings, embedder.dimension)
    except BaseException:
        embedder.close()
        raise
    generation = Generation(private.over(engine), embedder)
    catalog = SqlDocumentCatalog(database)
    knowledge = Knowledge(
        engine,
        generations if settings.qdrant_url is None else None,
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


def made_with(embedder: Embedder) -> MadeWith:
    """What an embedder's vectors depend on."""
    return MadeWith(embedder.name, embedder.dimension, embedder.checksum)
