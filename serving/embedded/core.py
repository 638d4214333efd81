"""What holds data: the database, the vector store, and what reads and writes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from isolation.context import OperatorContext
from rag.embedding.port import Embedder
from rag.export import Exporter
from rag.ingest import Ingestor
from rag.live import LiveRetriever
from rag.reading.limits import ReadingLimits
from rag.reading.parsers import Parsers
from rag.spool import Spool
from serving.control.authentication import ApiKeyAuthenticator, OperatorKeyAuthenticator
from serving.control.data_keys import DataKeys
from serving.control.database import Database
from serving.control.deletion import TenantDeletion
from serving.control.tenants import TenantRegistry
from serving.control.usage import UsageLedger
from serving.data_folder import owned
from serving.embedded.knowledge import Knowledge, open_knowledge
from serving.embedded.reembedding import GatewayReembedding
from serving.errors import StartupError
from serving.gateway.runtime import Readiness, Runtime
from serving.key_files import admin_key, derived_key
from serving.metering.metrics import Metrics
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that the gateway and the command line share."""

    settings: Settings
    operator: OperatorContext
    database: Database
    registry: TenantRegistry
    tenants_keys: ApiKeyAuthenticator
    operator_keys: OperatorKeyAuthenticator
    embedder: Embedder
    knowledge: Knowledge
    ingestor: Ingestor
    spool: Spool
    parsers: Parsers
    deletion: TenantDeletion
    retriever: LiveRetriever
    reembedding: GatewayReembedding
    usage: UsageLedger


@asynccontextmanager
async def open_core(settings: Settings) -> AsyncGenerator[Core, None]:
    """Own the data folder, migrate the database, open the shard, finish interrupted writes.

    Raises:
        StartupError: something is in the way; the message is one line with the way out.
    """
    _refuse_what_is_not_built(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(owned(settings.data_dir))
        key = admin_key(settings)
        operator_keys = OperatorKeyAuthenticator(key)
        operator = operator_keys.authenticate(key)
        database = await Database.open(_database_url(settings))
        stack.push_async_callback(database.close)
        keys = DataKeys(database, derived_key(settings, "data keys"))
        await keys.verify(operator)
        registry = TenantRegistry(database)
        knowledge = await stack.enter_async_context(
            open_knowledge(settings, database, registry, keys)
        )
        reembedding = GatewayReembedding(knowledge)
        stack.push_async_callback(reembedding.close)
        usage = UsageLedger(database)
        usage.start()
        stack.push_async_callback(usage.close)
        ingestor = knowledge.ingestor
        await ingestor.reconcile(operator)
        spool = Spool(settings.data_dir / "spool")
        parsers = Parsers(spool, _limits(settings), at_once=settings.parsers)
        stack.callback(parsers.close)
        deletion = TenantDeletion(registry, ingestor)
        deletion.reaches(keys)
        deletion.reaches(knowledge.generations)
        await deletion.resume(operator)
        yield Core(
            settings=settings,
            operator=operator,
            database=database,
            registry=registry,
            tenants_keys=ApiKeyAuthenticator(database),
            operator_keys=operator_keys,
            embedder=knowledge.retriever.embedder,
            knowledge=knowledge,
            ingestor=ingestor,
            spool=spool,
            parsers=parsers,
            deletion=deletion,
            retriever=knowledge.retriever,
            reembedding=reembedding,
            usage=usage,
        )


def runtime_without_engine(core: Core) -> Runtime:
    """Everything but chats: for the command line, when no gateway runs."""
    return Runtime(
        settings=core.settings,
        registry=core.registry,
        deletion=core.deletion,
        usage=core.usage,
        metrics=Metrics(),
        tenants_keys=core.tenants_keys,
        operator_keys=core.operator_keys,
        chat=None,
        retriever=core.retriever,
        ingestor=core.ingestor,
        spool=core.spool,
        parsers=core.parsers,
        exporter=Exporter(core.ingestor, core.spool),
        embedder=core.embedder,
        reembedding=core.reembedding,
        readiness=lambda: Readiness(False, "there is no engine in this process"),
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


def _refuse_what_is_not_built(settings: Settings) -> None:
    """A setting that would be ignored silently is refused."""
    if settings.qdrant_url is not None:
        raise StartupError(
            "This version keeps vectors in Qdrant Edge only. Unset BULKHEAD_QDRANT_URL."
        )
