"""What holds data: the database, the vector store, and what reads and writes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from isolation.context import OperatorContext
from isolation.masking.conversations import ConversationTokens
from rag.embedding.port import Embedder
from rag.export import Exporter
from rag.ingest import Ingestor
from rag.live import LiveRetriever
from rag.reading.limits import ReadingLimits
from rag.reading.parsers import Parsers
from rag.spool import Spool
from rag.transfer import TenantTransfer
from serving.control.authentication import ApiKeyAuthenticator, OperatorKeyAuthenticator
from serving.control.database import Database
from serving.control.deletion import TenantDeletion
from serving.control.placement import TenantPlaces
from serving.control.policies import PolicyRegistry
from serving.control.tenant_keys import TenantKeys
from serving.control.tenants import TenantRegistry
from serving.control.text_keys import CONVERSATIONS, VAULTS, TextKeys
from serving.control.usage import UsageLedger
from serving.control.vaults import SqlDocumentVaults
from serving.data_folder import owned
from serving.embedded.adapters import AdapterStore, open_adapters, open_tenant_keys
from serving.embedded.following import Following
from serving.embedded.knowledge import Knowledge, open_knowledge
from serving.embedded.masking import OpenMasking, open_masking
from serving.embedded.private import Private
from serving.embedded.reconciling import Reconciling
from serving.embedded.reembedding import GatewayReembedding
from serving.embedded.store import placement_of
from serving.gateway.runtime import Readiness, Runtime
from serving.key_files import admin_key
from serving.metering.metrics import Metrics
from serving.settings import Settings
from serving.training.folders import TrainingFolders


@dataclass(frozen=True, slots=True)
class Core:
    """The parts that the gateway and the command line share."""

    settings: Settings
    operator: OperatorContext
    database: Database
    registry: TenantRegistry
    policies: PolicyRegistry
    masking: OpenMasking | None
    conversations: ConversationTokens
    tenants_keys: ApiKeyAuthenticator
    operator_keys: OperatorKeyAuthenticator
    embedder: Embedder
    knowledge: Knowledge
    ingestor: Ingestor
    spool: Spool
    parsers: Parsers
    deletion: TenantDeletion
    places: TenantPlaces
    retriever: LiveRetriever
    reembedding: GatewayReembedding
    usage: UsageLedger
    adapters: AdapterStore


@asynccontextmanager
async def open_core(
    settings: Settings, *, embedder: Embedder | None = None
) -> AsyncGenerator[Core, None]:
    """Own the data folder, migrate the database, open the shard, finish interrupted writes.

    embedder: instead of the one that the settings name.

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
        keys = await open_tenant_keys(settings, database, operator)
        await keys.verify(operator)
        texts, registry, policies = (
            TextKeys(keys),
            TenantRegistry(database),
            PolicyRegistry(database),
        )
        vault_keys, token_keys = TextKeys(keys, VAULTS), TextKeys(keys, CONVERSATIONS)
        masking = open_masking(settings, policies, stack)
        private = Private(
            texts,
            SqlDocumentVaults(database, vault_keys),
            policies,
            None if masking is None else masking.masker,
        )
        knowledge = await stack.enter_async_context(
            open_knowledge(settings, database, registry, private, embedder)
        )
        reembedding = GatewayReembedding(knowledge)
        stack.push_async_callback(reembedding.close)
        usage = UsageLedger(database)
        usage.start()
        stack.push_async_callback(usage.close)
        ingestor = knowledge.ingestor
        alone = settings.qdrant_url is None
        await ingestor.reconcile(operator, alone=alone)
        if not alone:
            reconciling = Reconciling(ingestor, operator)
            reconciling.start()
            stack.push_async_callback(reconciling.close)
        if knowledge.moves is not None:
            following = Following(knowledge, knowledge.moves, operator)
            await following.start()
            stack.push_async_callback(following.close)
        spool = Spool(settings.data_dir / "spool")
        parsers = Parsers(spool, _limits(settings), at_once=settings.parsers)
        stack.callback(parsers.close)
        deletion = TenantDeletion(registry, ingestor)
        for part in (policies, texts, vault_keys, token_keys):
            deletion.reaches(part)
        if masking is not None:
            deletion.reaches(masking.masker)
        adapters = await _adapters(settings, database, keys, operator, deletion, stack)
        deletion.clears(knowledge.generations)
        await deletion.resume(operator)
        yield Core(
            settings=settings,
            operator=operator,
            database=database,
            registry=registry,
            policies=policies,
            masking=masking,
            conversations=ConversationTokens(token_keys),
            tenants_keys=ApiKeyAuthenticator(database),
            operator_keys=operator_keys,
            embedder=knowledge.retriever.embedder,
            knowledge=knowledge,
            ingestor=ingestor,
            spool=spool,
            parsers=parsers,
            deletion=deletion,
            places=TenantPlaces(
                registry,
                knowledge.catalog,
                lambda: placement_of(knowledge.engine, on_a_server=knowledge.moves is not None),
                knowledge.moves,
            ),
            retriever=knowledge.retriever,
            reembedding=reembedding,
            usage=usage,
            adapters=adapters,
        )


async def _adapters(
    settings: Settings,
    database: Database,
    keys: TenantKeys,
    operator: OperatorContext,
    deletion: TenantDeletion,
    stack: AsyncExitStack,
) -> AdapterStore:
    """A deletion destroys the tenant's key first."""
    deletion.clears(keys)
    adapters = await open_adapters(settings, database, keys, operator, stack)
    deletion.clears(adapters.registry)
    deletion.clears(adapters.rollouts.rollouts)
    deletion.clears(TrainingFolders(settings.data_dir / "training"))
    deletion.reaches(adapters.rollouts.plans)
    return adapters


def runtime_without_engine(core: Core) -> Runtime:
    """Everything but chats: for the command line, when no gateway runs."""
    return Runtime(
        settings=core.settings,
        registry=core.registry,
        policies=core.policies,
        deletion=core.deletion,
        places=core.places,
        transfer=TenantTransfer(core.ingestor),
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
        conversations=core.conversations,
        embedder=core.embedder,
        reembedding=core.reembedding,
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
