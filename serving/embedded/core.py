"""What holds data: the database, the vector store, and what reads and writes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from isolation.context import OperatorContext
from rag.embedding.minilm import MiniLmEmbedder
from rag.embedding.port import Embedder, for_queries
from rag.ingest import Ingestor
from rag.reading.limits import ReadingLimits
from rag.reading.parsers import Parsers
from rag.retrieval.retriever import Retriever
from rag.spool import Spool
from rag.store.port import VectorStore
from serving.control.authentication import ApiKeyAuthenticator, OperatorKeyAuthenticator
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database
from serving.control.deletion import TenantDeletion
from serving.control.placement import TenantPlaces
from serving.control.policies import PolicyRegistry
from serving.control.tenants import TenantRegistry
from serving.control.usage import UsageLedger
from serving.data_folder import owned
from serving.embedded.adapters import AdapterStore, open_adapters, open_tenant_keys
from serving.embedded.reconciling import Reconciling
from serving.embedded.store import open_store, placement_of
from serving.gateway.runtime import Readiness, Runtime
from serving.key_files import admin_key
from serving.metering.metrics import Metrics
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that the gateway and the command line share."""

    settings: Settings
    operator: OperatorContext
    database: Database
    registry: TenantRegistry
    policies: PolicyRegistry
    tenants_keys: ApiKeyAuthenticator
    operator_keys: OperatorKeyAuthenticator
    embedder: Embedder
    store: VectorStore
    ingestor: Ingestor
    spool: Spool
    parsers: Parsers
    deletion: TenantDeletion
    places: TenantPlaces
    retriever: Retriever
    usage: UsageLedger
    adapters: AdapterStore


@asynccontextmanager
async def open_core(
    settings: Settings, *, embedder: Embedder | None = None
) -> AsyncGenerator[Core, None]:
    """Own the data folder, migrate the database, open the shard, finish interrupted writes.

    embedder: instead of the default model; its owner closes it.

    Raises:
        StartupError: something is in the way; the message is one line with the way out.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(owned(settings.data_dir))
        key = admin_key(settings)
        operator_keys = OperatorKeyAuthenticator(key)
        operator = operator_keys.authenticate(key)
        database = await Database.open(_database_url(settings))
        stack.push_async_callback(database.close)
        embedder = embedder or _default_embedder(stack)
        store = await open_store(settings, embedder.dimension)
        stack.push_async_callback(store.close)
        usage = UsageLedger(database)
        usage.start()
        stack.push_async_callback(usage.close)
        catalog = SqlDocumentCatalog(database)
        ingestor = Ingestor(store, catalog, embedder)
        alone = settings.qdrant_url is None
        await ingestor.reconcile(operator, alone=alone)
        if not alone:
            reconciling = Reconciling(ingestor, operator)
            reconciling.start()
            stack.push_async_callback(reconciling.close)
        spool = Spool(settings.data_dir / "spool")
        parsers = Parsers(spool, _limits(settings), at_once=settings.parsers)
        stack.callback(parsers.close)
        registry = TenantRegistry(database)
        policies = PolicyRegistry(database)
        deletion = TenantDeletion(registry, ingestor)
        deletion.reaches(policies)
        adapters = await _adapters(settings, database, operator, deletion, stack)
        await deletion.resume(operator)
        yield Core(
            settings=settings,
            operator=operator,
            database=database,
            registry=registry,
            policies=policies,
            tenants_keys=ApiKeyAuthenticator(database),
            operator_keys=operator_keys,
            embedder=embedder,
            store=store,
            ingestor=ingestor,
            spool=spool,
            parsers=parsers,
            deletion=deletion,
            places=TenantPlaces(registry, catalog, placement_of(store)),
            retriever=Retriever(store, for_queries(embedder)),
            usage=usage,
            adapters=adapters,
        )


def _default_embedder(stack: AsyncExitStack) -> Embedder:
    embedder = MiniLmEmbedder()
    stack.callback(embedder.close)
    return embedder


async def _adapters(
    settings: Settings,
    database: Database,
    operator: OperatorContext,
    deletion: TenantDeletion,
    stack: AsyncExitStack,
) -> AdapterStore:
    """A deletion destroys the tenant's key first."""
    keys = await open_tenant_keys(settings, database, operator)
    deletion.clears(keys)
    adapters = await open_adapters(settings, database, keys, operator, stack)
    deletion.clears(adapters.registry)
    return adapters


def runtime_without_engine(core: Core) -> Runtime:
    """Everything but chats: for the command line, when no gateway runs."""
    return Runtime(
        settings=core.settings,
        registry=core.registry,
        policies=core.policies,
        deletion=core.deletion,
        places=core.places,
        usage=core.usage,
        metrics=Metrics(),
        tenants_keys=core.tenants_keys,
        operator_keys=core.operator_keys,
        chat=None,
        retriever=core.retriever,
        ingestor=core.ingestor,
        spool=core.spool,
        parsers=core.parsers,
        embedder=core.embedder,
        readiness=lambda: Readiness(False, "there is no engine in this process"),
        adapters=core.adapters.parts,
    )


def _limits(settings: Settings) -> ReadingLimits:
    return ReadingLimits(
        size=settings.max_file_bytes,
        seconds=settings.parse_seconds,
        memory=settings.parse_memory_bytes,
    )


def _database_url(settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url
    return f"sqlite+aiosqlite:///{(settings.data_dir / 'bulkhead.db').absolute()}"
